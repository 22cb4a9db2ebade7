"""A call from its start to its receipt, and the upstream work that identical calls share."""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import anyio

from tierwise.routing import pricing
from tierwise.routing.journal import Journal
from tierwise.routing.policy import Candidate, Plan
from tierwise.routing.request import Message, Tier
from tierwise.routing.router import Served
from tierwise.routing.spending import Tab
from tierwise.storage.budgets import Budget
from tierwise.storage.errors import TierwiseError
from tierwise.storage.records import AttemptRecord, CallRecord, CallStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a call gave and what it cost. Money is nano-USD; None where a price is unknown."""

    call_id: str
    content: str
    model: str
    provider: str
    tier: Tier
    """The tier that served."""
    tier_chosen: Tier
    complexity_score: float
    reason: str
    input_tokens: int
    output_tokens: int
    cost: int | None
    cost_note: str | None
    saved: int | None
    latency_ms: float
    cached: bool
    similarity: float | None = None
    """Of the prompt whose answer this is, from 0 to 1; None if it is this prompt's own."""
    finish_reason: str
    attempts: tuple[AttemptRecord, ...]
    warning: str | None = None
    """Set when the answer is good but could not be written to the ledger."""


class Call:
    """One caller's `chat`, which it may wait for, look into, or give up."""

    def __init__(self, plan: Plan, flight: "Flight") -> None:
        self.id = f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"
        self.plan = plan
        self.started_at = time.time_ns() // 1_000_000
        self._start = time.perf_counter()
        self._flight = flight
        self._done = anyio.Event()
        self._result: Receipt | TierwiseError | None = None

    @property
    def text(self) -> str:
        """What the model has written so far."""
        return self._flight.journal.text

    @property
    def done(self) -> bool:
        return self._done.is_set()

    @property
    def latency_ms(self) -> float:
        return (time.perf_counter() - self._start) * 1000

    async def wait(self, seconds: float | None) -> bool:
        """Wait for the end, `seconds` at most; says whether it has come."""
        with anyio.move_on_after(seconds):
            await self._done.wait()
        return self.done

    def receipt(self) -> Receipt:
        """The receipt of a call that is done.

        Raises:
            TierwiseError: the call failed.
        """
        if isinstance(self._result, Receipt):
            return self._result
        raise self._result or TierwiseError("The call was cancelled before an answer had come.")

    def cancel(self) -> None:
        """Give the call up. It is recorded all the same; the upstream request ends with its last caller."""
        self._flight.leave(self)

    def finish(self, result: Receipt | TierwiseError | None) -> None:
        """Set the result (None: cancelled) and wake whoever waits."""
        self._result = result
        self._done.set()


@dataclass(slots=True, eq=False)
class Flight:
    """One piece of upstream work, and the calls that wait for it. The first of them pays."""

    key: "FlightKey | None"
    """What identical calls join by; None if none may."""
    journal: Journal
    tab: Tab
    calls: list[Call] = field(default_factory=list[Call])
    left: list[Call] = field(default_factory=list[Call])
    """Calls that were given up while others still waited."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def leave(self, call: Call) -> None:
        if call not in self.calls:
            return
        if len(self.calls) == 1:
            self.scope.cancel()
        else:
            self.calls.remove(call)
            self.left.append(call)

    def land(self) -> list[Call]:
        """The calls that waited to the end; from now on it is too late to give one up."""
        calls, self.calls = self.calls, []
        return calls


FlightKey = tuple[
    tuple[Message, ...],
    float | None,
    tuple[tuple[str, str, int, Tier], ...],
    tuple[Budget, ...],
    float | None,
]


def flight_key(plan: Plan) -> FlightKey:
    """Equal for calls that send the same to the same models in the same order on the same budgets, and
    so may share."""
    candidates = tuple((it.model.provider, it.model.name, it.max_tokens, it.tier) for it in plan.candidates)
    request = plan.request
    return request.messages, request.temperature, candidates, plan.budgets, request.max_cost_usd


def call_digest(
    key: bytes, plan: Plan, candidate: Candidate, messages: Sequence[Message], more: Sequence[str] = ()
) -> bytes:
    """16 bytes, keyed with `key`, that stand for all that shapes the candidate's answer to `messages`,
    and for `more`."""
    model = candidate.model
    shape = [
        model.provider,
        model.name,
        model.api_base,
        candidate.max_tokens,
        plan.request.temperature,
        [(message.role, message.content) for message in messages],
        *more,
    ]
    return blake2b(json.dumps(shape).encode(), key=key, digest_size=16).digest()


def call_record(
    call: Call,
    outcome: Served | TierwiseError | None,
    attempts: Sequence[AttemptRecord],
    tab: Tab | None = None,
) -> CallRecord:
    """The ledger's row for a call that ended with `outcome` (None: cancelled); `tab` if it pays."""
    served = outcome if isinstance(outcome, Served) else None
    first = call.plan.first.model
    provider, model = (attempts[-1].provider, attempts[-1].model) if attempts else (first.provider, first.id)
    if served:
        provider, model = served.candidate.model.provider, served.candidate.model.id
    return CallRecord(
        call_id=call.id,
        started_at=call.started_at,
        latency_ms=call.latency_ms,
        operation=call.plan.request.operation,
        tenant=call.plan.request.tenant,
        agent=call.plan.request.agent,
        status=CallStatus.OK if served else CallStatus.FAILED if outcome else CallStatus.CANCELLED,
        error=type(outcome).__name__ if isinstance(outcome, TierwiseError) else None,
        tier=call.plan.tier,
        tier_served=served.candidate.tier if served else None,
        complexity_score=call.plan.complexity.score,
        provider=provider,
        model=model,
        cached=served is not None and (served.from_cache is not None or not attempts),
        saved_nano_usd=_saved(call.plan, served, attempts) if served else None,
        finish_reason=served.completion.finish_reason if served else None,
        metadata=call.plan.request.metadata,
        features=call.plan.features,
        attempts=tuple(attempts),
        reservation=tab.id if tab else None,
        unreserved=tuple(tab.unreserved) if tab else (),
    )


def receipt(call: Call, record: CallRecord, served: Served, warning: str | None = None) -> Receipt:
    """What the caller of a served call is told; the figures are those of its ledger row."""
    candidate = served.candidate
    return Receipt(
        call_id=call.id,
        content=served.completion.content,
        model=record.model,
        provider=record.provider,
        tier=candidate.tier,
        tier_chosen=call.plan.tier,
        complexity_score=call.plan.complexity.score,
        reason=_why(call.plan, served),
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cost=record.cost_nano_usd,
        cost_note=_cost_note(record),
        saved=record.saved_nano_usd,
        latency_ms=record.latency_ms,
        cached=record.cached,
        similarity=served.similarity,
        finish_reason=served.completion.finish_reason,
        attempts=record.attempts,
        warning=warning,
    )


def _why(plan: Plan, served: Served) -> str:
    if served.downgraded is not None:
        cheapest = f"{served.candidate.model.id} served, the cheapest that can"
        return f"{plan.reason}; but {served.downgraded}, so {cheapest}"
    if served.escalated is not None and served.candidate != plan.first:
        return f"{plan.reason}; but {served.escalated}, so {served.candidate.model.id} answered"
    if served.candidate.model == plan.first.model:
        return plan.reason
    return f"{plan.reason}; that failed, so {served.candidate.model.id} served ({served.candidate.reason})"


def _cost_note(record: CallRecord) -> str | None:
    """Why the cost is unknown; where it is known, what is estimated in it."""
    unpriced = [attempt for attempt in record.attempts if attempt.cost_nano_usd is None]
    return next((attempt.cost_note for attempt in unpriced or record.attempts if attempt.cost_note), None)


def _saved(plan: Plan, served: Served, attempts: Sequence[AttemptRecord]) -> int | None:
    """What the complex tier's first model would have cost for the same tokens, less what was paid."""
    paid = [attempt.cost_nano_usd for attempt in attempts]
    if plan.baseline is None or plan.baseline.price is None or None in paid:
        return served.from_cache.cost_nano_usd if served.from_cache else None
    alone = pricing.cost(served.completion.usage, plan.baseline.price)
    return alone - sum(cost or 0 for cost in paid)
