"""Reaching models through litellm; the only module that imports it."""

import asyncio
import datetime as dt
import functools
import gc
import importlib
import os
import threading
import warnings
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from tierwise.routing.errors import (
    BadResponse,
    ConnectionFailed,
    ContentRefused,
    UnsafeResponse,
    UpstreamError,
    UpstreamTimeout,
)
from tierwise.routing.providers.base import Completion, OnText, Provider, RateStatus, UpstreamCall
from tierwise.routing.providers.litellm_errors import message, translate
from tierwise.routing.providers.litellm_media import make
from tierwise.routing.providers.litellm_route import addressed
from tierwise.routing.providers.litellm_usage import headers_of, read_cost, read_stand_in, read_usage
from tierwise.routing.providers.openai_wire import ToolCallParts, wire_messages, wire_options
from tierwise.routing.providers.pace import Pace
from tierwise.routing.providers.rate_headers import rate_status
from tierwise.routing.providers.thinking import ThinkingFilter
from tierwise.routing.request import ToolCall
from tierwise.storage.records import Usage

_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else the import fetches a price list from the network
    "LITELLM_MODE": "PRODUCTION",  # else the import loads whatever `.env` lies about
    "LITELLM_LOG": "CRITICAL",  # lower levels go to stdout, and hold prompts
    "JSON_LOGS": "False",  # else the import replaces sys.excepthook
    "AIOHTTP_CONNECTOR_LIMIT": "100000",  # requests wait in our own queue, and not once more for a connection
    "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": "100000",
    "DISABLE_AIOHTTP_TRANSPORT": "False",  # the transport that is contained, and the fastest
    "LITELLM_HTTP2": "False",  # else another one is used
}

_FINISH_REASONS = frozenset({"stop", "length", "content_filter", "tool_calls", "function_call"})
"""OpenAI's. Whatever else a provider writes there would go into the ledger."""

_connect_timeout: ContextVar[float | None] = ContextVar("connect_timeout", default=None)
"""That of the call at hand, in seconds."""

_MAX_TEXT = 4 * 2**20
"""Characters of an answer: a million tokens of English, eight times what any model writes."""

_TOO_LONG = "its text is longer than any model writes"

_KEPT_CHUNKS = 1000

_expects_events: ContextVar[bool] = ContextVar("expects_events", default=False)
"""The call at hand asks for a stream."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Answer:
    content: str
    finish_reason: str | None
    """None when the stream ended before the model had."""
    usage: Usage | None
    """None if the provider reported none."""
    cost: int | None
    """What the provider says that it charges, in nano-USD."""
    logprobs: list[float]
    """Of each token, if they were asked for and given."""
    tool_calls: tuple[ToolCall, ...]
    rate: RateStatus | None
    stand_in: str | None
    """See `Completion`."""


class LiteLLMProvider(Provider):
    """Any of litellm's providers, a LiteLLM proxy, or any OpenAI-compatible server."""

    def start_loading(self) -> None:
        loading()

    async def ready(self) -> None:
        await asyncio.wrap_future(loading())

    async def complete(self, call: UpstreamCall, on_text: OnText | None = None) -> Completion:
        litellm = await asyncio.wrap_future(loading())
        if call.payload.task is not None:
            return await _attempt(call, make(litellm, call, call.payload.task))
        request = _stream(litellm, call, on_text) if on_text else _fetch(litellm, call)
        answer = await _attempt(call, request)
        try:
            _check(answer, call)
        except UpstreamError as error:
            if answer.finish_reason is not None:  # else the usage may be that of its beginning
                error.usage, error.reported_cost = answer.usage, answer.cost
            raise
        usage = answer.usage or await anyio.to_thread.run_sync(
            _count_tokens, litellm, call, answer.content, abandon_on_cancel=True
        )
        return Completion(
            content=answer.content,
            finish_reason=answer.finish_reason if answer.finish_reason in _FINISH_REASONS else "stop",
            usage=usage,
            reported_cost=answer.cost,
            tool_calls=answer.tool_calls,
            stand_in=answer.stand_in,
            mean_logprob=fmean(answer.logprobs) if answer.logprobs else None,
            rate=answer.rate,
        )

    async def aclose(self) -> None:
        if not loading.cache_info().currsize or not loading().done() or loading().exception():
            return
        litellm = loading().result()
        await litellm.close_litellm_async_clients()
        # Or a closed client would serve the next call.
        litellm.in_memory_llm_clients_cache.flush_cache()
        litellm.__dict__.pop("module_level_aclient", None)


async def _attempt(call: UpstreamCall, request: Coroutine[Any, Any, T]) -> T:
    limit = _connect_timeout.set(call.connect_timeout)
    try:
        with anyio.fail_after(call.timeout):
            return await request
    except UpstreamTimeout:
        raise
    except Exception as error:  # litellm raises whatever its parsers trip over
        raise translate(error, call) from error
    finally:
        _connect_timeout.reset(limit)


async def _fetch(litellm: Any, call: UpstreamCall) -> _Answer:
    response = await litellm.acompletion(**_arguments(litellm, call))
    choice = response.choices[0]
    thinking = ThinkingFilter()
    content = thinking.feed(choice.message.content or "") + thinking.close()
    tools = ToolCallParts()
    tools.feed(choice.message.tool_calls)
    usage = read_usage(response, response, characters=len(content))
    headers = headers_of(response)
    return _Answer(
        content=content,
        finish_reason=choice.finish_reason,
        usage=usage,
        cost=read_cost(response, headers),
        logprobs=_logprobs(choice),
        tool_calls=tools.calls(),
        rate=_rate(headers),
        stand_in=read_stand_in(headers),
    )


async def _stream(litellm: Any, call: UpstreamCall, on_text: OnText) -> _Answer:
    expected = _expects_events.set(True)
    try:
        return await _read(litellm, call, on_text)
    finally:
        _expects_events.reset(expected)


async def _read(litellm: Any, call: UpstreamCall, on_text: OnText) -> _Answer:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    pieces: list[str] = []
    thinking = ThinkingFilter()
    summary: Any = None
    logprobs: list[float] = []
    tools = ToolCallParts()
    length = 0

    def hand_over(piece: str) -> None:
        nonlocal length
        length += len(piece)
        if length > _MAX_TEXT:
            raise UnsafeResponse(_TOO_LONG)
        if piece:
            pieces.append(piece)
            on_text(piece)

    async with (
        Pace(call) as pace,
        aclosing(await litellm.acompletion(**_arguments(litellm, call), **options)) as stream,
    ):
        async for chunk in stream:
            summary = chunk if getattr(chunk, "usage", None) else summary
            if chunk.choices:
                delta = chunk.choices[0].delta
                if delta.content or delta.tool_calls or getattr(delta, "reasoning_content", None):
                    pace.token()
                hand_over(thinking.feed(delta.content or ""))
                tools.feed(delta.tool_calls)
                logprobs += _logprobs(chunk.choices[0])
            _forget_chunks(stream)
    hand_over(thinking.close())
    # litellm ends every stream with "stop" and a usage; these show what the provider really sent.
    finish_reason = stream.received_finish_reason or stream.intermittent_finish_reason
    sent = next((chunk for chunk in reversed(stream.chunks) if getattr(chunk, "usage", None)), None)
    content, headers = "".join(pieces), headers_of(stream)
    return _Answer(
        content=content,
        finish_reason=finish_reason,
        usage=read_usage(summary, sent, characters=len(content)) if sent else None,
        cost=read_cost(sent, headers),
        logprobs=logprobs,
        tool_calls=tools.calls(),
        rate=_rate(headers),
        stand_in=read_stand_in(headers),
    )


def _forget_chunks(stream: Any) -> None:
    """litellm keeps each chunk, several KB, to build an answer from in the end; nobody asks for that."""
    if len(stream.chunks) > _KEPT_CHUNKS:
        stream.chunks[:] = [chunk for chunk in stream.chunks if getattr(chunk, "usage", None)][-_KEPT_CHUNKS:]


def _logprobs(choice: Any) -> list[float]:
    tokens: list[Any] = getattr(getattr(choice, "logprobs", None), "content", None) or []
    return [float(token.logprob) for token in tokens]


def _rate(headers: dict[str, Any]) -> RateStatus | None:
    return rate_status(headers, dt.datetime.now(dt.UTC))


def _arguments(litellm: Any, call: UpstreamCall) -> dict[str, Any]:
    optional = {"max_tokens": call.max_tokens, "logprobs": call.logprobs or None}
    return {
        **addressed(litellm, call),
        "messages": wire_messages(call.payload),
        **wire_options(call.payload),
        **{name: value for name, value in optional.items() if value is not None},
    }


def _check(answer: _Answer, call: UpstreamCall) -> None:
    """Raise where the provider's success is none."""
    if answer.finish_reason is None:
        kind = ConnectionFailed if answer.content else BadResponse
        raise kind(message(kind, call, "it ended before the model had finished"))
    if len(answer.content) > _MAX_TEXT:
        raise UnsafeResponse(message(UnsafeResponse, call, _TOO_LONG))
    if answer.content or answer.tool_calls or answer.finish_reason == "length":
        return
    if answer.finish_reason == "content_filter":
        raise ContentRefused(message(ContentRefused, call))
    raise BadResponse(message(BadResponse, call, "it is empty"))


def _count_tokens(litellm: Any, call: UpstreamCall, content: str) -> Usage:
    options = wire_options(call.payload)
    return Usage(
        input_tokens=litellm.token_counter(
            model=call.model,
            messages=wire_messages(call.payload),
            tools=options.get("tools"),
            tool_choice=options.get("tool_choice"),
        ),
        output_tokens=litellm.token_counter(model=call.model, text=content),
        estimated=True,
    )


@functools.cache
def loading() -> "Future[Any]":
    """The import of litellm, which the first call starts; its result is the module.

    The thread is a daemon, so that the process can end without waiting for it.
    """
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()  # one waiter that gives up must not cancel it for the others
    threading.Thread(target=_load, args=(future,), name="load-litellm", daemon=True).start()
    return future


def _load(future: "Future[Any]") -> None:
    # Collecting while a hundred thousand new objects appear would cost a second and stall the loop.
    gc.disable()
    try:
        module = _import_litellm()
        gc.freeze()
    except Exception as error:  # noqa: BLE001  whatever an import can raise is told to all who wait
        reason = f"litellm could not be loaded ({type(error).__name__})"
        future.set_exception(UpstreamError(f"{reason}; reinstall it: pip install --force-reinstall litellm"))
    else:
        future.set_result(module)
    finally:
        gc.enable()


def _import_litellm() -> Any:
    os.environ.update(_ENVIRONMENT)
    import litellm

    # What pydantic finds odd in litellm's types, and in answers, which it quotes.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"pydantic\.")
    module: Any = litellm
    module.suppress_debug_info = True  # else it prints to stdout
    _contain()
    module.disable_hf_tokenizer_download = True  # else counting tokens fetches tokenizers
    worker = importlib.import_module("litellm.litellm_core_utils.logging_worker").GLOBAL_LOGGING_WORKER
    worker.ensure_initialized_and_enqueue = _discard  # nobody listens to its callbacks
    # The first call costs 0.7 s more than the others: better here than while someone waits.
    warm_up = [{"role": "user", "content": "hi"}]
    module.completion(model="openai/warm-up", messages=warm_up, mock_response="ok")
    return module


def _contain() -> None:
    """Have every asynchronous client that litellm makes keep our limits, and the call's `connect_timeout`.

    Raises:
        ImportError: this litellm makes its clients in another way.
    """
    from tierwise.routing.providers.connecting import impatient
    from tierwise.routing.providers.containment import contained

    transports: Any = importlib.import_module("litellm.llms.custom_httpx.aiohttp_transport")
    clients: Any = importlib.import_module("litellm.llms.custom_httpx.http_handler")
    impatiently = impatient(transports.LiteLLMAiohttpTransport, _connect_timeout.get)
    transports.LiteLLMAiohttpTransport = contained(impatiently, _expects_events.get)
    if not isinstance(clients.AsyncHTTPHandler.create_async_transport(), transports.LiteLLMAiohttpTransport):
        raise ImportError("its HTTP transport is not the known one")


def _discard(async_coroutine: Coroutine[Any, Any, None]) -> None:
    async_coroutine.close()
