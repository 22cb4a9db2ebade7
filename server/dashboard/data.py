"""What the dashboard shows: everything of one period in one object.

Sums come from the roll-up, and single calls from a bounded reading, so that it takes as long with a million
calls as with a thousand. The figures are those of the tools and resources, from the same functions.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby

from pydantic import BaseModel

from tierwise.routing.errors import InvalidRequest
from tierwise.routing.money.pricing import usd
from tierwise.routing.reliability.observations import percentile
from tierwise.server.budgets import BudgetStatus, budget_status
from tierwise.server.clock import Period
from tierwise.server.dashboard.over_time import OverTime, over_time
from tierwise.server.health import ProvidersHealth, providers_health
from tierwise.server.savings import Savings, savings
from tierwise.server.tools.base import ToolContext
from tierwise.server.usage import Group, UsageQuery, UsageSummary, added, group, usage_summary
from tierwise.storage.ports import Ledger
from tierwise.storage.records import CallRecord, CallStatus, Dimension, UsageRow

MOST_TIMED = 1000
"""Calls, the newest ones, that latencies are those of."""
MOST_LISTED = 25
"""Calls that are listed one by one."""
MOST_CHOICES = 200
"""Values of each dimension to choose from: those that cost most."""
MOST_BUDGETS = 20
"""A forecast is made for each."""
_CHOOSABLE = (Dimension.TENANT, Dimension.AGENT, Dimension.OPERATION, Dimension.MODEL, Dimension.TIER)


class Latency(BaseModel):
    """How long callers waited for answers of one model."""

    model: str | None
    """None stands for the answers from the cache."""
    calls: int
    p50_ms: float
    p95_ms: float


class RecentCall(BaseModel):
    """One call. Money is USD."""

    call_id: str
    at: str
    """When it began: an ISO time with its offset from UTC."""
    model: str
    tier: str
    tier_served: str | None
    operation: str
    tenant: str
    agent: str
    status: CallStatus
    error: str | None
    cached: bool
    attempts: int
    tokens: int
    cost_usd: float | None
    """None where the price is unknown."""
    saved_usd: float | None
    latency_ms: float


class Choices(BaseModel):
    """Values that the period can be filtered by, most expensive first."""

    values: list[str]
    left_out: int


class Dashboard(BaseModel):
    """One period of usage. Money is USD."""

    version: str
    at: str
    """When this was read."""
    time_zone: str
    tracking: bool
    """False where the settings say that calls are not recorded."""
    summary: UsageSummary
    savings: Savings
    over_time: OverTime
    tiers: list[Group]
    models: list[Group]
    """Up to `MOST_CHOICES`."""
    latencies: list[Latency]
    """Of the newest `MOST_TIMED` calls of the period that were answered; most calls first."""
    recent_calls: list[RecentCall]
    budgets: list[BudgetStatus]
    """All of them, whatever the filters; the first `MOST_BUDGETS` by name."""
    budgets_left_out: int
    health: ProvidersHealth | None
    health_problem: str | None
    """Why it cannot be told."""
    choices: dict[str, Choices]


async def dashboard(context: ToolContext, query: UsageQuery) -> Dashboard:
    """What the page shows of the calls that `query` means.

    Raises:
        StorageError: the database cannot be read.
    """
    engine, period = context.engine, query.period
    health, problem = await _health(context)
    series, rows = await over_time(engine.store, query)
    calls = await engine.store.recent_calls(
        start=period.start, end=period.end, limit=MOST_TIMED, filters=query.filters
    )
    budgets = await engine.store.budgets()
    return Dashboard(
        version=version("tierwise"),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        time_zone=str(period.time_zone),
        tracking=context.settings.usage_tracking.enabled,
        summary=await usage_summary(engine.store, query),
        savings=await savings(engine.store, query),
        over_time=series,
        models=_groups(rows, 0)[:MOST_CHOICES],
        tiers=_groups(rows, 1),
        latencies=_latencies(calls),
        recent_calls=[_recent(call, period) for call in calls[:MOST_LISTED]],
        budgets=[await budget_status(engine.store, engine.spending, it) for it in budgets[:MOST_BUDGETS]],
        budgets_left_out=max(0, len(budgets) - MOST_BUDGETS),
        health=health,
        health_problem=problem,
        choices=await _choices(engine.store, period),
    )


async def _health(context: ToolContext) -> tuple[ProvidersHealth | None, str | None]:
    try:
        return await providers_health(context.engine), None
    except InvalidRequest as error:  # the settings name a model that does not exist; usage can be shown
        return None, str(error)


async def _choices(ledger: Ledger, period: Period) -> dict[str, Choices]:
    # Reading the roll-up is what takes time, once or for each dimension.
    rows = await ledger.usage(start=period.start, end=period.end, group_by=_CHOOSABLE)
    found: dict[str, Choices] = {}
    for place, dimension in enumerate(_CHOOSABLE):
        values = [it.key for it in _groups(rows, place)]
        left_out = max(0, len(values) - MOST_CHOICES)
        found[dimension.value] = Choices(values=values[:MOST_CHOICES], left_out=left_out)
    return found


def _groups(rows: Iterable[UsageRow], place: int) -> list[Group]:
    """The sums by what stands at this place of the keys, most expensive first."""
    parts: defaultdict[str, list[UsageRow]] = defaultdict(list)
    for row in rows:
        parts[row.key[place]].append(row)
    return sorted((group(added(part, key)) for key, part in parts.items()), key=lambda it: (-it.cost, it.key))


def _latencies(calls: Iterable[CallRecord]) -> list[Latency]:
    answered = sorted((_answerer(call), call.latency_ms) for call in calls if call.status is CallStatus.OK)
    by_model = groupby(answered, key=lambda it: it[0])
    found = [_latency(model or None, [ms for _, ms in timed]) for model, timed in by_model]
    return sorted(found, key=lambda it: -it.calls)


def _answerer(call: CallRecord) -> str:
    return "" if call.cached else call.model


def _latency(model: str | None, ascending: Sequence[float]) -> Latency:
    return Latency(
        model=model,
        calls=len(ascending),
        p50_ms=round(percentile(ascending, 0.5), 1),
        p95_ms=round(percentile(ascending, 0.95), 1),
    )


def _recent(call: CallRecord, period: Period) -> RecentCall:
    started = datetime.fromtimestamp(call.started_at / 1000, period.time_zone)
    cost, saved = call.cost_nano_usd, call.saved_nano_usd
    return RecentCall(
        call_id=call.call_id,
        at=started.isoformat(timespec="seconds"),
        model=call.model,
        tier=call.tier,
        tier_served=call.tier_served,
        operation=call.operation,
        tenant=call.tenant,
        agent=call.agent,
        status=call.status,
        error=call.error,
        cached=call.cached,
        attempts=len(call.attempts),
        tokens=call.input_tokens + call.output_tokens,
        cost_usd=None if cost is None else usd(cost),
        saved_usd=None if saved is None else usd(saved),
        latency_ms=round(call.latency_ms, 1),
    )
