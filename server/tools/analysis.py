"""`analyze_complexity`: the plan that `chat` would follow, without following it."""

from typing import Annotated

from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from tierwise.routing.candidates import Candidate
from tierwise.routing.money.pricing import usd
from tierwise.routing.request import ChatRequest, Tier
from tierwise.server.tools.base import Answer, Arguments, Prompt, Tool, ToolContext
from tierwise.server.tools.conversation import OBJECTS, Turn, messages


class AnalyzeArguments(Arguments):
    prompt: Prompt = Field(description="The prompt to judge")
    history: Annotated[list[Turn], Field(json_schema_extra=OBJECTS)] | None = Field(
        None, description="Earlier turns, as in chat"
    )


class PlannedModel(BaseModel):
    model: str
    tier: Tier
    reason: str
    estimated_cost_usd: float | None


class ExcludedModel(BaseModel):
    model: str
    tier: Tier
    reason: str


class RoutingRule(BaseModel):
    models: list[str]
    min_complexity: float
    max_complexity: float


class Analysis(BaseModel):
    complexity_score: float
    tier: Tier
    confidence: float
    p_cheap_fails: float
    selected_model: str | None
    reason: str
    contributions: dict[str, float]
    candidates: list[PlannedModel]
    excluded: list[ExcludedModel]
    routing_rules: dict[str, RoutingRule]


async def analyze_complexity(context: ToolContext, arguments: AnalyzeArguments) -> Answer:
    return Answer(await analysis(context, arguments))


async def analysis(context: ToolContext, arguments: AnalyzeArguments) -> Analysis:
    """The plan for the prompt, as programs read it."""
    usage = context.settings.usage_tracking
    request = ChatRequest(
        prompt=arguments.prompt,
        history=messages(arguments.history),
        tenant=usage.tenant,
        agent=usage.agent,
    )
    plan = await context.engine.plan(request)
    return Analysis(
        complexity_score=round(plan.judged.score, 4),
        tier=plan.tier,
        confidence=plan.judged.confidence,
        p_cheap_fails=plan.judged.p_cheap_fails,
        selected_model=plan.candidates[0].model.id if plan.candidates else None,
        reason=plan.reason,
        contributions={name: round(share, 4) for name, share in plan.judged.contributions.items()},
        candidates=[_planned(candidate) for candidate in plan.candidates],
        excluded=[
            ExcludedModel(model=out.model.id, tier=out.tier, reason=out.reason) for out in plan.excluded
        ],
        routing_rules=await routing_rules(context),
    )


def _planned(candidate: Candidate) -> PlannedModel:
    return PlannedModel(
        model=candidate.model.id,
        tier=candidate.tier,
        reason=candidate.reason,
        estimated_cost_usd=None if candidate.estimated_cost is None else usd(candidate.estimated_cost),
    )


async def routing_rules(context: ToolContext) -> dict[str, RoutingRule]:
    """Each tier with its models and the scores that belong to it."""
    catalog = await context.engine.catalog()
    standard, complex_ = await context.engine.judgement.cuts()
    bounds = {
        Tier.SIMPLE: (0.0, standard),
        Tier.STANDARD: (standard, complex_),
        Tier.COMPLEX: (complex_, 1.0),
    }
    return {
        tier.value: RoutingRule(
            models=[model.id for model in catalog.tiers.get(tier, ())],
            min_complexity=low,
            max_complexity=high,
        )
        for tier, (low, high) in bounds.items()
    }


ANALYZE_COMPLEXITY = Tool(
    name="analyze_complexity",
    title="Preview the routing of a prompt",
    description="Judges how hard a prompt is and shows where chat would send it and why. Calls nobody.",
    arguments=AnalyzeArguments,
    result=Analysis,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    handler=analyze_complexity,
)
