"""`set_budget` and `budget_status`."""

from mcp_types import ToolAnnotations
from pydantic import Field

from tierwise.routing.money.spending import budget_of
from tierwise.routing.settings import BudgetSettings
from tierwise.server.budgets import BudgetList, BudgetStatus, budget_list, budget_status
from tierwise.server.tools.base import Answer, Arguments, Tool, ToolContext


class SetBudgetArguments(BudgetSettings, Arguments):
    pass


class BudgetStatusArguments(Arguments):
    scope: str = Field(
        "all",
        max_length=300,
        description="all, overall, tenant, agent, operation, or one of them such as tenant:acme",
    )


async def set_budget(context: ToolContext, arguments: SetBudgetArguments) -> Answer:
    engine, budget = context.engine, budget_of(arguments)
    await engine.spending.set_budget(budget)
    return Answer(await budget_status(engine.store, engine.spending, budget))


async def show_budgets(context: ToolContext, arguments: BudgetStatusArguments) -> Answer:
    engine = context.engine
    return Answer(await budget_list(engine.store, engine.spending, arguments.scope))


SET_BUDGET = Tool(
    name="set_budget",
    title="Set a budget",
    description="Limits what may be spent, overall or by one tenant, agent or operation; past calls count.",
    arguments=SetBudgetArguments,
    result=BudgetStatus,
    annotations=ToolAnnotations(idempotent_hint=True, open_world_hint=False),
    handler=set_budget,
)

BUDGET_STATUS = Tool(
    name="budget_status",
    title="Show budgets",
    description="What is spent, held and left of each budget, when it begins anew, and where it is heading.",
    arguments=BudgetStatusArguments,
    result=BudgetList,
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
    handler=show_budgets,
)
