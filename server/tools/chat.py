"""`chat` and `chat_result`: a prompt in, an answer and its receipt out."""

import json
import time
from dataclasses import replace
from typing import Annotated, Any, Literal

from mcp_types import ToolAnnotations
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from tierwise.routing.calls import Call, Receipt
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.money.pricing import usd
from tierwise.routing.request import ChatRequest, ReasoningEffort, Strategy, Tier, ToolCall
from tierwise.server.images import load_images
from tierwise.server.settings import Settings, UsageSettings
from tierwise.server.tools.attempts import Attempt, attempts_of
from tierwise.server.tools.base import Answer, Arguments, Text, Tool, ToolContext
from tierwise.server.tools.conversation import (
    OBJECTS,
    JsonText,
    Name,
    OfferedTool,
    Turn,
    definitions,
    messages,
)
from tierwise.server.tools.made import made

PROGRESS_INTERVAL = 1.0
"""Seconds between two looks at the growing text."""
SILENT_INTERVAL = 5.0
"""Seconds after which progress is sent though nothing new was written."""


def labels(metadata: dict[str, Any]) -> dict[str, str]:
    """What a caller puts beside the ledger row, as text."""
    if not all(isinstance(value, str | int | float | bool) for value in metadata.values()):
        raise ValueError("has a value that is no text, number or boolean; write it as text")
    if sum(len(key) + len(str(value)) for key, value in metadata.items()) > 4000:
        raise ValueError("is too large; keep it under 4,000 characters")
    return {key: str(value) for key, value in metadata.items()}


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


Whole = Annotated[int, BeforeValidator(_no_boolean)]


class ChatArguments(Arguments):
    prompt: Text = Field(description="What the model should answer; empty after tool results")
    images: list[str] | None = Field(None, max_length=16, description="Shown with it: https or data URLs")
    model: Name | None = Field(
        None, description="Alias, model, provider/model or auto:cheap|fast|best; default: by difficulty"
    )
    tier: Tier | None = Field(None, description="Overrides the judged difficulty")
    max_tokens: Whole | None = Field(None, ge=1, le=10_000_000, description="Longest answer")
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False, description="0 to 2")
    system_prompt: Text | None = Field(None, description="Instructions to the model")
    history: list[Turn] | None = Field(None, description="Earlier turns, oldest first")
    conversation_id: Name | None = Field(None, description="Any id; its earlier turns are kept here")
    use_cache: bool = Field(True, description="false asks afresh and replaces the cached answer")
    operation: Name = Field("chat", description="Label for usage reports")
    tenant: Name | None = Field(None, description="On whose behalf; for reports and budgets")
    agent: Name | None = Field(None, description="Who asks")
    metadata: Annotated[dict[str, Any], AfterValidator(labels)] | None = Field(
        None, description="Labels kept with the ledger row", json_schema_extra={"additionalProperties": True}
    )
    fallback_models: list[Name] | None = Field(None, max_length=20, description="Tried next, in this order")
    max_cost_usd: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Worst-case cost; cheaper tiers may serve"
    )
    strategy: Strategy | None = Field(
        None, description="cascade: a cheap model first, a better one if needed"
    )
    response_schema: Annotated[JsonText, Field(json_schema_extra={"type": "object"})] | None = Field(
        None, description="JSON Schema the answer must keep to"
    )
    tools: Annotated[list[OfferedTool], Field(json_schema_extra=OBJECTS)] | None = Field(
        None, max_length=128, description="Tools the model may call: {name, description, parameters}"
    )
    tool_choice: Name | None = Field(None, description="auto, none, required or a tool's name")
    reasoning_effort: ReasoningEffort | None = Field(None, description="How long to think")
    drop_params: bool = Field(False, description="Drop what the model cannot take")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "ChatArguments":
        if self.model is not None and self.tier is not None:
            raise ValueError("`model` and `tier` contradict each other: give one of them")
        return self

    def request(self, usage: UsageSettings) -> ChatRequest:
        """The same, as the engine takes it; `usage` says who it is for where the caller does not."""
        return ChatRequest(
            prompt=self.prompt,
            history=messages(self.history),
            system_prompt=self.system_prompt,
            model=self.model,
            tier=self.tier,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            conversation_id=self.conversation_id,
            use_cache=self.use_cache,
            operation=self.operation,
            tenant=usage.tenant if self.tenant is None else self.tenant,
            agent=usage.agent if self.agent is None else self.agent,
            metadata=self.metadata or {},
            fallback_models=None if self.fallback_models is None else tuple(self.fallback_models),
            max_cost_usd=self.max_cost_usd,
            strategy=self.strategy,
            response_schema=self.response_schema,
            tools=definitions(self.tools),
            tool_choice=self.tool_choice,
            reasoning_effort=self.reasoning_effort,
            drop_params=self.drop_params,
        )


class ChatResultArguments(Arguments):
    call_id: Name = Field(description="From a chat that was still running")
    wait_s: float | None = Field(None, ge=0, le=3600, description="Seconds to wait; default 50")


class ToolCalled(BaseModel):
    id: str
    name: str
    arguments: dict[str, Any]


class ChatStatus(BaseModel):
    status: Literal["done", "running"]
    call_id: str
    content: str


class ChatResult(ChatStatus):
    """What is always there first; the rest where it tells something."""

    model: str
    provider: str
    tier: Tier
    complexity_score: float
    reason: str
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: float | None
    saved_usd: float | None
    latency_ms: float
    cached: bool | Literal["semantic"]
    finish_reason: str
    tier_chosen: Tier | None = None
    cost_note: str | None = None
    similarity: float | None = None
    structured: Any = None
    tool_calls: list[ToolCalled] | None = None
    prompt_cache_saved_usd: float | None = None
    dropped_params: list[str] | None = None
    attempts: list[Attempt] | None = None
    warning: str | None = None


async def chat(context: ToolContext, arguments: ChatArguments) -> Answer:
    """Answer the prompt, or hand back a `call_id` when the answer takes longer than the caller can wait."""
    return await answered(context, await load_request(arguments, context.settings))


async def answered(context: ToolContext, request: ChatRequest) -> Answer:
    """Answer `request`, or hand back a `call_id` when that takes longer than the caller can wait."""
    call = await context.engine.start(request, watched=context.report_progress is not None)
    try:
        return await _answer(context, call, context.settings.server.answer_within)
    finally:
        if not call.done and context.engine.find(call.id) is None:
            call.cancel()  # whoever asked has gone, and nobody is left to fetch the answer


async def load_request(arguments: ChatArguments, settings: Settings) -> ChatRequest:
    """The request with its pictures.

    Raises:
        InvalidRequest: one of them cannot be used.
    """
    request = arguments.request(settings.usage_tracking)
    if not arguments.images:
        return request
    return replace(request, images=await load_images(arguments.images, settings.server.media_folders))


async def chat_result(context: ToolContext, arguments: ChatResultArguments) -> Answer:
    """The answer of a call that was still running, or what there is of it by now."""
    call = context.engine.find(arguments.call_id)
    if call is None:
        raise InvalidRequest(
            f"There is no running call {arguments.call_id!r}: a result is kept by the server that ran"
            " the call, until that stops. Ask again with chat."
        )
    within = context.settings.server.answer_within
    return await _answer(context, call, within if arguments.wait_s is None else min(arguments.wait_s, within))


async def _answer(context: ToolContext, call: Call, within: float) -> Answer:
    if await _wait(context, call, within):
        if call.size:
            context.engine.keep(call)  # what was made is read as a resource
        if call.plan.request.task is not None:
            return made(call)
        result = chat_result_of(call.receipt())
        return Answer(result, None if result.tool_calls else result.content)
    context.engine.keep(call)
    result = ChatStatus(status="running", call_id=call.id, content=call.shown)
    so_far = f" So far:\n{call.shown}" if call.text else ""
    return Answer(result, f'Still running: fetch the answer with chat_result(call_id="{call.id}").{so_far}')


async def _wait(context: ToolContext, call: Call, within: float) -> bool:
    """Wait for the end of the call while its text goes out as progress; says whether it has come."""
    if context.report_progress is None:
        return await call.wait(within)
    start = told_at = time.monotonic()
    told = ""
    while (left := start + within - time.monotonic()) > 0:
        if await call.wait(min(PROGRESS_INTERVAL, left)):
            return True
        now, text = time.monotonic(), call.shown
        if text != told or now - told_at >= SILENT_INTERVAL:
            await context.report_progress(round(now - start, 3), text)
            told, told_at = text, now
    return call.done


def chat_result_of(receipt: Receipt) -> ChatResult:
    """The receipt as programs read it: money in USD, and nothing that says nothing."""
    optional: dict[str, Any] = {
        "tier_chosen": receipt.tier_chosen if receipt.tier_chosen is not receipt.tier else None,
        "cost_note": receipt.cost_note,
        "attempts": attempts_of(receipt.attempts),
        "similarity": None if receipt.similarity is None else round(receipt.similarity, 3),
        "structured": receipt.structured,
        "tool_calls": [_called(call) for call in receipt.tool_calls] or None,
        "prompt_cache_saved_usd": None
        if receipt.prompt_cache_saved is None
        else usd(receipt.prompt_cache_saved),
        "dropped_params": list(receipt.dropped_params) or None,
        "warning": receipt.warning,
    }
    return ChatResult(
        status="done",
        call_id=receipt.call_id,
        content=receipt.content,
        model=receipt.model,
        provider=receipt.provider,
        tier=receipt.tier,
        complexity_score=round(receipt.complexity_score or 0, 4),
        reason=receipt.reason,
        input_tokens=receipt.input_tokens,
        output_tokens=receipt.output_tokens,
        total_tokens=receipt.input_tokens + receipt.output_tokens,
        cost_usd=None if receipt.cost is None else usd(receipt.cost),
        saved_usd=None if receipt.saved is None else usd(receipt.saved),
        latency_ms=round(receipt.latency_ms, 1),
        cached=receipt.cached_as,
        finish_reason=receipt.finish_reason,
        **{name: value for name, value in optional.items() if value is not None},
    )


def _called(call: ToolCall) -> ToolCalled:
    return ToolCalled(id=call.id, name=call.name, arguments=json.loads(call.arguments))


CHAT = Tool(
    name="chat",
    title="Ask the cheapest good model",
    description=(
        "Answers a prompt with the cheapest model that is good enough for it, and says what it cost."
        " A long answer may come back as status `running`: fetch it with chat_result."
    ),
    arguments=ChatArguments,
    result=ChatResult,
    annotations=ToolAnnotations(destructive_hint=False),
    handler=chat,
)

CHAT_RESULT = Tool(
    name="chat_result",
    title="Fetch a running answer",
    description="Waits for a chat that was still running and returns what chat would have, or what there is.",
    arguments=ChatResultArguments,
    result=ChatStatus,  # and, once done, all of `ChatResult`, whose schema need not be listed twice
    annotations=ToolAnnotations(read_only_hint=True),
    handler=chat_result,
)
