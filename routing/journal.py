"""What has happened in a call: each of its attempts, with its end and its cost."""

import time
from dataclasses import asdict, dataclass, field, replace

from tierwise.routing.candidates import Candidate
from tierwise.routing.draft import Draft, Writer
from tierwise.routing.errors import UpstreamError, UpstreamTimeout
from tierwise.routing.money import pricing
from tierwise.routing.money.consumption import likely_usage
from tierwise.routing.providers.base import Completion
from tierwise.routing.request import Payload
from tierwise.routing.tokens import estimate_tokens
from tierwise.storage.records import AttemptRecord, Usage


@dataclass(slots=True)
class Journal:
    """What has happened in a call so far; whoever holds it sees it grow."""

    streaming: bool = False
    """Ask the provider for the parts of the answer as they are written."""
    draft: Draft = field(default_factory=Draft)
    held: int = 0
    """The most that the attempts under way can cost, in nano-USD, as far as their prices are known."""
    started: float = field(default_factory=time.monotonic)
    """When the call's deadline began to run."""
    _places: list[AttemptRecord | None] = field(default_factory=list[AttemptRecord | None])
    """Of each attempt that has been begun; None until it has ended."""

    @property
    def attempts(self) -> list[AttemptRecord]:
        """Those that have ended, in the order in which they were begun."""
        return [attempt for attempt in self._places if attempt]

    @property
    def cost(self) -> int:
        """What the attempts have cost in nano-USD, as far as their prices are known."""
        return sum(attempt.cost_nano_usd or 0 for attempt in self.attempts)

    def open(self) -> int:
        """The place of an attempt that begins now."""
        self._places.append(None)
        return len(self._places) - 1

    def close(self, place: int, attempt: AttemptRecord) -> None:
        """Set down how the attempt at `place` has ended."""
        self._places[place] = attempt

    def cost_at(self, place: int) -> int | None:
        """What the attempt at `place` has cost in nano-USD; None if that is unknown."""
        attempt = self._places[place]
        return attempt and attempt.cost_nano_usd

    def blame(self, place: int, outcome: str, error: str | None = None) -> None:
        """The attempt at `place` has answered, but not well enough."""
        if attempt := self._places[place]:
            self._places[place] = replace(attempt, outcome=outcome, error=error)


class Recorder:
    """Turns the end of one attempt into its record."""

    def __init__(self, journal: Journal, candidate: Candidate, payload: Payload, writer: Writer) -> None:
        self.place = journal.open()
        """Of the record in the journal."""
        self._journal = journal
        self._candidate = candidate
        self._payload = payload
        self._writer = writer
        self._started_at = time.time()
        self._start = time.perf_counter()

    def answered(self, completion: Completion) -> Usage:
        """Returns what is charged; so do `failed` and `cancelled`."""
        usage = self._counted(completion.usage)
        return self._close("ok", self._bounded(usage) if usage.estimated else usage, completion.reported_cost)

    def failed(self, error: UpstreamError) -> Usage:
        """A provider charges for what it says, for what it wrote before it broke, and for work that
        outlasted our wait; a refusal before the first word costs nothing."""
        charged = self._writer.pieces or isinstance(error, UpstreamTimeout)
        told = error.usage and self._counted(error.usage)
        usage = told or (self._estimate() if charged else Usage())
        return self._close(error.code, usage, error.reported_cost)

    def cancelled(self) -> Usage:
        """A request that was under way has had its prompt read, and is charged for it."""
        return self._close("cancelled", self._estimate())

    def _counted(self, usage: Usage) -> Usage:
        """`usage`, with our own count where a task is billed by tokens and the provider tells none."""
        price = self._candidate.model.price
        if self._payload.task is None or usage.total_tokens or not (price and price.by_tokens):
            return usage
        likely = likely_usage(self._payload, price, 0)
        return replace(
            likely,
            images=usage.images,
            image_form=usage.image_form,
            audio_ms=usage.audio_ms,
            characters=usage.characters,
            estimated=True,
        )

    def _estimate(self) -> Usage:
        price, written = self._candidate.model.price, estimate_tokens(self._writer.text)
        return self._bounded(replace(likely_usage(self._payload, price, written), estimated=True))

    def _bounded(self, usage: Usage) -> Usage:
        """Our own count, which may not pass what the model could write: no more is reserved."""
        return replace(usage, output_tokens=min(usage.output_tokens, self._candidate.max_tokens))

    def _close(self, outcome: str, usage: Usage, reported_cost: int | None = None) -> Usage:
        model, latency_ms = self._candidate.model, (time.perf_counter() - self._start) * 1000
        record = AttemptRecord(
            **asdict(usage),
            provider=model.provider,
            model=model.id,
            outcome=outcome,
            started_at=int(self._started_at * 1000),
            latency_ms=latency_ms,
            cost_reported=reported_cost is not None,
        )
        cost = self._cost(record) if reported_cost is None else reported_cost
        estimated = usage.estimated and reported_cost is None
        counts = "token counts" if usage.total_tokens else "amounts"
        note = model.price_note if cost is None else f"{counts} estimated" if estimated else None
        self._journal.close(self.place, replace(record, cost_nano_usd=cost, cost_note=note))
        return usage

    def _cost(self, attempt: AttemptRecord) -> int | None:
        price = self._candidate.model.price
        if attempt.nothing:
            return 0
        return pricing.cost(attempt, price, attempt.ended_at) if price else None
