"""A call from its start to its receipt, and the upstream work that identical calls share."""

import json
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import astuple, dataclass, field, replace
from hashlib import blake2b
from typing import Any, Literal

import anyio

from tierwise.routing.abilities import dropped
from tierwise.routing.candidates import Candidate
from tierwise.routing.journal import Journal
from tierwise.routing.media import Media, TranscriptionTask
from tierwise.routing.money import pricing
from tierwise.routing.money.spending import Tab
from tierwise.routing.policy import Plan
from tierwise.routing.prompt_caching import saving
from tierwise.routing.reliability.health import Turn
from tierwise.routing.request import Message, Payload, Tier, ToolCall
from tierwise.routing.run import Served
from tierwise.storage.budgets import Budget
from tierwise.storage.errors import TierwiseError
from tierwise.storage.records import AttemptRecord, CallRecord, CallStatus

_MOST_SHOWN = 50_000
"""Characters. It is sent again every second, and clients take messages of up to a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a call gave and what it cost. Money is nano-USD; None where a price is unknown."""

    call_id: str
    content: str
    model: str
    provider: str
    tier: Tier
    """The tier that served; of what is not answered in words it means nothing."""
    tier_chosen: Tier
    complexity_score: float | None
    """None of what is not answered in words."""
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
    tool_calls: tuple[ToolCall, ...] = ()
    """What the model asks its caller to run."""
    media: tuple[Media, ...] = ()
    """What was made."""
    attempts: tuple[AttemptRecord, ...]
    structured: Any = None
    """The answer as the value that `response_schema` asks for."""
    prompt_cache_saved: int | None = None
    """By the provider's prompt cache; less than 0 where keeping the prefix cost more than it saved yet;
    None where nothing was cached."""
    dropped_params: tuple[str, ...] = ()
    """Parameters that the model could not take, and was not sent."""
    warning: str | None = None
    """Set when the answer is good but could not be written to the ledger."""

    @property
    def cached_as(self) -> bool | Literal["semantic"]:
        """`cached`, or how the answer came out of the cache if it was given to another prompt."""
        return self.cached if self.similarity is None else "semantic"


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
        return self._flight.journal.draft.text

    @property
    def shown(self) -> str:
        """The end of it for whoever watches it: if it has not simply grown, a line before it says why."""
        notice, text = self._flight.journal.draft.notice, self.text
        if len(text) > _MOST_SHOWN:
            text = f"… {text[-_MOST_SHOWN:]}"
        return f"{notice}\n{text}" if notice else text

    @property
    def done(self) -> bool:
        return self._done.is_set()

    @property
    def size(self) -> int:
        """Bytes of what was made."""
        made = self._result.media if isinstance(self._result, Receipt) else ()
        return sum(len(part.data) for part in made)

    @property
    def latency_ms(self) -> float:
        return (time.perf_counter() - self._start) * 1000

    @property
    def cost(self) -> int:
        """What its attempts have cost so far in nano-USD, as far as their prices are known."""
        return self._flight.journal.cost

    async def wait(self, seconds: float | None) -> bool:
        """Wait for the end, `seconds` at most; says whether it has come."""
        with anyio.move_on_after(seconds):
            await self._done.wait()
        return self.done

    async def pieces(self) -> AsyncGenerator[str]:
        """The answer as it is written, to its end. An empty piece says that all before it is void: another
        model begins anew.

        Raises:
            TierwiseError: the call failed.
        """
        told, done = "", False
        while not done:
            done = self.done
            text = self.receipt().content if done else self.text
            # A text that has only lost its end may yet grow on from there.
            if not text.startswith(told) and (done or not told.startswith(text)):
                told = ""
                yield ""
            if len(text) > len(told):
                piece, told = text[len(told) :], text
                yield piece
            elif not self.done:
                await self._flight.journal.draft.changed()

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
        self.plan = _without_recording(self.plan)
        self._done.set()
        self._flight.journal.draft.wake()


def _without_recording(plan: Plan) -> Plan:
    """The plan of a call that is done, which may be kept for long, without the audio that it was about."""
    task = plan.request.task
    if not isinstance(task, TranscriptionTask):
        return plan
    task = replace(task, audio=replace(task.audio, data=b""))
    return replace(plan, request=replace(plan.request, task=task))


@dataclass(slots=True, eq=False)
class Flight:
    """One piece of upstream work, and the calls that wait for it. The first of them pays."""

    key: "FlightKey | None"
    """What identical calls join by; None if none may."""
    journal: Journal
    tab: Tab
    turn: Turn | None = None
    """What it has taken where models take turns."""
    calls: list[Call] = field(default_factory=list[Call])
    left: list[Call] = field(default_factory=list[Call])
    """Calls that were given up while others still waited."""
    joined: list[str] = field(default_factory=list[str])
    """The tenants of the calls that have come after the first."""
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def settled(self, plan: Plan) -> Plan:
        """The plan of a call that joins: whose turn it is has been settled by the first one."""
        if not plan.changing or not self.calls:
            return plan
        first = self.calls[0].plan
        return replace(plan, candidates=first.candidates, peers=first.peers, reason=first.reason)

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
    Payload,
    tuple[tuple[str, str, int, Tier], ...],
    tuple[Budget, ...],
    float | None,
]


def flight_key(plan: Plan) -> FlightKey:
    """Equal for calls that send the same to the same models in the same order on the same budgets, and
    so may share."""
    candidates = tuple((it.model.provider, it.model.name, it.max_tokens, it.tier) for it in plan.candidates)
    if plan.changing:  # whichever of them has its turn
        candidates = tuple(sorted(candidates))
    request = plan.request
    return request.payload, candidates, plan.budgets, request.max_cost_usd


def call_digest(key: bytes, candidate: Candidate, payload: Payload, more: Sequence[str] = ()) -> bytes:
    """16 bytes, keyed with `key`, that stand for all that shapes the candidate's answer to `payload`,
    and for `more`."""
    model = candidate.model
    shape = [
        model.provider,
        model.name,
        model.api_base,
        candidate.max_tokens,
        payload.temperature,
        [_shape(message) for message in payload.messages],
        [astuple(tool) for tool in payload.tools],
        payload.tool_choice,
        payload.response_schema,
        payload.reasoning_effort,
        *more,
    ]
    return blake2b(json.dumps(shape).encode(), key=key, digest_size=16).digest()


def _shape(message: Message) -> list[Any]:
    images = [blake2b(image.data, digest_size=16).hexdigest() for image in message.images]
    calls = [astuple(call) for call in message.tool_calls]
    return [message.role, message.content, images, calls, message.tool_call_id]


def call_record(
    call: Call,
    outcome: Served | TierwiseError | None,
    attempts: Sequence[AttemptRecord],
    tab: Tab | None = None,
) -> CallRecord:
    """The ledger's row for a call that ended with `outcome` (None: cancelled); `tab` if it pays."""
    served = outcome if isinstance(outcome, Served) else None
    first = call.plan.first.model
    judged = call.plan.complexity is not None
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
        tier=call.plan.tier if judged else "",
        tier_served=served.candidate.tier if served and judged else None,
        complexity_score=call.plan.score,
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
        complexity_score=call.plan.score,
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
        tool_calls=served.completion.tool_calls,
        media=served.completion.media,
        structured=_structured(call.plan, served),
        prompt_cache_saved=_prompt_cache_saved(served),
        dropped_params=dropped(call.plan.request, candidate.model),
        attempts=record.attempts,
        warning=warning,
    )


def _structured(plan: Plan, served: Served) -> Any:
    wanted = plan.request.response_schema is not None and not served.completion.tool_calls
    return json.loads(served.completion.content) if wanted else None


def _prompt_cache_saved(served: Served) -> int | None:
    return None if served.from_cache else saving(served.completion.usage, served.candidate.model)


def _why(plan: Plan, served: Served) -> str:
    stand_in = served.completion.stand_in
    replaced = f"; {served.candidate.model.provider} let {stand_in} answer in its place" if stand_in else ""
    return _why_this_model(plan, served) + replaced


def _why_this_model(plan: Plan, served: Served) -> str:
    if served.downgraded is not None:
        cheapest = f"{served.candidate.model.id} served, the cheapest that can"
        return f"{plan.reason}; but {served.downgraded}, so {cheapest}"
    if served.begun_by:
        begun = " and then ".join(served.begun_by)
        return f"{plan.reason}; {begun} broke off, and {served.candidate.model.id} finished the answer"
    if served.from_cache and served.candidate in plan.peers:
        return f"{plan.reason}; but {served.candidate.model.id} has answered this before"
    if served.escalated is not None and served.candidate != plan.first:
        return f"{plan.reason}; but {served.escalated}, so {served.candidate.model.id} answered"
    if served.candidate.model == plan.first.model:
        return plan.reason
    candidate = served.candidate
    return f"{plan.reason}; {served.instead}, so {candidate.model.id} served ({candidate.reason})"


def _cost_note(record: CallRecord) -> str | None:
    """Why the cost is unknown; where it is known, what is estimated in it."""
    unpriced = [attempt for attempt in record.attempts if attempt.cost_nano_usd is None]
    return next((attempt.cost_note for attempt in unpriced or record.attempts if attempt.cost_note), None)


def _saved(plan: Plan, served: Served, attempts: Sequence[AttemptRecord]) -> int | None:
    """What the complex tier's first model would have cost for the same tokens, less what was paid."""
    paid = [attempt.cost_nano_usd for attempt in attempts]
    if plan.baseline is None or plan.baseline.price is None or None in paid:
        return served.cost if served.from_cache else None
    alone = served.cost
    if alone is None or served.candidate.model != plan.baseline:
        alone = pricing.cost(served.completion.usage, plan.baseline.price, time.time_ns() // 1_000_000)
    return alone - sum(cost or 0 for cost in paid)
