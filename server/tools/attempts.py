"""The attempts of a call, as its receipt tells of them."""

from collections.abc import Sequence

from pydantic import BaseModel

from tierwise.routing.money.pricing import usd
from tierwise.storage.records import AttemptRecord


class Attempt(BaseModel):
    model: str
    outcome: str
    latency_ms: float
    cost_usd: float | None


def attempts_of(records: Sequence[AttemptRecord]) -> list[Attempt] | None:
    """None where there is nothing to tell: one attempt that answered is what the receipt tells anyway."""
    if (len(records) == 1 and records[0].outcome == "ok") or not records:
        return None
    return [
        Attempt(
            model=record.model,
            outcome=record.outcome,
            latency_ms=round(record.latency_ms, 1),
            cost_usd=None if record.cost_nano_usd is None else usd(record.cost_nano_usd),
        )
        for record in records
    ]
