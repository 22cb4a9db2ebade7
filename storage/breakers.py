"""Circuit breakers as all processes on a store see them, and how one changes. No clock, no I/O.

    CLOSED ── `threshold` failures in a row ──> OPEN ── cool-down over ──> HALF_OPEN ── success ──> CLOSED
                                                  ^────────── failure ─────────┘

Units are those of `tierwise.storage.records`. Clocks jump, and those of two machines differ: a time
that is under way counts as over when more than twice its length seems to be left, so none holds for
longer than that whatever the clock does.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """One call at a time may try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """The failures of one deployment since its last success."""

    deployment: str
    failures: int = 0
    error: str | None = None
    """The code of the last failure, such as `timeout`."""
    failed_at: int = 0
    opened_at: int | None = None
    """When the cool-down that lasts `cooldown_ms` began; None while it is closed."""
    cooldown_ms: int = 0
    probe_at: int | None = None
    """When somebody began to try, who is taken for dead after `lease_ms`."""
    lease_ms: int = 0

    def state(self, now: int) -> BreakerState:
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._cooling_ms(now) else BreakerState.HALF_OPEN

    def wait_ms(self, now: int) -> int:
        """How long nobody else may try, if nothing happens meanwhile; 0 if one may."""
        return self._cooling_ms(now) or self.probing_ms(now)

    def probing_ms(self, now: int) -> int:
        """What is left of the lease of whoever is trying; 0 if nobody is."""
        return 0 if self._cooling_ms(now) else _left(self.probe_at, self.lease_ms, now)

    def failed(self, error: str, *, now: int, threshold: int, cooldown_ms: int) -> "Breaker":
        """After a failure. One that comes in while it is open, from a call begun before, delays nothing."""
        failed = replace(self, failures=self.failures + 1, error=error, failed_at=now)
        state = self.state(now)
        if state is BreakerState.OPEN or (state is BreakerState.CLOSED and failed.failures < threshold):
            return failed
        return replace(failed, opened_at=now, cooldown_ms=cooldown_ms, probe_at=None)

    def probed(self, *, now: int, lease_ms: int) -> "Breaker":
        """After somebody who may has begun to try."""
        return replace(self, probe_at=now, lease_ms=lease_ms)

    def released(self, *, probe_at: int) -> "Breaker":
        """After that try has told nothing; another one, begun since, goes on."""
        return replace(self, probe_at=None) if self.probe_at == probe_at else self

    def half_opened(self, *, now: int) -> "Breaker":
        """Without the rest of its cool-down."""
        return replace(self, opened_at=now - self.cooldown_ms) if self._cooling_ms(now) else self

    def _cooling_ms(self, now: int) -> int:
        return _left(self.opened_at, self.cooldown_ms, now)


def _left(start: int | None, length: int, now: int) -> int:
    left = 0 if start is None else start + length - now
    return left if 0 < left <= 2 * length else 0
