"""The one place where requests to providers wait: for a free slot, for a rate limit, for their turn.

A request goes when the process has a slot, its provider has one, and its deployment's rate limit has
room; all three are taken together, so that those who wait for one provider hold nothing that others
need. Tenants take turns, and where all places are taken, one with few calls takes that of one with many.
What waits for a time, not for another request to end, is woken by
`refill_regularly`.
"""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil, inf

import anyio

from tierwise.routing.catalog.models import Model
from tierwise.routing.errors import Busy
from tierwise.routing.providers.base import RateStatus
from tierwise.routing.reliability.fair_queue import FairQueue
from tierwise.routing.reliability.rate_limits import RateLimits, Taken

_UNKNOWN_DURATION = 5.0
"""Seconds that a request is taken to last before one has ended."""
_WEIGHT = 0.1
"""Of the newest request in the mean duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may go on at once."""

    max_concurrent: int
    max_queued: int
    of_provider: Mapping[str, int]
    """Requests at once for providers that bear fewer than `max_concurrent`."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is waited for."""

    tenant: str
    model: Model
    estimate: Callable[[], int]
    """About how many tokens the request will use; asked only where a limit depends on it."""


@dataclass(slots=True, eq=False)
class Slot:
    """Leave to send one request."""

    limits: RateLimits
    taken: Taken
    since: float
    sent: bool = False
    """Set once the request is on its way: from then on it counts."""

    def ended(self, tokens: int, rate: RateStatus | None) -> None:
        """The request has used `tokens`, and its provider says `rate` of its limits."""
        self.limits.correct(self.taken, tokens)
        if rate:
            self.limits.learn(self.taken, rate)

    def refused(self, retry_after: float | None) -> None:
        """The provider's own limit has turned the request away."""
        if retry_after:
            self.limits.block(self.taken.model, retry_after)


@dataclass(slots=True, eq=False)
class _Waiter:
    ticket: Ticket
    slot: Slot | None = None
    refused: bool = False
    decided: anyio.Event = field(default_factory=anyio.Event)


class UpstreamQueue:
    """One per process; for the tasks of one event loop."""

    def __init__(
        self, limits: QueueLimits, rates: RateLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._rates = rates
        self._clock = clock
        self._waiting: FairQueue[_Waiter] = FairQueue()
        self._running = 0
        self._of_provider: Counter[str] = Counter()
        self._present: Counter[str] = Counter()
        """Calls by tenant."""
        self._mean_duration: float | None = None
        self._refill: float | None = None
        """Seconds from the last look until a rate limit has room for one who waits; None if none will."""
        self._looked = anyio.Event()

    @property
    def full(self) -> bool:
        """As many calls are present as may be."""
        return self._present.total() >= self._limits.max_concurrent + self._limits.max_queued

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._waiting)

    def enter(self, tenant: str, ready: Callable[[], bool]) -> None:
        """Count a call as present, from before its first request until `leave`; `ready` says whether that
        could go at once.

        Raises:
            Busy: as many as may be present are, or as many as may wait do and this one would have to.
        """
        crowded = self.full or (self.waiting >= self._limits.max_queued and not ready())
        if crowded and not self._make_room(tenant):
            raise self._busy()
        self._present[tenant] += 1

    def join(self, tenant: str) -> None:
        """Count a call as present that waits for the answer of another."""
        self._present[tenant] += 1

    def leave(self, tenant: str) -> None:
        self._present[tenant] -= 1
        if not self._present[tenant]:
            del self._present[tenant]

    def ready_in(self, ticket: Ticket) -> float:
        """Seconds until a request could go, as far as that is only a matter of time: inf if it needs a slot
        first, or others wait for the same deployment."""
        if not self._has_slot(ticket) or self._waiting.holds(ticket.model.deployment):
            return inf
        return self.rate_delay(ticket)

    def rate_delay(self, ticket: Ticket) -> float:
        """Seconds until the deployment's rate limit has room for the request, were it next."""
        return 0.0 if self._rates.idle else self._rates.delay(ticket.model, ticket.estimate())

    @asynccontextmanager
    async def slot(
        self, ticket: Ticket, may_wait: Callable[[], float] = lambda: inf
    ) -> AsyncGenerator[Slot | None]:
        """Leave to send one request, when its turn has come. If that is not now, `may_wait` says for how many
        seconds it may be waited for; None if that was not long enough.

        Raises:
            Busy: the place was given to another tenant, which has fewer calls here.
        """
        if self.ready_in(ticket) == 0:
            slot = self._occupy(ticket)
        else:
            slot = await self._wait(ticket, may_wait())
        try:
            yield slot
        finally:
            if slot:
                self._release(slot)

    async def _wait(self, ticket: Ticket, seconds: float) -> Slot | None:
        waiter, lane = _Waiter(ticket), ticket.model.deployment
        number = self._waiting.add(ticket.tenant, lane, waiter)
        self._grant()
        try:
            if waiter.slot is None and seconds > 0:
                with anyio.move_on_after(seconds):
                    await waiter.decided.wait()
        except anyio.get_cancelled_exc_class():
            if waiter.slot:
                self._release(waiter.slot)
            raise
        finally:
            self._waiting.discard(ticket.tenant, lane, number)
            self._grant()  # one that others waited behind may be gone
        if waiter.refused:
            raise self._busy()
        return waiter.slot

    async def refill_regularly(self) -> None:
        """Let requests go when the time that they waited for has come; never returns."""
        while True:
            self._looked = anyio.Event()
            with anyio.move_on_after(self._refill or inf):
                await self._looked.wait()
                continue
            self._grant()

    def _grant(self) -> None:
        """Give slots to all whose turn it is."""
        self._refill = None
        if not self._waiting:
            return
        full: set[str] = set()

        def can_go(waiter: _Waiter) -> bool:
            ticket = waiter.ticket
            lane = ticket.model.deployment
            if lane in full:
                return False
            delay = self.rate_delay(ticket) if self._has_slot(ticket) else inf
            if delay > 0:
                full.add(lane)  # a smaller request must not overtake a large one for ever
                self._refill = min(delay, self._refill or inf)
            return delay == 0

        while self._running < self._limits.max_concurrent and (waiter := self._waiting.take(can_go)):
            waiter.slot = self._occupy(waiter.ticket)
            waiter.decided.set()
        if self._refill is not None:
            self._looked.set()

    def _has_slot(self, ticket: Ticket) -> bool:
        provider = ticket.model.provider
        most = self._limits.of_provider.get(provider, self._limits.max_concurrent)
        return self._running < self._limits.max_concurrent and self._of_provider[provider] < most

    def _occupy(self, ticket: Ticket) -> Slot:
        self._running += 1
        self._of_provider[ticket.model.provider] += 1
        tokens = 0 if self._rates.idle else ticket.estimate()
        return Slot(self._rates, self._rates.take(ticket.model, tokens), self._clock())

    def _release(self, slot: Slot) -> None:
        provider = slot.taken.model.provider
        self._running -= 1
        self._of_provider[provider] -= 1
        if not self._of_provider[provider]:
            del self._of_provider[provider]
        if slot.sent:
            duration = self._clock() - slot.since
            mean = duration if self._mean_duration is None else self._mean_duration
            self._mean_duration = mean + _WEIGHT * (duration - mean)
        else:
            self._rates.give_back(slot.taken)
        self._grant()

    def _make_room(self, tenant: str) -> bool:
        """Refuse the newest call of the tenant that has most waiting, for one that has fewer here."""
        if not self._waiting:
            return False
        greediest, count = self._waiting.longest()
        if count <= self._present[tenant] + 1:
            return False
        waiter = self._waiting.take_newest(greediest)
        waiter.refused = True
        waiter.decided.set()
        return True

    def _busy(self) -> Busy:
        waiting = max(self._present.total() - self._running, 0)
        duration = _UNKNOWN_DURATION if self._mean_duration is None else self._mean_duration
        seconds = max(ceil((waiting + 1) * duration / max(self._running, 1)), 1)
        return Busy(
            f"busy: {self._running:,} requests are under way and {waiting:,} calls wait already; retry in"
            f" {seconds:,} s, or raise reliability.max_concurrent_calls or max_queued_calls.",
            retry_after=seconds,
        )
