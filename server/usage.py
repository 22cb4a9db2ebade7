"""Usage as people and programs read it, made from the ledger's sums."""

from collections.abc import Iterable

from pydantic import BaseModel

from tierwise.routing.clock import today, zone
from tierwise.routing.pricing import usd
from tierwise.server.clock import last_days
from tierwise.storage.ports import Store
from tierwise.storage.records import Dimension, UsageRow

MAX_DAYS = 3660
"""Ten years."""
_DAYS_PER_MONTH = 30
"""What `projected_monthly_cost` counts as a month."""


class Breakdown(BaseModel):
    calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    """USD."""


class UsageSummary(BaseModel):
    """Sums over local days that end with today. Money is USD."""

    period_days: int
    total_calls: int
    total_tokens: int
    total_cost_usd: float
    avg_daily_tokens: float
    avg_daily_cost: float
    projected_monthly_cost: float
    model_breakdown: dict[str, Breakdown]
    provider_breakdown: dict[str, Breakdown]
    cached_calls: int
    failed_calls: int
    saved_usd: float
    unpriced_calls: int
    """Attempts whose price is unknown: the cost sums leave them out."""


class TodayUsage(BaseModel):
    """Sums over the local day. Money is USD."""

    date: str
    time_zone: str
    tokens: int
    cost: float
    calls: int
    cached_calls: int
    failed_calls: int
    saved_usd: float
    unpriced_calls: int


async def usage_summary(store: Store, days: int, time_zone: str | None) -> UsageSummary:
    """What the last `days` local days came to; 1 is today alone."""
    start, end = last_days(days, zone(time_zone))
    (total,) = await store.usage(start=start, end=end)
    rows = await store.usage(start=start, end=end, group_by=(Dimension.PROVIDER, Dimension.MODEL))
    cost = usd(total.cost_nano_usd)
    tokens = total.input_tokens + total.output_tokens
    return UsageSummary(
        period_days=days,
        total_calls=total.calls,
        total_tokens=tokens,
        total_cost_usd=cost,
        avg_daily_tokens=tokens / days,
        avg_daily_cost=cost / days,
        projected_monthly_cost=cost / days * _DAYS_PER_MONTH,
        model_breakdown=_breakdown(rows, 1),
        provider_breakdown=_breakdown(rows, 0),
        cached_calls=total.cached_calls,
        failed_calls=total.failed_calls,
        saved_usd=usd(total.saved_nano_usd),
        unpriced_calls=total.unpriced_calls,
    )


async def today_usage(store: Store, time_zone: str | None) -> TodayUsage:
    """What the local day came to so far."""
    local = zone(time_zone)
    start, end = last_days(1, local)
    (total,) = await store.usage(start=start, end=end)
    return TodayUsage(
        date=today(local).isoformat(),
        time_zone=str(local),
        tokens=total.input_tokens + total.output_tokens,
        cost=usd(total.cost_nano_usd),
        calls=total.calls,
        cached_calls=total.cached_calls,
        failed_calls=total.failed_calls,
        saved_usd=usd(total.saved_nano_usd),
        unpriced_calls=total.unpriced_calls,
    )


def _breakdown(rows: Iterable[UsageRow], part: int) -> dict[str, Breakdown]:
    sums: dict[str, tuple[int, int, int]] = {}
    for row in rows:
        calls, tokens, cost = sums.get(row.key[part], (0, 0, 0))
        tokens += row.input_tokens + row.output_tokens
        sums[row.key[part]] = (calls + row.calls, tokens, cost + row.cost_nano_usd)
    return {
        name: Breakdown(calls=calls, tokens=tokens, cost=usd(cost))
        for name, (calls, tokens, cost) in sums.items()
    }
