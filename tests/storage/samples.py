"""Records to store, complete but for what a test says itself."""

from typing import Any

from tierwise.storage.budgets import Budget, BudgetPeriod, Charge, Reservation
from tierwise.storage.outcomes import OutcomeRecord, OutcomeSource, Verdict
from tierwise.storage.records import AttemptRecord, CachedAnswer, CallRecord, CallStatus

QUARTER = 15 * 60 * 1000
HOUR = 4 * QUARTER
DAY = 24 * HOUR
NOON = 1_795_003_200_000
"""2026-11-18T12:00:00Z, in epoch milliseconds; on a quarter of an hour."""
MIDNIGHT = NOON - 12 * HOUR


def attempt(**changes: Any) -> AttemptRecord:
    values: dict[str, Any] = {
        "provider": "openai",
        "model": "small",
        "outcome": "ok",
        "started_at": NOON,
        "latency_ms": 12.5,
        "input_tokens": 10,
        "output_tokens": 3,
        "cost_nano_usd": 700,
    }
    return AttemptRecord(**values | changes)


def call(call_id: str = "call-1", *attempts: AttemptRecord, **changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "call_id": call_id,
        "started_at": NOON,
        "latency_ms": 15.25,
        "operation": "chat",
        "status": CallStatus.OK,
        "tier": "simple",
        "provider": "openai",
        "model": "small",
        "attempts": attempts,
    }
    return CallRecord(**values | changes)


def answer(name: str = "one", **changes: Any) -> CachedAnswer:
    """Its digest is made of `name`."""
    values: dict[str, Any] = {
        "digest": digest(name),
        "provider": "openai",
        "model": "small",
        "tier": "simple",
        "content": f"the answer {name}",
        "finish_reason": "stop",
        "input_tokens": 10,
        "output_tokens": 3,
        "cost_nano_usd": 700,
        "created_at": NOON,
        "expires_at": NOON + QUARTER,
    }
    return CachedAnswer(**values | changes)


def digest(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def budget(name: str = "all", limit: int = 1_000, **changes: Any) -> Budget:
    values: dict[str, Any] = {"name": name, "limit_nano_usd": limit, "period": BudgetPeriod.DAY}
    return Budget(**values | changes)


def reservation(call_id: str, amount: int, *budgets: str, **changes: Any) -> Reservation:
    """Against today's account of each budget; of `all` if none is named."""
    values: dict[str, Any] = {
        "call_id": call_id,
        "amount_nano_usd": amount,
        "charges": tuple(Charge(budget=name, period_start=MIDNIGHT) for name in budgets or ("all",)),
        "expires_at": NOON + QUARTER,
    }
    return Reservation(**values | changes)


def outcome(call_id: str, **changes: Any) -> OutcomeRecord:
    values: dict[str, Any] = {
        "call_id": call_id,
        "at": NOON,
        "verdict": Verdict.TOO_WEAK,
        "source": OutcomeSource.RATED,
    }
    return OutcomeRecord(**values | changes)
