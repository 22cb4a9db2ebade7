"""Leaves deployments alone that keep failing, together with all other processes on the store.

A process keeps what the store says in mind for a second, so a call that goes well reads next to nothing
and writes nothing. What cannot be written counts in this process alone.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from math import ceil
from typing import NamedTuple

import anyio

from tierwise.routing.catalog.models import Model
from tierwise.routing.errors import (
    BadResponse,
    BreakerOpen,
    ConnectionFailed,
    ServerFailed,
    UnsafeResponse,
    UpstreamError,
    UpstreamTimeout,
)
from tierwise.routing.reliability_settings import BreakerSettings
from tierwise.storage.breakers import Breaker, BreakerState
from tierwise.storage.errors import StorageError
from tierwise.storage.ports import Breakers

_log = logging.getLogger(__name__)

_LIFETIME_MS = 1000
"""For which a change by another process may go unnoticed. Who may try is always asked anew."""
_RELEASE_PATIENCE = 1.0
"""Seconds to wait until a probe that was not made is given back; the call may be at its deadline."""
_LEASE_MARGIN = 10.0
"""Seconds by which a lease outlasts an attempt: libraries are loaded and budgets looked into before."""
_PROVIDERS_FAULT = (ConnectionFailed, UpstreamTimeout, ServerFailed, BadResponse, UnsafeResponse)
"""What another call would run into as well. Other errors say something of the request, the key or its
limits, and none of them takes long."""


class Rest(NamedTuple):
    """Why a deployment had better not be tried now."""

    reason: str
    retry_after: float
    """Seconds until it may be, or until there may be news of it."""


def rest(breaker: Breaker | None, now: int) -> Rest | None:
    """Why the breaker's deployment is not to be tried now; None if it may be."""
    if breaker is None or not (wait := breaker.wait_ms(now)):
        return None
    if breaker.probing_ms(now):
        return _being_tried(breaker)
    seconds = ceil(wait / 1000)
    return Rest(f"breaker open after {failures(breaker)}, tried again in {seconds} s", seconds)


def failures(breaker: Breaker) -> str:
    """How many there were in a row, in words."""
    return f"{breaker.failures} failure{'s' if breaker.failures > 1 else ''}"


def _being_tried(breaker: Breaker) -> Rest:
    return Rest(f"breaker open after {failures(breaker)}, being tried again right now", _LIFETIME_MS / 1000)


class CircuitBreakers:
    """The breakers of one store as one process sees them. Safe for concurrent tasks.

    `attempt_timeout` is the longest that one attempt may take, in seconds.
    """

    def __init__(self, store: Breakers, settings: BreakerSettings, *, attempt_timeout: float) -> None:
        self.enabled = settings.enabled
        self.now: Callable[[], int] = now_ms
        """The clock that cool-downs and leases go by, in epoch ms."""
        self._store = store
        self._settings = settings
        self._lease_ms = int((attempt_timeout + _LEASE_MARGIN) * 1000)
        self._known: Mapping[str, Breaker] = {}
        self._alone: set[str] = set()
        """Those of which the store could not be told what is known here."""
        self._touched: set[str] = set()
        """Those that have changed since a reading began, which may not have seen it."""
        self._read_at: int | None = None
        self._reading = anyio.Lock()

    async def known(self) -> Mapping[str, Breaker]:
        """Each deployment's breaker that is there, at most a second old."""
        if self.enabled and not self._fresh():
            async with self._reading:  # those who come meanwhile have nothing newer to go by
                if not self._fresh():
                    await self._read()
        return self._known

    @asynccontextmanager
    async def guard(self, model: Model, out_of_time: Callable[[], bool]) -> AsyncGenerator[None]:
        """Around one attempt at `model`, whose end the breaker learns. `out_of_time` says whether the
        call's own deadline is over, which is not the provider's fault.

        An error that leaves the breaker open comes out with `retryable` false and a `retry_after`.

        Raises:
            BreakerOpen: it is not to be tried now, or somebody else tries it already.
        """
        if not self.enabled:
            yield
            return
        probe_at = await self._admit(model)
        try:
            yield
        except UpstreamError as error:
            ours = isinstance(error, UpstreamTimeout) and out_of_time()
            if isinstance(error, _PROVIDERS_FAULT) and not ours:
                _tell(error, rest(await self.note_failure(model, error.code), self.now()))
                probe_at = None
            raise
        else:
            await self._note_success(model)
            probe_at = None
        finally:
            if probe_at is not None:
                # What was asked of the store is done all the same; a locked one is not waited for.
                with anyio.move_on_after(_RELEASE_PATIENCE, shield=True):
                    await self._release(model, probe_at)

    async def note_failure(self, model: Model, error: str) -> Breaker:
        """Count a failure with that code; returns the breaker as it is then."""
        now, threshold = self.now(), self._settings.failures
        name, cooldown = model.deployment, int(self._settings.cooldown * 1000)
        try:
            after = await self._store.note_failure(
                name, error, now=now, threshold=threshold, cooldown_ms=cooldown
            )
        except StorageError as trouble:
            before = self._known.get(name) or Breaker(deployment=name)
            after = before.failed(error, now=now, threshold=threshold, cooldown_ms=cooldown)
            self._go_on_alone(name, after, trouble)
        else:
            self._learn(name, after)
        if after.opened_at == now:
            pause = self._settings.cooldown
            _log.warning("%s is left alone for %g s after %s: %s", name, pause, failures(after), error)
        return after

    async def half_open(self, model: Model) -> None:
        """Let an open breaker be tried at once: its endpoint answers again."""
        breaker, now = (await self.known()).get(model.deployment), self.now()
        if breaker is None or breaker.state(now) is not BreakerState.OPEN:
            return
        try:
            await self._store.half_open(model.deployment, now=now)
        except StorageError as trouble:
            self._go_on_alone(model.deployment, breaker.half_opened(now=now), trouble)
        else:
            self._learn(model.deployment, breaker.half_opened(now=now))

    async def _admit(self, model: Model) -> int | None:
        """The time of the probe that the attempt is; None if it is an ordinary one."""
        name = model.deployment
        breaker, now = (await self.known()).get(name), self.now()
        if breaker is None or breaker.state(now) is BreakerState.CLOSED:
            return None
        if (why := rest(breaker, now)) is None:
            if await self._claim(breaker, now):
                return now
            why = _being_tried(breaker)
        raise BreakerOpen(why.reason, retry_after=why.retry_after)

    async def _claim(self, breaker: Breaker, now: int) -> bool:
        name, probed = breaker.deployment, breaker.probed(now=now, lease_ms=self._lease_ms)
        try:
            granted = await self._store.claim_probe(name, now=now, lease_ms=self._lease_ms)
        except StorageError as trouble:
            # Others that cannot reach the store may try as well; at worst, one for each process.
            self._go_on_alone(name, probed, trouble)
            return True
        self._learn(name, probed)
        return granted

    async def _release(self, model: Model, probe_at: int) -> None:
        breaker = self._known.get(model.deployment)
        released = breaker and breaker.released(probe_at=probe_at)
        try:
            await self._store.release_probe(model.deployment, probe_at=probe_at)
        except StorageError as trouble:
            self._go_on_alone(model.deployment, released, trouble)
        else:
            self._learn(model.deployment, released)

    async def _note_success(self, model: Model) -> None:
        breaker = (await self.known()).get(model.deployment)
        if breaker is None:
            return
        try:
            await self._store.note_success(model.deployment)
        except StorageError as trouble:
            self._go_on_alone(model.deployment, None, trouble)
        else:
            self._learn(model.deployment, None)
        if breaker.opened_at is not None:
            _log.info("%s answers again", model.deployment)

    def _fresh(self) -> bool:
        return self._read_at is not None and 0 <= self.now() - self._read_at < _LIFETIME_MS

    async def _read(self) -> None:
        self._touched.clear()
        began = self.now()
        try:
            found = await self._store.breakers()
        except StorageError as trouble:
            _log.warning("The circuit breakers cannot be read: %s", trouble)
            return
        finally:
            self._read_at = began
        own = self._touched | self._alone
        kept = {name: breaker for name, breaker in self._known.items() if name in own}
        self._known = {it.deployment: it for it in found if it.deployment not in own} | kept

    def _learn(self, name: str, breaker: Breaker | None) -> None:
        """Keep in mind what the store now says."""
        self._alone.discard(name)
        self._set(name, breaker)

    def _go_on_alone(self, name: str, breaker: Breaker | None, trouble: StorageError) -> None:
        _log.warning("The circuit breaker of %s is not shared with other processes: %s", name, trouble)
        self._alone.add(name)
        self._set(name, breaker)

    def _set(self, name: str, breaker: Breaker | None) -> None:
        self._touched.add(name)
        others = {known: other for known, other in self._known.items() if known != name}
        self._known = others if breaker is None else others | {name: breaker}


def _tell(error: UpstreamError, why: Rest | None) -> None:
    """Let whoever handles `error` know where another try would not be let through."""
    if why is not None:
        error.retryable = False
        error.retry_after = max(error.retry_after or 0, why.retry_after)


def now_ms() -> int:
    """The time, in epoch ms."""
    return time.time_ns() // 1_000_000
