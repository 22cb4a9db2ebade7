"""The router as Python programs use it; `import tierwise` hands it out."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from anyio import to_thread

from tierwise.routing.calls import Call, Receipt
from tierwise.routing.engine import Engine
from tierwise.routing.policy import Plan
from tierwise.routing.request import ChatRequest, Message, ReasoningEffort, Tier
from tierwise.server.configuration import load_settings, settings_from
from tierwise.server.runtime import open_runtime, unwrapped
from tierwise.server.settings import Settings
from tierwise.server.tools.chat import CHAT, ChatArguments, load_request
from tierwise.server.tools.usage import USAGE_SUMMARY
from tierwise.server.usage import UsageSummary, usage_summary

Config = Settings | Mapping[str, Any] | str | os.PathLike[str] | None


class ChatOptions(TypedDict, total=False):
    """What a call may say beside its prompt: the arguments of the `chat` tool, under the same rules."""

    images: Sequence[str] | None
    """Shown with the prompt: https URLs, data URLs, or files in `server.media_folders`."""
    model: str | None
    """An alias, a bare model name or `provider/model`; by default the difficulty decides."""
    tier: Tier | Literal["simple", "standard", "complex"] | None
    """Overrides the judged difficulty."""
    max_tokens: int | None
    temperature: float | None
    """From 0 to 2."""
    system_prompt: str | None
    history: Sequence[Message | Mapping[str, Any]] | None
    """Earlier turns, oldest first; a mapping has the fields of `Message`."""
    conversation_id: str | None
    """A name of yours for the conversation: what was said under it before is remembered."""
    use_cache: bool
    """False asks afresh and replaces the cached answer."""
    operation: str
    """A label for usage reports; `chat` by default."""
    tenant: str | None
    """On whose behalf, for reports and budgets; so with `agent`."""
    agent: str | None
    metadata: Mapping[str, str | int | float | bool] | None
    """Labels that are kept with the ledger's row."""
    fallback_models: Sequence[str] | None
    """Tried in this order if the first model fails, in place of the ladder."""
    max_cost_usd: float | None
    """The worst-case cost of the call, in USD."""
    strategy: Literal["priority", "cascade"] | None
    response_schema: Mapping[str, Any] | str | None
    """JSON Schema that the answer must keep to; what it says is in the receipt's `structured`."""
    tools: Sequence[Mapping[str, Any]] | None
    """Functions that the model may ask for: `name`, `description`, and `parameters` as JSON Schema."""
    tool_choice: str | None
    """`auto`, `none`, `required` or a tool's name."""
    reasoning_effort: ReasoningEffort | None
    drop_params: bool
    """Leaves `reasoning_effort` away where a model lacks it, in place of leaving out the model."""


class UsageOptions(TypedDict, total=False):
    """Which calls to sum up: the arguments of the `usage_summary` tool, under the same rules."""

    days: int
    """The local days up to `end`, 30 by default; or else `start`."""
    start: date | str | None
    end: date | str | None
    """The last day that counts; today by default. A text is an ISO date."""
    group_by: str | None
    """A dimension such as `tenant`, `metadata.KEY` or `day`."""
    filters: Mapping[str, str]
    """Such as `{"tier": "simple"}`."""


class Stream:
    """One call whose answer is read while it is written. It is made when the reading begins.

    A piece is never empty, but for one case: an empty piece says that all before it is void, since the
    model failed half-way, or was not good enough in a cascade, and another one begins anew. Who stops
    reading gives the call up.
    """

    def __init__(self, engine: Engine, load: Callable[[], Awaitable[ChatRequest]]) -> None:
        self._engine = engine
        self._load = load
        self._started = False
        self._call: Call | None = None

    def __aiter__(self) -> AsyncIterator[str]:
        """The pieces of the answer.

        Raises:
            RuntimeError: the stream has been read already.
            TierwiseError: as in `Router.chat`.
        """
        if self._started:
            raise RuntimeError("A stream can be read once: call router.stream() again.")
        self._started = True
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[str]:
        self._call = call = await self._engine.start(await self._load(), watched=True)
        try:
            async for piece in call.pieces():
                yield piece
        finally:
            call.cancel()

    @property
    def receipt(self) -> Receipt:
        """What the call gave and cost, once it has been read to its end.

        Raises:
            RuntimeError: that has not happened.
            TierwiseError: the call failed.
        """
        if self._call is None or not self._call.done:
            raise RuntimeError("There is no receipt before the stream has been read to its end.")
        return self._call.receipt()


class Router:
    """Sends prompts to the cheapest models that will answer them well; made by `tierwise.open`.

    Safe for concurrent tasks. Money in receipts and plans is in nano-USD: `tierwise.usd` makes it USD.
    After the block of `tierwise.open` every method raises RuntimeError.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.closed = False
        self._opened = engine
        self._settings = settings

    @property
    def _engine(self) -> Engine:
        if self.closed:
            raise RuntimeError("This router is closed: use it inside `async with tierwise.open()`.")
        return self._opened

    async def chat(self, prompt: str, **options: Unpack[ChatOptions]) -> Receipt:
        """Answer `prompt`. Cancelling the task gives the call up; what it cost is in the ledger.

        Raises:
            InvalidRequest: the arguments do not fit, or name a model that there is not.
            NoCandidate: nothing is left that could serve the call.
            BudgetExceeded: a budget has no room for it.
            RequestRejected: a provider says that the request itself is wrong.
            AllCandidatesFailed: each was tried; the message says how each failed.
            DeadlineExceeded: time ran out first.
        """
        call = await self._engine.start(await self._loaded(_arguments(prompt, options)))
        try:
            await call.wait(None)
        finally:
            call.cancel()
        return call.receipt()

    def stream(self, prompt: str, **options: Unpack[ChatOptions]) -> Stream:
        """Answer `prompt` piece by piece: `async for piece in router.stream(prompt)`.

        Raises:
            InvalidRequest: the arguments do not fit.
        """
        return Stream(self._engine, partial(self._loaded, _arguments(prompt, options)))

    async def analyze(self, prompt: str, **options: Unpack[ChatOptions]) -> Plan:
        """The plan that `chat` would follow with the same arguments, but for what a conversation remembers;
        calls no model.

        Raises:
            InvalidRequest: the arguments do not fit, or name a model that there is not.
        """
        return await self._engine.plan(await self._loaded(_arguments(prompt, options)))

    async def usage(self, **options: Unpack[UsageOptions]) -> UsageSummary:
        """What calls came to, in USD, those of other processes on the same database included.

        Raises:
            InvalidRequest: the arguments do not fit.
            StorageError: the database cannot be read.
        """
        given = {
            name: value.isoformat() if isinstance(value, date) else value for name, value in options.items()
        }
        query = USAGE_SUMMARY.parse(given).query(self._settings.usage_tracking.time_zone)
        return await usage_summary(self._engine.store, query)

    async def _loaded(self, arguments: ChatArguments) -> ChatRequest:
        return await load_request(arguments, self._settings)


def _arguments(prompt: str, options: ChatOptions) -> ChatArguments:
    given: dict[str, Any] = {"prompt": prompt, **options}
    if history := options.get("history"):
        given["history"] = [_turn(turn) for turn in history]
    return CHAT.parse(given)


@asynccontextmanager
async def open(config: Config = None, *, environ: Mapping[str, str] | None = None) -> AsyncGenerator[Router]:
    """A router, on asyncio, on the same database as every other process with these settings.

    `config` is the path of a settings file; None means the one that the `tierwise` command would find.
    Either is overridden by `TIERWISE_…` variables. A dict in the shape of the file, or `Settings`, is
    taken as it stands. Keys and variables are read from `environ`, which is `os.environ` by default.

    Leaving the block gives up the calls that are still under way; each is in the ledger by then.

    Raises:
        ConfigurationError: the settings cannot be read or do not fit.
        StorageError: the database cannot be used.
        SemanticUnavailable: a setting needs the extra `semantic`, which is not installed.
    """
    variables = dict(os.environ) if environ is None else environ
    settings = await to_thread.run_sync(_settings, config, variables)
    own: BaseException | None = None
    try:
        async with open_runtime(settings, variables) as engine:
            router = Router(engine, settings)
            try:
                yield router
            except BaseException as error:
                own = error
                raise
            finally:
                router.closed = True
    except BaseExceptionGroup as group:
        raise unwrapped(group, own) from None


def _settings(config: Config, environ: Mapping[str, str]) -> Settings:
    if isinstance(config, Settings):
        return config
    if isinstance(config, Mapping):
        return settings_from(config)
    return load_settings(config=None if config is None else Path(config), environ=environ)


def _turn(turn: Message | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(turn, Message):
        return turn
    return {name: value for name, value in asdict(turn).items() if value}
