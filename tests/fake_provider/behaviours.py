"""How a request is answered, or not: the same words for every wire."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from tests.fake_provider.answers import Answer, Json, Limits, Tokens, ToolCall
from tests.fake_provider.exchange import Exchange
from tests.fake_provider.gemini import GeminiExchange

Behaviour = Callable[[Exchange], Awaitable[web.StreamResponse]]
"""How one request is answered, or not."""


def ok(
    *,
    content: str | None = None,
    pieces: Sequence[str] | None = None,
    reasoning: str | None = None,
    tool_calls: Sequence[ToolCall] = (),
    finish_reason: str | None = None,
    tokens: Tokens | None = None,
    usage: Json | None = None,
    report_usage: bool = True,
    limits: Limits | None = None,
    logprob: float | None = None,
    drip: float = 0,
) -> Behaviour:
    """Answer. `tokens` are reported in the wire's words, in place of plausible ones; `usage` is in those
    words already, and laid over them. `drip` is the pause between pieces in seconds."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        text = content
        if text is None:
            text = "" if tool_calls else exchange.content
        cut = tuple(pieces or _words(text))
        return await exchange.respond(
            Answer(
                pieces=cut,
                finish_reason=finish_reason or ("tool_calls" if tool_calls else "stop"),
                reasoning=reasoning,
                tool_calls=tuple(tool_calls),
                tokens=(tokens or exchange.tokens("".join(cut))) if report_usage else None,
                usage=usage or {},
                limits=limits,
                logprob=logprob,
                drip=drip,
            )
        )

    return answer


def _words(text: str) -> list[str]:
    *firsts, last = text.split(" ")
    return [*(f"{word} " for word in firsts), *([last] if last else [])]


def empty() -> Behaviour:
    return ok(content="")


def no_usage() -> Behaviour:
    return ok(report_usage=False)


def blocked() -> Behaviour:
    """The prompt is refused by the provider's policy, each in its own way."""

    async def block(exchange: Exchange) -> web.StreamResponse:
        if not isinstance(exchange, GeminiExchange):
            return await ok(content="", finish_reason="content_filter")(exchange)
        body = {**exchange.body(None), "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
        body["usageMetadata"] = {"promptTokenCount": 8, "totalTokenCount": 8}
        if not exchange.streams:
            return web.json_response(body)
        await exchange.event(body)
        return exchange.events

    return block


def slow_drip(delay: float, chunks: int) -> Behaviour:
    return ok(pieces=[f"piece {n} " for n in range(chunks)], drip=delay)


def delay(seconds: float) -> Behaviour:
    async def answer_late(exchange: Exchange) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await ok()(exchange)

    return answer_late


def status(code: int, body: Json | str | None = None, headers: dict[str, str] | None = None) -> Behaviour:
    """An answer with this status; a `str` goes out as HTML, None as an error in the wire's shape."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(status=code, text=body, content_type="text/html", headers=headers)
        error = exchange.error(code, f"fake status {code}") if body is None else body
        return web.json_response(error, status=code, headers=headers)

    return answer


def refusal(code: int, message: str) -> Behaviour:
    """An error in the wire's shape with the provider's own words."""

    async def refuse_it(exchange: Exchange) -> web.StreamResponse:
        return web.json_response(exchange.error(code, message), status=code)

    return refuse_it


def rate_limited(retry_after: float | str, limits: Limits | None = None) -> Behaviour:
    """429; `retry_after` is in seconds, or an HTTP date. Gemini says it in the body, others in a header."""

    async def limit(exchange: Exchange) -> web.StreamResponse:
        said = {} if isinstance(exchange, GeminiExchange) else {"retry-after": str(retry_after)}
        headers = {**said, **exchange.limit_headers(limits)}
        error = exchange.error(429, "Rate limit reached", retry_after)
        return web.json_response(error, status=429, headers=headers)

    return limit


def overloaded() -> Behaviour:
    """503, and 529 over Anthropic's wire."""

    async def decline(exchange: Exchange) -> web.StreamResponse:
        return await refusal(exchange.overloaded_status, "Overloaded")(exchange)

    return decline


def garbage() -> Behaviour:
    """200, and something that is no answer: a page of HTML, or a broken event in a stream."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        if not exchange.streams:
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        await exchange.event('{"choices": [{"delta": {"cont')
        return exchange.events

    return answer


def hang() -> Behaviour:
    """Never answer."""
    return delay(3600)


def refuse() -> Behaviour:
    """Reset the connection in place of an answer; see `FakeProvider.refused_url` for a port that is shut."""

    async def cut(exchange: Exchange) -> web.StreamResponse:
        exchange.reset()
        return web.Response()

    return cut


def cut_mid_stream(after_chunks: int, *, politely: bool = False) -> Behaviour:
    """Stop after some pieces: with a reset, or `politely` with an end that lacks only the finish reason."""

    async def cut(exchange: Exchange) -> web.StreamResponse:
        for n in range(after_chunks):
            await exchange.delta(f"piece {n} ")
        if not politely:
            exchange.reset()
        return exchange.events

    return cut


def fails_mid_stream(after_chunks: int, code: int = 503, message: str = "Overloaded") -> Behaviour:
    """Say after some pieces of a stream that it is over."""

    async def fail(exchange: Exchange) -> web.StreamResponse:
        for n in range(after_chunks):
            await exchange.delta(f"piece {n} ")
        await exchange.fail(code, message)
        return exchange.events

    return fail
