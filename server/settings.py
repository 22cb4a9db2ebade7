"""All settings: the sections of routing together with those of the server."""

from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.routing.settings import (
    BudgetSettings,
    ConversationSettings,
    DefaultSettings,
    HttpUrl,
    LearningSettings,
    LiteLLMSettings,
    LocalSettings,
    ModelPrice,
    Names,
    RoutingSettings,
    SecretVariable,
    Section,
)

VARIABLE_PREFIX = "TIERWISE_"
"""What the names of environment variables that set something begin with."""

TOKEN_VARIABLE = "TIERWISE_SERVER_TOKEN"  # noqa: S105  its name
"""The one variable of these that sets nothing, but holds a secret."""

_DATABASE_SUFFIXES = {".db", ".sqlite", ".sqlite3"}


def _inside_data_folder(value: str) -> str:
    path = PureWindowsPath(value)  # understands both kinds of slash, drives included
    if path.anchor or ".." in path.parts or value.startswith("~") or "\0" in value or not path.name:
        raise ValueError(
            "it must name a file inside the data folder, such as State/usage.db; "
            "to keep the database elsewhere, set data_dir"
        )
    return value


def _full_path(value: Path) -> Path:
    try:
        path = value.expanduser()
    except RuntimeError:  # no such user, or no home folder
        path = value
    if not path.is_absolute() or "\0" in str(path):
        raise ValueError(
            "it must be a full path, or begin with ~/, because every host starts tierwise in another folder"
        )
    return path


def _time_zone(value: str) -> str:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown, malformed, the name of a folder of zones
        import difflib

        near = difflib.get_close_matches(value[:100], zoneinfo.available_timezones(), n=1)
        nearest = f"the nearest is {near[0]}" if near else "give an IANA name such as Europe/Berlin"
        raise ValueError(f"there is no time zone of that name; {nearest}") from None
    return value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


class UsageSettings(Section):
    """The ledger, and what it reckons with."""

    enabled: bool = True
    storage_path: Annotated[str, AfterValidator(_inside_data_folder)] | None = None
    """The database file, relative to the data folder; see `database_path`."""
    pricing: dict[str, ModelPrice] = Field(default_factory=dict[str, ModelPrice])
    """Prices by model name; they win over litellm's."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] | None = None
    """The IANA zone whose days the usage is counted by; None is the machine's."""
    tenant: str = Field(default="", max_length=200)
    """Whom calls are for that do not say; so with `agent`."""
    agent: str = Field(default="", max_length=200)
    keep_days: int | None = Field(default=None, ge=1, le=3660)
    """Days for which single calls are kept, their sums for ever; None keeps them for ever too. The last ones
    stay until there are others."""


class SemanticSettings(Section):
    """Answers that are shared by prompts which say the same in other words: needs `tierwise[semantic]`."""

    enabled: bool = False
    threshold: float = Field(default=0.95, ge=0, le=1)
    """The least similarity. Whatever it is, prompts must agree in nearly all of their wording (see
    `tierwise.routing.cache.wording`). Of the pairs in tests/routing/near_duplicates.jsonl, 0.95 shares the
    answers of 41 of 122 that mean the same and of 0 of 218 that do not; 0.93 of 45 and 1, 0.97 of 28
    and 0."""


class CachingSettings(Section):
    """Answers that are kept for calls that come again."""

    enabled: bool = True
    ttl_seconds: int = Field(default=3600, gt=0, le=315_360_000)
    """Seconds that an answer is kept; at most ten years."""
    max_cache_size_mb: int = Field(default=100, ge=1, le=1_000_000)
    """Size of all answers, in units of 10⁶ bytes; the oldest make room."""
    semantic: SemanticSettings = SemanticSettings()
    storage_path: str | None = None
    """Read and ignored: answers live in the ledger's database, because a call's row and its answer
    are committed in one transaction. Kept so that files written for other tools load unchanged."""


class ServerSettings(Section):
    """How the server listens and answers."""

    answer_within: float = Field(default=50.0, gt=0, le=3600)
    """Seconds until `chat` hands back a `call_id` in place of an answer; many hosts give up at 60."""
    host: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65_535)
    """0 takes any free port."""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = "WARNING"
    """DEBUG shows the texts of errors, which may quote prompts; other levels do not."""
    allowed_hosts: Names = ()
    """Values of the `Host` header to answer to beside the loopback names."""
    token_env: SecretVariable = TOKEN_VARIABLE
    """The environment variable with the token that clients must send over HTTP, as
    `Authorization: Bearer …`. Off loopback there must be one."""
    media_folders: tuple[Annotated[Path, AfterValidator(_full_path)], ...] = ()
    """Folders whose files callers may name as pictures or recordings; none by default."""
    media_memory_mb: int = Field(default=128, ge=1, le=100_000)
    """For images and speech that can still be read as resources, in units of 10⁶ bytes; the oldest make
    room."""
    toolset: Literal["default", "full"] = "default"
    """The tools to offer: those that most agents need, or all."""


class AlertSettings(Section):
    """Whom to tell, beside the caller, when a budget's threshold is crossed."""

    webhook: HttpUrl | None = None
    """Gets a POST with JSON."""
    webhook_secret_env: SecretVariable | None = None
    """The environment variable with the secret that the POST is signed with."""
    command: tuple[str, ...] = ()
    """A program with its arguments, which gets the JSON on stdin; no shell is asked."""


def _distinct(budgets: tuple[BudgetSettings, ...]) -> tuple[BudgetSettings, ...]:
    names = [budget.name for budget in budgets]
    if len(set(names)) < len(names):
        raise ValueError("two budgets have the same name; give each one of its own")
    return budgets


def _tracked(budgets: tuple[BudgetSettings, ...], info: ValidationInfo) -> tuple[BudgetSettings, ...]:
    usage = info.data.get("usage_tracking")
    if budgets and isinstance(usage, UsageSettings) and not usage.enabled:
        raise ValueError("nothing can be charged to them while usage_tracking.enabled is false")
    return budgets


class Settings(Section):
    litellm: LiteLLMSettings = LiteLLMSettings()
    model_routing: RoutingSettings = RoutingSettings()
    usage_tracking: UsageSettings = UsageSettings()
    caching: CachingSettings = CachingSettings()
    defaults: DefaultSettings = DefaultSettings()
    reliability: ReliabilitySettings = ReliabilitySettings()
    learning: LearningSettings = LearningSettings()
    conversations: ConversationSettings = ConversationSettings()
    local: LocalSettings = LocalSettings()
    server: ServerSettings = ServerSettings()
    budgets: Annotated[tuple[BudgetSettings, ...], AfterValidator(_distinct), AfterValidator(_tracked)] = ()
    """Put into the store at every start. Taking one out of the settings does not remove it from there:
    `tierwise budget remove` does."""
    alerts: AlertSettings = AlertSettings()
    data_dir: Annotated[Path, AfterValidator(_full_path)] | None = None
    """The only folder that is written to; None is the user's data folder."""


def database_path(settings: Settings) -> Path:
    """The SQLite file that holds ledger and answers.

    A `storage_path` with another tool's suffix, such as `State/usage.json`, stands for the `.db`
    file beside it: a JSON file that lies there is not touched.
    """
    path = PureWindowsPath(settings.usage_tracking.storage_path or "tierwise.db")
    if path.suffix.lower() not in _DATABASE_SUFFIXES:
        path = path.with_suffix(".db")
    return (settings.data_dir or _user_data_folder()) / path.as_posix()


def named_variables(settings: Settings) -> frozenset[str]:
    """The environment variables that the settings name as holders of keys, tokens and secrets."""
    names = (
        settings.server.token_env,
        settings.alerts.webhook_secret_env,
        *(provider.api_key_env for provider in settings.litellm.providers.values()),
    )
    return frozenset(filter(None, names))


def _user_data_folder() -> Path:
    import platformdirs  # 10 ms that a run with `data_dir` set does not need

    return platformdirs.user_data_path("tierwise", appauthor=False)
