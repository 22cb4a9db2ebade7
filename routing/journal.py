"""What has happened in a call: each of its attempts, with its end and its cost."""

import time
from dataclasses import asdict, dataclass, field, replace

from tierwise.routing import pricing
from tierwise.routing.consumption import likely_usage
from tierwise.routing.errors import UpstreamError, UpstreamTimeout
from tierwise.routing.policy import Candidate
from tierwise.routing.providers.base import Completion
from tierwise.routing.request import Payload
from tierwise.routing.tokens import estimate_tokens
from tierwise.storage.records import AttemptRecord, Usage


@dataclass(slots=True)
class Journal:
    """What has happened in a call so far; whoever holds it sees it grow."""

    streaming: bool = False
    """Ask the provider for the parts of the answer as they are written."""
    attempts: list[AttemptRecord] = field(default_factory=list[AttemptRecord])
    pieces: list[str] = field(default_factory=list[str])
    """The text that the attempt under way has written."""
    started: float = field(default_factory=time.monotonic)
    """When the call's deadline began to run."""

    @property
    def text(self) -> str:
        """What there is of the answer."""
        return "".join(self.pieces)

    @property
    def cost(self) -> int:
        """What the attempts have cost in nano-USD, as far as their prices are known."""
        return sum(attempt.cost_nano_usd or 0 for attempt in self.attempts)


class Recorder:
    """Turns the end of one attempt into its record."""

    def __init__(self, journal: Journal, candidate: Candidate, payload: Payload) -> None:
        self._journal = journal
        self._candidate = candidate
        self._payload = payload
        self._started_at = time.time()
        self._start = time.perf_counter()

    def answered(self, completion: Completion) -> None:
        usage = self._counted(completion.usage)
        self._append("ok", self._bounded(usage) if usage.estimated else usage, completion.reported_cost)

    def failed(self, error: UpstreamError) -> None:
        """A provider charges for what it says, for what it wrote before it broke, and for work that
        outlasted our wait; a refusal before the first word costs nothing."""
        charged = self._journal.text or isinstance(error, UpstreamTimeout)
        told = error.usage and self._counted(error.usage)
        usage = told or (self._estimate() if charged else Usage())
        self._append(error.code, usage, error.reported_cost)

    def cancelled(self) -> None:
        """A request that was under way has had its prompt read, and is charged for it."""
        self._append("cancelled", self._estimate())

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
        price, written = self._candidate.model.price, estimate_tokens(self._journal.text)
        return self._bounded(replace(likely_usage(self._payload, price, written), estimated=True))

    def _bounded(self, usage: Usage) -> Usage:
        """Our own count, which may not pass what the model could write: no more is reserved."""
        return replace(usage, output_tokens=min(usage.output_tokens, self._candidate.max_tokens))

    def _append(self, outcome: str, usage: Usage, reported_cost: int | None = None) -> None:
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
        self._journal.attempts.append(replace(record, cost_nano_usd=cost, cost_note=note))

    def _cost(self, attempt: AttemptRecord) -> int | None:
        price = self._candidate.model.price
        if attempt.nothing:
            return 0
        return pricing.cost(attempt, price, attempt.ended_at) if price else None
