"""The sections of the settings that shape routing: their keys are a contract with users' files."""

import re
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from tierwise.routing.keys import holds_a_model_key, holds_a_secret, url_holds_a_key
from tierwise.routing.media import Modality
from tierwise.routing.request import Strategy, Tier
from tierwise.storage.budgets import AtLimit, BudgetPeriod, BudgetScope


class Section(BaseModel):
    """A part of the settings file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""One name or a list of names."""


def _variable_name(value: str) -> str:
    # A key that happens to be a valid name is long and mixes digits with lower case.
    pasted = len(value) >= 20 and re.search("[a-z]", value) and re.search("[0-9]", value)
    if pasted or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError(
            "it takes the name of an environment variable, such as OPENAI_API_KEY, never the key itself; "
            "put the key into that variable"
        )
    return value


def _key_variable(value: str, info: ValidationInfo) -> str:
    if not _is_trusted(value, info) and not holds_a_model_key(value):
        raise ValueError(
            "a settings file may name only variables whose names say that they hold a model provider's key,"
            " such as GATEWAY_API_KEY, so that it cannot send other secrets away; rename the variable, or"
            " name it in the environment, in TIERWISE_LITELLM__PROVIDERS__<NAME>__API_KEY_ENV"
        )
    return value


def _secret_variable(value: str, info: ValidationInfo) -> str:
    if not _is_trusted(value, info) and not holds_a_secret(value):
        raise ValueError(
            "a settings file may name only variables whose names say that they hold a secret, such as"
            " HOOK_SECRET or SERVER_TOKEN; rename the variable, or name it in the environment"
        )
    return value


def _is_trusted(variable: str, info: ValidationInfo) -> bool:
    return info.context is None or variable in info.context[NAMED_OUTSIDE_THE_FILE]


NAMED_OUTSIDE_THE_FILE = "named_outside_the_file"
"""The entry of the validation context with the variables that the environment or the command line name for
secrets: whoever controls these has no need to steal them. Without a context all are trusted."""

KeyVariable = Annotated[str, AfterValidator(_variable_name), AfterValidator(_key_variable)]
"""The name of an environment variable with the key of a model provider."""
SecretVariable = Annotated[str, AfterValidator(_variable_name), AfterValidator(_secret_variable)]
"""The name of one with a secret that is never sent anywhere."""


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be a URL that begins with http:// or https://")
    return url


HttpUrl = Annotated[str, AfterValidator(_http)]


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("it must hold no user name or password; a provider's api_key_env names its key")
    if url_holds_a_key(url):
        raise ValueError("it must hold no key; put it into a variable, and that one's name into api_key_env")
    return url


OpenUrl = Annotated[HttpUrl, AfterValidator(_without_credentials)]
"""A URL that may be shown."""


class ProviderSettings(Section):
    """How one provider is reached."""

    api_key_env: KeyVariable | None = None
    """The environment variable that holds the key; by default the provider's usual one."""
    api_base: OpenUrl | None = None
    """The provider's own endpoint, a LiteLLM proxy or any OpenAI-compatible server."""
    models: dict[str, str] = Field(default_factory=dict[str, str])
    """Short aliases for model names."""
    max_concurrent: int | None = Field(default=None, ge=1, le=100_000)
    """Requests that may be under way to it at once; None leaves it to reliability.max_concurrent_calls."""
    discover: bool = False
    """Ask the endpoint for its models: those of a LiteLLM proxy with its prices, limits and abilities."""

    @model_validator(mode="after")
    def _has_an_endpoint_to_ask(self) -> "ProviderSettings":
        if self.discover and not self.api_base:
            raise ValueError(
                "discover needs an api_base: only an endpoint of your own is asked for its models"
            )
        return self


class LiteLLMSettings(Section):
    default_model: str | None = None
    """Serves every call when `model_routing.enabled` is false."""
    fallback_chain: tuple[str, ...] = ()
    """Tried, in this order, after the candidates of the tiers."""
    timeout: float = Field(default=120.0, gt=0, le=86_400)
    """Seconds that one attempt may take."""
    max_retries: int = Field(default=2, ge=0, le=20)
    """Further tries at the same model after a connection error, a time-out or a 5xx."""
    retry_delay: float = Field(default=1.0, ge=0, le=300)
    """Seconds before the first retry; doubles each time."""
    providers: dict[str, ProviderSettings] = Field(default_factory=dict[str, ProviderSettings])

    @model_validator(mode="after")
    def _aliases_are_unambiguous(self) -> "LiteLLMSettings":
        owners: dict[str, str] = {}
        for provider, settings in self.providers.items():
            for alias in settings.models:
                if alias in owners:
                    raise ValueError(
                        f"the alias {alias!r} stands for a model of {owners[alias]} and one of {provider};"
                        " give each an alias of its own"
                    )
                owners[alias] = provider
        return self


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"it is not a regular expression: {error}") from None
    return pattern


Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class TierRule(Section):
    """Which models serve a tier, and which complexity scores belong to it."""

    model: Names = Field(min_length=1)
    weights: tuple[Weight, ...] = ()
    """The share of each model, in their order, where `strategy` is `random`; by default all have the
    same. One of 0 comes after all others."""
    min_complexity: float | None = Field(default=None, ge=0, le=1)
    max_complexity: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _weighs_each_model(self) -> "TierRule":
        if self.weights and len(self.weights) != len(self.model):
            raise ValueError(
                f"`weights` has {len(self.weights)} numbers for {len(self.model)} models; give one for each"
            )
        return self


class TierRules(Section):
    simple: TierRule | None = None
    standard: TierRule | None = None
    complex: TierRule | None = None

    def get(self, tier: Tier) -> TierRule | None:
        return getattr(self, tier.value)

    def cuts(self) -> tuple[float, float]:
        """The scores at which standard and complex begin; 0.3 and 0.7 where no rule says otherwise."""
        return (
            _cut(self.simple, self.standard, default=0.3),
            _cut(self.standard, self.complex, default=0.7),
        )

    @model_validator(mode="after")
    def _cuts_are_ordered(self) -> "TierRules":
        standard, complex_ = self.cuts()
        if standard > complex_:
            raise ValueError(
                f"the tiers overlap: standard begins at {standard:g}, above complex at {complex_:g}; "
                "set min_complexity and max_complexity so that simple, standard and complex follow each other"
            )
        return self


def _cut(below: TierRule | None, above: TierRule | None, *, default: float) -> float:
    if above and above.min_complexity is not None:
        return above.min_complexity
    if below and below.max_complexity is not None:
        return below.max_complexity
    return default


class ComplexityFactors(Section):
    """Weights of the feature groups of the complexity score, relative to each other.

    Both sets of names that users bring along are understood; a group that is not named keeps its
    weight, and 0 switches it off.
    """

    length: float | None = Field(default=None, ge=0, le=100)
    technical_terms: float | None = Field(default=None, ge=0, le=100)
    question_complexity: float | None = Field(default=None, ge=0, le=100)
    code_present: float | None = Field(default=None, ge=0, le=100)
    history_depth: float | None = Field(default=None, ge=0, le=100)
    token_count_weight: float | None = Field(default=None, ge=0, le=100)
    keyword_weight: float | None = Field(default=None, ge=0, le=100)
    history_length_weight: float | None = Field(default=None, ge=0, le=100)


class Override(Section):
    """Sends the calls that it matches to one tier, whatever their score."""

    tier: Tier
    operation: str | None = None
    """The call's `operation` is this."""
    pattern: Annotated[str, AfterValidator(_regular_expression)] | None = None
    """A regular expression that matches somewhere in the prompt's first 10,000 characters."""
    keywords: Names = ()
    """One of these words is in those characters, in whatever case."""

    @model_validator(mode="after")
    def _matches_something(self) -> "Override":
        if self.operation is None and self.pattern is None and not self.keywords:
            raise ValueError("it needs an operation, a pattern or keywords to go by")
        return self


class CascadeSettings(Section):
    """When the answer of a cheaper model is not good enough, beside being empty, cut off or a refusal."""

    min_mean_logprob: float | None = Field(default=-1.0, le=0, allow_inf_nan=False)
    """Mean log probability of its tokens, where the provider tells; -1 is 37% a token, geometrically."""
    judge_model: str | None = None
    """A model that is asked whether the answer will do."""


class MediaModels(Section):
    """Who draws, reads out and writes down what is said, the first of them first; where a list is empty,
    the cheapest current models of all providers whose keys are set."""

    image: Names = ()
    speech: Names = ()
    transcription: Names = ()

    def of(self, modality: Modality) -> tuple[str, ...]:
        """The list for what is not a chat."""
        return getattr(self, modality.value)


class RoutingSettings(Section):
    enabled: bool = True
    rules: TierRules = TierRules()
    complexity_factors: ComplexityFactors = ComplexityFactors()
    strategy: Strategy = "priority"
    strong_share: float | None = Field(default=None, gt=0, lt=1)
    """The part of this user's own traffic, the hardest, that goes to the complex tier; in place of the
    cut there once enough calls are known."""
    overrides: tuple[Override, ...] = ()
    """The first that matches decides."""
    cascade: CascadeSettings = CascadeSettings()
    prompt_caching: bool = True
    """Use the providers' prompt caches: a conversation stays with the model that holds it in its cache
    where that is cheaper, and long prefixes are marked for Claude, which keeps only what is marked."""
    allow_downgrade: bool = False
    """May a cheaper tier serve when neither the chosen one nor a higher one can?"""
    media: MediaModels = MediaModels()


Dollars = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
"""No more than a dollar a token: the ledger could not hold the sums of absurd prices."""
ServiceTier = Literal["batch", "flex", "balanced", "priority", "ultrafast"]
"""What providers say that they charged by, where it is not their standard price."""


class PartPrices(Section):
    """USD per million tokens of what is charged apart; else it costs what other input or output does."""

    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    """Kept for an hour; by default what `cache_write` costs."""
    audio_input: Dollars | None = None
    image_input: Dollars | None = None
    reasoning: Dollars | None = None
    audio_output: Dollars | None = None
    image_output: Dollars | None = None


class StepPrice(PartPrices):
    """What some calls cost, in USD per million tokens; what is left out costs what it does in all others."""

    input: Dollars | None = None
    output: Dollars | None = None


class ModelPrice(PartPrices):
    """USD per million tokens; by the piece where images, speech or transcriptions are not billed by tokens,
    or none are told."""

    input: Dollars
    output: Dollars
    request: Dollars = 0
    """USD for the request itself."""
    image: Dollars = 0
    """USD for each image that is made."""
    audio_minute: Dollars = 0
    """USD for a minute of audio, heard or spoken."""
    characters: Dollars = 0
    """USD per million characters that are read out."""
    above: dict[Annotated[int, Field(ge=1)], StepPrice] = Field(default_factory=dict[int, StepPrice])
    """By prompt tokens: what a call with more of them costs, all of its tokens."""
    service_tiers: dict[ServiceTier, StepPrice] = Field(default_factory=dict[ServiceTier, StepPrice])

    @model_validator(mode="before")
    @classmethod
    def _may_be_by_the_piece_alone(cls, given: Any) -> Any:
        fields = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        by_piece = {"image", "audio_minute", "characters"} & fields.keys()
        return {"input": 0, "output": 0, **fields} if by_piece else cast("Any", given)


class DefaultSettings(Section):
    """What a call gets when it does not say."""

    max_tokens: int = Field(default=8192, ge=1, le=10_000_000)
    """Room for a long answer with its reasoning; less where the model can write less."""
    temperature: float | None = Field(default=None, ge=0, le=2)


class LearningSettings(Section):
    """What the router makes of the outcomes of this user's calls."""

    enabled: bool = True
    min_outcomes: int = Field(default=30, ge=10, le=2000)
    """Outcomes that tell something before any of them counts."""
    exploration: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the uncertain calls that are tried a tier lower, so that there is something to learn from."""


class ConversationSettings(Section):
    """What is kept of conversations that callers go on with by `conversation_id`."""

    storage: Literal["memory", "database"] = "memory"
    """`memory` forgets them when the server stops; `database` writes prompts and answers to disk."""
    max_tokens: int = Field(default=32_000, ge=100, le=10_000_000)
    """About how much of a conversation is sent again with its next turn."""
    overflow: Literal["drop", "summarise"] = "drop"
    """What becomes of the oldest turns beyond that; a summary is a call of its own, to the simple tier."""
    ttl_seconds: int = Field(default=604_800, gt=0, le=315_360_000)
    """Seconds after its last turn that a conversation is forgotten."""


class LocalSettings(Section):
    """What serves when no provider has a key."""

    servers: tuple[OpenUrl, ...] = (
        "http://127.0.0.1:11434/v1",  # Ollama
        "http://127.0.0.1:1234/v1",  # LM Studio
        "http://127.0.0.1:8080/v1",  # llama.cpp
        "http://127.0.0.1:8000/v1",  # vLLM
    )
    """OpenAI-compatible servers to look for; an empty list looks for none."""
    embedded: bool = True
    """Use the embedded demonstration model if it is installed."""
    embedded_model: str | None = None
    """A GGUF file to load in place of the packaged SmolLM2."""


def _one_line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be one line of plain text")
    return text


def _ascending(percents: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(percents)))


BudgetName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
Percent = Annotated[int, Field(ge=1, le=1000)]


class BudgetSettings(Section):
    """What may be spent, by whom and how fast."""

    name: BudgetName = Field(description="Of the budget; setting it again replaces it")
    scope: BudgetScope = Field(default=BudgetScope.OVERALL, description="Whose calls it is for")
    value: Annotated[str, Field(max_length=200), AfterValidator(_one_line)] = Field(
        default="", description="The tenant, agent or operation"
    )
    period: BudgetPeriod = Field(description="Begins anew at local midnight, weeks on Monday")
    limit_usd: float = Field(
        ge=0, le=1e9, allow_inf_nan=False, description="Most that may be spent in a period"
    )
    thresholds: Annotated[tuple[Percent, ...], Field(max_length=20), AfterValidator(_ascending)] = Field(
        default=(80, 90, 100), description="Percents of the limit to tell of"
    )
    at_limit: AtLimit = Field(
        default=AtLimit.REFUSE, description="downgrade: the cheapest model that can serve takes over"
    )

    @model_validator(mode="after")
    def _says_whose(self) -> "BudgetSettings":
        if (self.scope is BudgetScope.OVERALL) == bool(self.value):
            raise ValueError(
                "an overall budget takes no `value`: set `scope` to tenant, agent or operation"
                if self.value
                else f"a budget for one {self.scope} needs a `value`: its name"
            )
        return self
