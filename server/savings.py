"""What the same calls would have cost if they had gone elsewhere."""

from pydantic import BaseModel

from tierwise.routing.catalog.catalog import Model
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.money import pricing
from tierwise.routing.money.pricing import Price, usd
from tierwise.server.usage import UsageQuery, saved_by_cache
from tierwise.storage.ports import Ledger
from tierwise.storage.records import Dimension, Usage


class Savings(BaseModel):
    """The cost of local days beside what it might have been. Money is USD."""

    period_days: int
    start: str
    end: str
    cost_usd: float
    on_complex_tier_usd: float
    """With every call on the complex tier's first model of its day, those from the cache included."""
    without_cache_usd: float
    """With every call from the cache made anew; an estimate, see `saved_by_cache`."""
    cached_calls: int
    cached_calls_unknown: int
    """Calls from the cache that `without_cache_usd` leaves out."""
    unpriced_calls: int
    """Attempts whose price is unknown: the cost leaves them out."""
    compared_to: str | None = None
    on_compared_usd: float | None = None
    """With the tokens of every attempt at the prices of `compared_to`, without those for long prompts."""


async def savings(ledger: Ledger, query: UsageQuery, compared_to: Model | None = None) -> Savings:
    """The savings of the calls that `query` means.

    Raises:
        InvalidRequest: the price of `compared_to` is unknown.
    """
    period = query.period
    by = (Dimension.PROVIDER, Dimension.MODEL)
    rows = await ledger.usage(start=period.start, end=period.end, group_by=by, filters=query.filters)
    cost = sum(row.cost_nano_usd for row in rows)
    saved, unknown = saved_by_cache(rows)
    found = Savings(
        period_days=period.days,
        start=period.first.isoformat(),
        end=period.last.isoformat(),
        cost_usd=usd(cost),
        on_complex_tier_usd=usd(cost + sum(row.saved_nano_usd for row in rows)),
        without_cache_usd=usd(cost + saved),
        cached_calls=sum(row.cached_calls for row in rows),
        cached_calls_unknown=unknown,
        unpriced_calls=sum(row.unpriced_calls for row in rows),
    )
    if compared_to:
        tokens = Usage(
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
        )
        found.compared_to = compared_to.id
        found.on_compared_usd = usd(_cost(tokens, compared_to))
    return found


def _cost(tokens: Usage, model: Model) -> int:
    if model.price is None:
        raise InvalidRequest(f"Cannot compare with {model.id}: {model.price_note}.")
    # The sum of many prompts says nothing about the length of one.
    return pricing.cost(tokens, Price(rates=model.price.rates))
