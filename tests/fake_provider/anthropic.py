"""Anthropic's Messages API.

https://docs.anthropic.com/en/api/messages, …/messages-streaming, …/errors, …/rate-limits
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.fake_provider.answers import Answer, Json, Limits, Tokens, ToolCall
from tests.fake_provider.exchange import Exchange, RecordedRequest, text_in

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtl"


class AnthropicExchange(Exchange):
    overloaded_status = 529

    def __init__(self, request: web.Request, recorded: RecordedRequest) -> None:
        super().__init__(request, recorded)
        self._index = 0
        self._open: str | None = None
        """The type of the content block that is being sent."""

    @property
    def holds(self) -> str:
        return "delta" if self.streams else "content"

    def texts(self) -> list[str]:
        turns = [message.get("content") for message in self.json.get("messages", [])]
        return [text_in(turn) for turn in ([self.json["system"]] if "system" in self.json else []) + turns]

    def whole(self, answer: Answer) -> Json:
        blocks: list[Json] = []
        if answer.reasoning:
            blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": _SIGNATURE})
        if answer.text:
            blocks.append({"type": "text", "text": answer.text})
        blocks += [{**_tool_use(call), "input": call.arguments} for call in answer.tool_calls]
        usage = {"usage": {**_usage(answer.tokens), **answer.usage}} if answer.tokens else {}
        return {**self._message(), "content": blocks, **_stopped(answer), **usage}

    def error(self, code: int, message: str, retry_after: float | str | None = None) -> Json:
        kind = _ERROR_TYPES.get(code, "api_error" if code >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"}

    def headers(self, limits: Limits) -> Mapping[str, str]:
        reset = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=limits.reset)).isoformat(timespec="seconds")
        allowances = {
            "requests": (limits.requests, limits.remaining_requests),
            **dict.fromkeys(
                ("tokens", "input-tokens", "output-tokens"), (limits.tokens, limits.remaining_tokens)
            ),
        }
        return {
            f"anthropic-ratelimit-{of}-{name}": str(value)
            for of, (limit, remaining) in allowances.items()
            for name, value in (("limit", limit), ("remaining", remaining), ("reset", reset))
        }

    def sample(self, text: str) -> Json:
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}

    async def delta(self, content: str) -> None:
        await self._within({"type": "text", "text": ""}, self.sample(content)["delta"])

    async def think(self, reasoning: str) -> None:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        await self._within(block, {"type": "thinking_delta", "thinking": reasoning})
        await self._within(block, {"type": "signature_delta", "signature": _SIGNATURE})

    async def call(self, index: int, call: ToolCall) -> None:
        block: Json = {**_tool_use(call), "input": {}}
        middle = len(call.text) // 2
        await self._close()
        for part in ("", call.text[:middle], call.text[middle:]):
            await self._within(block, {"type": "input_json_delta", "partial_json": part})

    async def end(self, answer: Answer) -> None:
        await self._begin()
        await self._close()
        # What was read is in `message_start`.
        usage = {"usage": {**_written(answer.tokens), **answer.usage}} if answer.tokens else {}
        await self._send("message_delta", delta=_stopped(answer), **usage)
        await self._send("message_stop")

    async def fail(self, code: int, message: str) -> None:
        await self.event(self.error(code, message), "error")

    async def _within(self, block: Json, delta: Json) -> None:
        """Send `delta` as a part of `block`, which is opened if it is not open yet."""
        await self._begin()
        if self._open != block["type"]:
            await self._close()
            self._open = block["type"]
            await self._send("content_block_start", index=self._index, content_block=block)
        await self._send("content_block_delta", index=self._index, delta=delta)

    async def _close(self) -> None:
        if self._open:
            await self._send("content_block_stop", index=self._index)
            self._index += 1
            self._open = None

    async def _begin(self) -> None:
        if self.events.prepared:
            return
        tokens = self.answer.tokens if self.answer else self.tokens("")
        usage = {"usage": {**_usage(tokens), "output_tokens": 1}} if tokens else {}
        await self._send("message_start", message={**self._message(), "content": [], **usage})
        await self._send("ping")

    async def _send(self, kind: str, **parts: Any) -> None:
        await self.event({"type": kind, **parts}, kind)

    def _message(self) -> Json:
        nothing = {"stop_reason": None, "stop_sequence": None}
        return {"id": "msg_fake", "type": "message", "role": "assistant", "model": self.model, **nothing}


def _stopped(answer: Answer) -> Json:
    return {"stop_reason": _STOP_REASONS.get(answer.finish_reason, answer.finish_reason)}


def _tool_use(call: ToolCall) -> Json:
    return {"type": "tool_use", "id": call.id, "name": call.name}


def _usage(tokens: Tokens) -> Json:
    return {
        "input_tokens": tokens.input - tokens.cache_read - tokens.cache_write,
        "cache_creation_input_tokens": tokens.cache_write,
        "cache_read_input_tokens": tokens.cache_read,
        **_written(tokens),
    }


def _written(tokens: Tokens) -> Json:
    details = {"output_tokens_details": {"thinking_tokens": tokens.reasoning}} if tokens.reasoning else {}
    return {"output_tokens": tokens.output, **details}
