"""`usage_summary` and `today_usage`."""

from datetime import date, timedelta
from typing import Annotated, Any

from mcp_types import ToolAnnotations
from pydantic import AfterValidator, BeforeValidator, Field

from tierwise.routing.clock import today, zone
from tierwise.routing.errors import InvalidRequest
from tierwise.server import usage
from tierwise.server.clock import MAX_DAYS, Period
from tierwise.server.dashboard import app
from tierwise.server.tools.base import Answer, Arguments, Tool, ToolContext
from tierwise.storage.records import Attribute, Dimension, MetadataKey

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_EPOCH = date(1970, 1, 1)
"""No call is older, and no arithmetic on what is later leaves the calendar."""
_DIMENSIONS = ", ".join(Dimension)
_LONGEST_KEY = 200


def _iso_date(value: Any) -> Any:
    try:
        day = date.fromisoformat(value)
    except (TypeError, ValueError):
        day = date.min
    if day < _EPOCH:
        raise ValueError("must be a date from 1970 on, such as 2026-11-30")
    return day


def _attribute(name: str, more: str = "") -> Attribute:
    """The attribute of that name.

    Raises:
        ValueError: there is none; `more` are other names that the message should tell.
    """
    if name in set(Dimension):
        return Dimension(name)
    prefix, _, key = name.partition(".")
    if prefix != "metadata" or not key or len(key) > _LONGEST_KEY:
        raise ValueError(f"has {name[:80]!r}, which is none of {more}{_DIMENSIONS} or metadata.KEY")
    return MetadataKey(key)


def _group_by(name: str) -> str:
    if name != "day":
        _attribute(name, "day, ")
    return name


def _filters(filters: dict[str, str]) -> dict[str, str]:
    for name in filters:
        _attribute(name)
    return filters


Day = Annotated[date, BeforeValidator(_iso_date)]
GroupBy = Annotated[str, AfterValidator(_group_by)]
Filters = Annotated[dict[str, str], AfterValidator(_filters)]


class PeriodArguments(Arguments):
    """Which local days are meant: the last ones, or those from `start` to `end`."""

    days: int = Field(30, ge=1, le=MAX_DAYS, description="Days up to `end`")
    start: Day | None = Field(None, description="First day, not `days`")
    end: Day | None = Field(None, description="Default: today")

    def period(self, time_zone: str | None) -> Period:
        """The days meant; none that is still to come counts.

        Raises:
            InvalidRequest: they contradict each other, or are more than `MAX_DAYS`.
        """
        local = zone(time_zone)
        last = min(self.end or today(local), today(local))
        if self.start is None:
            return Period(last - timedelta(days=self.days - 1), last, local)
        if "days" in self.model_fields_set:
            raise InvalidRequest("`days` and `start` contradict each other: give one of them.")
        found = Period(self.start, last, local)
        if found.days < 1:
            raise InvalidRequest(f"`start` {self.start} comes after the last day, {last}.")
        if found.days > MAX_DAYS:
            raise InvalidRequest(f"{self.start} to {last} is too long; take at most {MAX_DAYS:,} days.")
        return found


class SummaryArguments(PeriodArguments):
    group_by: GroupBy | None = Field(None, description=f"{_DIMENSIONS}, day or metadata.KEY")
    filters: Filters = Field({}, description='By these: {"tier": "simple"}')

    def query(self, time_zone: str | None) -> usage.UsageQuery:
        """What is asked for, in the user's days.

        Raises:
            InvalidRequest: see `period`.
        """
        filters = {_attribute(name): value for name, value in self.filters.items()}
        by = self.group_by
        group_by = by if by is None or by == "day" else _attribute(by)
        return usage.UsageQuery(self.period(time_zone), group_by, filters)


class TodayArguments(Arguments):
    pass


async def usage_summary(context: ToolContext, arguments: SummaryArguments) -> Answer:
    query = arguments.query(context.settings.usage_tracking.time_zone)
    summary = await usage.usage_summary(context.engine.store, query)
    return Answer(summary, meta=await _shown(context, query) if context.shows_apps else None)


async def _shown(context: ToolContext, query: usage.UsageQuery) -> dict[str, Any]:
    """What the MCP App shows of the same calls."""
    from tierwise.server.dashboard.data import dashboard  # which most starts have no use for

    return {app.DATA: (await dashboard(context, query)).model_dump(mode="json", exclude_unset=True)}


async def today_usage(context: ToolContext, arguments: TodayArguments) -> Answer:
    zone = context.settings.usage_tracking.time_zone
    return Answer(await usage.today_usage(context.engine.store, zone))


USAGE_SUMMARY = Tool(
    name="usage_summary",
    title="Usage over days",
    description="Calls, tokens, USD and savings over days, by model and provider.",
    arguments=SummaryArguments,
    result=usage.UsageSummary,
    annotations=_READS,
    handler=usage_summary,
    app=app.URI,
)

TODAY_USAGE = Tool(
    name="today_usage",
    title="Usage today",
    description="Calls, tokens and USD since local midnight.",
    arguments=TodayArguments,
    result=usage.TodayUsage,
    annotations=_READS,
    handler=today_usage,
)
