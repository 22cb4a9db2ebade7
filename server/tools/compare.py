"""`estimate_cost` and `compare_models`: what models would cost for a prompt, and what they make of it."""

import time
from dataclasses import replace
from typing import Annotated, Any, Literal

import anyio
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from tierwise.routing.calls import Call
from tierwise.routing.candidates import TYPICAL_OUTPUT_TOKENS
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.money.pricing import cost, nano_usd, usd
from tierwise.routing.money.spending import dollars, most
from tierwise.routing.policy import Plan
from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.tokens import estimate_prompt_tokens
from tierwise.server.tools.base import Answer, Arguments, Prompt, Text, Tool, ToolContext
from tierwise.server.tools.chat import Whole
from tierwise.server.tools.conversation import Name
from tierwise.storage.errors import TierwiseError
from tierwise.storage.records import Usage

_MOST_COMPARED = 8


class EstimateArguments(Arguments):
    prompt: Prompt = Field(description="What a model would be asked")
    models: list[Name] | None = Field(None, max_length=50, description="Default: all models of all tiers")
    max_output_tokens: Whole | None = Field(None, ge=1, le=10_000_000, description="Longest answer")


class Estimate(BaseModel):
    model: str
    provider: str
    input_tokens: int
    output_tokens: int
    estimated_cost_usd: float | None
    most_usd: float | None
    note: str | None = None


class Estimates(BaseModel):
    tier: Tier
    cheapest: str | None
    models: list[Estimate]


async def estimate_cost(context: ToolContext, arguments: EstimateArguments) -> Answer:
    """The cheapest first; models that cannot serve, or have no price, come last with the reason."""
    engine = context.engine
    judged = await engine.plan(ChatRequest(prompt=arguments.prompt))
    listed = [model.id for model, tiers in (await engine.catalog()).models() if tiers]
    estimates: list[Estimate] = []
    for name in dict.fromkeys(arguments.models or listed):
        plan = await engine.plan(_alone(arguments.prompt, name, max_tokens=arguments.max_output_tokens))
        estimates.append(_estimate(plan, TYPICAL_OUTPUT_TOKENS[judged.tier]))
    estimates.sort(key=lambda it: (it.note is not None, it.estimated_cost_usd is None, it.estimated_cost_usd))
    first = estimates[0] if estimates and estimates[0].note is None else None
    return Answer(Estimates(tier=judged.tier, cheapest=first and first.model, models=estimates))


def _alone(prompt: str, model: str, **more: Any) -> ChatRequest:
    return ChatRequest(prompt=prompt, model=model, fallback_models=(), **more)


def _estimate(plan: Plan, typical: int) -> Estimate:
    tokens = estimate_prompt_tokens(plan.request.payload)
    if not plan.candidates and not plan.peers:
        [out] = plan.excluded
        return Estimate(
            model=out.model.id,
            provider=out.model.provider,
            input_tokens=tokens,
            output_tokens=typical,
            estimated_cost_usd=None,
            most_usd=None,
            note=out.reason,
        )
    candidate = plan.first
    output, price = min(candidate.max_tokens, typical), candidate.model.price
    dearest = most(candidate, plan.request.payload)
    estimate = Estimate(
        model=candidate.model.id,
        provider=candidate.model.provider,
        input_tokens=tokens,
        output_tokens=output,
        estimated_cost_usd=usd(cost(Usage(input_tokens=tokens, output_tokens=output), price))
        if price
        else None,
        most_usd=None if dearest is None else usd(dearest),
    )
    if price is None:
        estimate.note = candidate.model.price_note
    return estimate


class CompareArguments(Arguments):
    prompt: Prompt = Field(description="What each model should answer")
    models: list[Name] = Field(min_length=2, max_length=_MOST_COMPARED, description="Two to eight models")
    system_prompt: Text | None = Field(None, description="Instructions to the models")
    max_tokens: Whole | None = Field(None, ge=1, le=10_000_000, description="Longest answer of each")
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False, description="0 to 2")
    max_cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Worst-case cost of all together; nothing is asked if it may be passed"
    )
    tenant: Name | None = Field(None, description="On whose behalf; for reports and budgets")
    agent: Name | None = Field(None, description="Who asks; for reports and budgets")

    def request(self, context: ToolContext, model: str) -> ChatRequest:
        """What one of the models is asked."""
        usage = context.settings.usage_tracking
        return _alone(
            self.prompt,
            model,
            system_prompt=self.system_prompt,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            operation="compare",
            tenant=usage.tenant if self.tenant is None else self.tenant,
            agent=usage.agent if self.agent is None else self.agent,
        )


class Compared(BaseModel):
    model: str
    status: Literal["done", "running", "failed"]
    content: str | None = None
    error: str | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    output_tokens: int | None = None
    cached: bool | Literal["semantic"] | None = None
    call_id: str | None = None
    warning: str | None = None


class Comparison(BaseModel):
    answers: list[Compared]
    total_cost_usd: float


async def compare_models(context: ToolContext, arguments: CompareArguments) -> Answer:
    """Ask all models at once; one that fails or takes too long keeps the others' answers from nobody."""
    names = list(dict.fromkeys(arguments.models))
    caps = await _caps(context, arguments, names)
    answers: dict[str, Compared] = {}
    deadline = time.monotonic() + context.settings.server.answer_within

    async def ask(name: str) -> None:
        request = replace(arguments.request(context, name), max_cost_usd=caps.get(name))
        answers[name] = await _ask(context, request, name, deadline)

    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name)
    in_order = [answers[name] for name in names]
    total = sum(answer.cost_usd or 0 for answer in in_order)
    return Answer(Comparison(answers=in_order, total_cost_usd=total))


async def _caps(context: ToolContext, arguments: CompareArguments, names: list[str]) -> dict[str, float]:
    """How much of `max_cost_usd` each model may use: its worst case.

    Raises:
        InvalidRequest: they come to more than the limit, or one has no price or cannot serve.
    """
    if arguments.max_cost_usd is None:
        return {}
    caps: dict[str, int] = {}
    for name in names:
        first = (await context.engine.plan(arguments.request(context, name))).first
        if first.worst_cost is None:
            raise InvalidRequest(f"max_cost_usd cannot be kept: {first.model.price_note}.")
        caps[name] = first.worst_cost
    if sum(caps.values()) > nano_usd(arguments.max_cost_usd):
        raise InvalidRequest(
            f"These models may cost up to {dollars(sum(caps.values()))} together, more than max_cost_usd:"
            " nothing was asked. Lower max_tokens, name fewer or cheaper models, or raise it."
        )
    return {name: usd(cap) for name, cap in caps.items()}


async def _ask(context: ToolContext, request: ChatRequest, name: str, deadline: float) -> Compared:
    try:
        call = await context.engine.start(request)
    except TierwiseError as error:
        return Compared(model=name, status="failed", error=str(error))
    try:
        if not await call.wait(max(deadline - time.monotonic(), 0)):
            context.engine.keep(call)
            return Compared(model=name, status="running", call_id=call.id)
        return _answered(call, name)
    finally:
        if not call.done and context.engine.find(call.id) is None:
            call.cancel()  # whoever asked has gone


def _answered(call: Call, name: str) -> Compared:
    try:
        receipt = call.receipt()
    except TierwiseError as error:
        return Compared(model=name, status="failed", error=str(error), call_id=call.id)
    return Compared(
        model=name,
        status="done",
        content=receipt.content,
        cost_usd=None if receipt.cost is None else usd(receipt.cost),
        latency_ms=round(receipt.latency_ms, 1),
        output_tokens=receipt.output_tokens,
        cached=receipt.cached_as,
        call_id=call.id,
        warning=receipt.warning,
    )


ESTIMATE_COST = Tool(
    name="estimate_cost",
    title="Estimate the cost of a prompt",
    description="What a prompt would cost with each model, typically and at most; calls nobody.",
    arguments=EstimateArguments,
    result=Estimates,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    handler=estimate_cost,
)

COMPARE_MODELS = Tool(
    name="compare_models",
    title="Compare models",
    description="Asks several models the same at once; returns answer, cost and latency of each.",
    arguments=CompareArguments,
    result=Comparison,
    annotations=ToolAnnotations(destructive_hint=False),
    handler=compare_models,
)
