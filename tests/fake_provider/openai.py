"""OpenAI's chat completions, which most other providers speak as well.

https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Mapping
from typing import Any

from tests.fake_provider.answers import Answer, Json, Limits, Tokens, ToolCall
from tests.fake_provider.exchange import Exchange, text_in

_KINDS = {401: "authentication_error", 429: "rate_limit_error"}


def error(code: int, message: str) -> Json:
    kind = "server_error" if code >= 500 else _KINDS.get(code, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def headers(limits: Limits) -> Mapping[str, str]:
    """https://platform.openai.com/docs/guides/rate-limits"""
    return {
        "x-ratelimit-limit-requests": str(limits.requests),
        "x-ratelimit-remaining-requests": str(limits.remaining_requests),
        "x-ratelimit-reset-requests": f"{limits.reset:g}s",
        "x-ratelimit-limit-tokens": str(limits.tokens),
        "x-ratelimit-remaining-tokens": str(limits.remaining_tokens),
        "x-ratelimit-reset-tokens": f"{limits.reset:g}s",
    }


class OpenAIExchange(Exchange):
    def texts(self) -> list[str]:
        return [text_in(message.get("content")) for message in self.json.get("messages", [])]

    def whole(self, answer: Answer) -> Json:
        message: Json = {"role": "assistant", "content": answer.text, "reasoning_content": answer.reasoning}
        if answer.tool_calls:
            message["tool_calls"] = [_tool_call(call) for call in answer.tool_calls]
            message["content"] = answer.text or None
        logprobs = self._logprobs(*answer.pieces)
        choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, **logprobs}
        return self.body("chat.completion", choices=[choice], **_reported(answer))

    def error(self, code: int, message: str, retry_after: float | str | None = None) -> Json:
        return error(code, message)

    def headers(self, limits: Limits) -> Mapping[str, str]:
        return headers(limits)

    def sample(self, text: str) -> Json:
        choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}
        return self.body("chat.completion.chunk", choices=[choice])

    async def delta(self, content: str) -> None:
        await self._delta(content=content, **self._logprobs(content))

    async def think(self, reasoning: str) -> None:
        await self._delta(reasoning_content=reasoning)

    async def call(self, index: int, call: ToolCall) -> None:
        named = {**_tool_call(call), "index": index, "function": {"name": call.name, "arguments": ""}}
        await self._delta(tool_calls=[named])
        for piece in _halves(call.text):
            await self._delta(tool_calls=[{"index": index, "function": {"arguments": piece}}])

    async def end(self, answer: Answer) -> None:
        await self._delta(answer.finish_reason)
        if answer.tokens and self.json.get("stream_options", {}).get("include_usage"):
            await self.chunk(choices=[], **_reported(answer))
        await self.event("[DONE]")

    def body(self, kind: str, **parts: Any) -> Json:
        return {"id": "chatcmpl-fake", "object": kind, "created": 1, "model": self.model, **parts}

    async def chunk(self, **parts: Any) -> None:
        await self.event(self.body("chat.completion.chunk", **parts))

    async def _delta(
        self, finish_reason: str | None = None, logprobs: Json | None = None, **delta: Any
    ) -> None:
        if not self.events.prepared:
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
        await self.chunk(choices=[choice])

    def _logprobs(self, *tokens: str) -> Json:
        logprob = self.answer.logprob if self.answer else None
        if logprob is None or not self.json.get("logprobs"):
            return {}
        return {"logprobs": {"content": [_logprob(token, logprob) for token in tokens]}}


def _tool_call(call: ToolCall) -> Json:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.text}}


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _logprob(token: str, logprob: float) -> Json:
    return {"token": token, "logprob": logprob, "bytes": None, "top_logprobs": []}


def _reported(answer: Answer) -> Json:
    return {"usage": {**_usage(answer.tokens), **answer.usage}} if answer.tokens else {}


def _usage(tokens: Tokens) -> Json:
    return {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "prompt_tokens_details": {"cached_tokens": tokens.cache_read},
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning},
    }
