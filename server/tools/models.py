"""`list_models`: what can be used, what it costs, what it can do."""

from datetime import UTC, datetime
from typing import Any

from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from tierwise.routing.catalog.models import Model
from tierwise.routing.catalog.recommending import Means, Task, recommend
from tierwise.routing.reliability.health import Health
from tierwise.routing.request import Tier
from tierwise.server.health import MAX_MODELS, Traffic, traffic_of
from tierwise.server.tools.base import Answer, Arguments, Tool, ToolContext

_PICO_PER_MICRO = 1_000_000
"""A rate in pico-USD a token, divided by this, is USD per million tokens."""


class ListModelsArguments(Arguments):
    task: Task | None = Field(None, description="Recommends models for it")
    budget: Means | None = Field(None, description="For that")


class ListedModel(BaseModel):
    model: str
    provider: str
    tiers: list[Tier]
    key_present: bool
    key_variable: str | None = None
    input_usd_per_million: float | None
    output_usd_per_million: float | None
    price_note: str | None = None
    context_window: int | None
    capabilities: list[str] | None
    deprecation_date: str | None = None
    health: str
    traffic: Traffic | None = None


class RecommendedModel(BaseModel):
    model: str
    reason: str


class ModelList(BaseModel):
    source: str
    models: list[ListedModel]
    recommended: list[RecommendedModel] = []
    models_left_out: int = 0
    """How many more endpoints offer."""


async def list_models(context: ToolContext, arguments: ListModelsArguments) -> Answer:
    listed = await model_list(context)
    if arguments.task or arguments.budget:
        catalog = await context.engine.catalog()
        found = recommend(catalog.models(), arguments.task or "general", arguments.budget or "medium")
        listed.recommended = [RecommendedModel(model=it.model.id, reason=it.reason) for it in found]
    return Answer(listed)


async def model_list(context: ToolContext) -> ModelList:
    """The models of the catalogue as of now, those of the lower tiers first."""
    inventory = context.engine.inventory
    await inventory.look_again()
    catalog, health = await inventory.catalog(), await context.engine.vitals.health()
    faults = {it.provider: it.fault for it in inventory.gateways.health()}
    models = [_listed(model, tiers, health, faults.get(model.provider)) for model, tiers in catalog.models()]
    listed = ModelList(source=catalog.source, models=models[:MAX_MODELS])
    if len(models) > MAX_MODELS:
        listed.models_left_out = len(models) - MAX_MODELS
    return listed


def _listed(model: Model, tiers: tuple[Tier, ...], health: Health, fault: str | None) -> ListedModel:
    rates = model.price and model.price.rates
    optional: dict[str, Any] = {
        "key_variable": model.key_variable,
        "price_note": model.price_note,
        "deprecation_date": model.deprecation_date and model.deprecation_date.isoformat(),
        "traffic": traffic_of(model, health),
    }
    return ListedModel(
        model=model.id,
        provider=model.provider,
        tiers=list(tiers),
        key_present=model.key_present,
        input_usd_per_million=rates and rates.input / _PICO_PER_MICRO,
        output_usd_per_million=rates and rates.output / _PICO_PER_MICRO,
        context_window=model.context_window,
        capabilities=None if model.capabilities is None else list(model.capabilities),
        health=_health(model, health, fault),
        **{name: value for name, value in optional.items() if value is not None},
    )


def _health(model: Model, health: Health, fault: str | None) -> str:
    """What stands in the way of using the model, such as the fault of its endpoint, or `ready`."""
    if not model.key_present:
        return "no key"
    if fault:
        return fault
    if rest := health.rest(model):
        return rest.reason
    return model.warning(datetime.now(UTC).date()) or "ready"


LIST_MODELS = Tool(
    name="list_models",
    title="List models",
    description="The usable models: tiers, keys, prices per million tokens, context window, capabilities.",
    arguments=ListModelsArguments,
    result=ModelList,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    handler=list_models,
)
