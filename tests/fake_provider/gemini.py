"""Gemini's generateContent and streamGenerateContent, the latter with `alt=sse`.

https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from tests.fake_provider.answers import Answer, Json, Tokens, ToolCall
from tests.fake_provider.exchange import Exchange, text_in

_FINISH_REASONS = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


class GeminiExchange(Exchange):
    reports = "usageMetadata"

    @property
    def holds(self) -> str:
        return "candidates"

    @property
    def model(self) -> str:
        return self.request.match_info["model"]

    @property
    def streams(self) -> bool:
        return self.request.match_info["verb"] == "streamGenerateContent"

    def texts(self) -> list[str]:
        system = self.json.get("system_instruction") or self.json.get("systemInstruction")
        turns: list[Json] = ([system] if system else []) + self.json.get("contents", [])
        return [text_in(turn.get("parts")) for turn in turns]

    def whole(self, answer: Answer) -> Json:
        parts: list[Json] = [_thought(answer.reasoning)] if answer.reasoning else []
        parts += [{"text": answer.text}] if answer.text else []
        parts += [_function_call(call) for call in answer.tool_calls]
        return self.body(_candidate(*parts, finish_reason=answer.finish_reason), answer)

    def error(self, code: int, message: str, retry_after: float | str | None = None) -> Json:
        status = _STATUSES.get(code, "UNKNOWN" if code >= 500 else "INVALID_ARGUMENT")
        # Gemini says in the body when to come back, and in no header.
        details = [{"@type": _RETRY_INFO, "retryDelay": f"{retry_after}s"}] if retry_after is not None else []
        return {"error": {"code": code, "message": message, "status": status, "details": details}}

    def sample(self, text: str) -> Json:
        return self.body(_candidate({"text": text}))

    async def delta(self, content: str) -> None:
        await self.event(self.sample(content))

    async def think(self, reasoning: str) -> None:
        await self.event(self.body(_candidate(_thought(reasoning))))

    async def call(self, index: int, call: ToolCall) -> None:
        await self.event(self.body(_candidate(_function_call(call))))

    async def end(self, answer: Answer) -> None:
        last = _candidate({"text": ""}, finish_reason=answer.finish_reason)
        await self.event(self.body(last, answer))

    def body(self, candidate: Json | None, answer: Answer | None = None) -> Json:
        body: Json = {"modelVersion": self.model, "responseId": "fake"}
        if candidate:
            body["candidates"] = [candidate]
        if answer and answer.tokens:
            body["usageMetadata"] = {**_usage(answer.tokens), **answer.usage}
        return body


def _candidate(*parts: Json, finish_reason: str | None = None) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish_reason is not None:
        candidate["finishReason"] = _FINISH_REASONS.get(finish_reason, finish_reason)
    return candidate


def _thought(reasoning: str) -> Json:
    return {"text": reasoning, "thought": True}


def _function_call(call: ToolCall) -> Json:
    return {"functionCall": {"name": call.name, "args": call.arguments, "id": call.id}}


def _usage(tokens: Tokens) -> Json:
    usage: Json = {
        "promptTokenCount": tokens.input,
        "candidatesTokenCount": tokens.output - tokens.reasoning,
        "totalTokenCount": tokens.input + tokens.output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.input}],
    }
    if tokens.cache_read:
        usage["cachedContentTokenCount"] = tokens.cache_read
    if tokens.reasoning:
        usage["thoughtsTokenCount"] = tokens.reasoning
    return usage
