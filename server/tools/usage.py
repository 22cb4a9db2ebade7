"""`usage_summary` and `today_usage`."""

from mcp_types import ToolAnnotations
from pydantic import Field

from tierwise.server import usage
from tierwise.server.tools.base import Answer, Arguments, Tool, ToolContext

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class SummaryArguments(Arguments):
    days: int = Field(30, ge=1, le=usage.MAX_DAYS, description="Local days, today included")


class TodayArguments(Arguments):
    pass


async def usage_summary(context: ToolContext, arguments: SummaryArguments) -> Answer:
    zone = context.settings.usage_tracking.time_zone
    return Answer(await usage.usage_summary(context.engine.store, arguments.days, zone))


async def today_usage(context: ToolContext, arguments: TodayArguments) -> Answer:
    zone = context.settings.usage_tracking.time_zone
    return Answer(await usage.today_usage(context.engine.store, zone))


USAGE_SUMMARY = Tool(
    name="usage_summary",
    title="Usage over days",
    description="Calls, tokens, cost in USD and savings over the last days, by model and provider.",
    arguments=SummaryArguments,
    result=usage.UsageSummary,
    annotations=_READS,
    handler=usage_summary,
)

TODAY_USAGE = Tool(
    name="today_usage",
    title="Usage today",
    description="Calls, tokens and cost in USD since local midnight.",
    arguments=TodayArguments,
    result=usage.TodayUsage,
    annotations=_READS,
    handler=today_usage,
)
