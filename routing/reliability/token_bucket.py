"""A token bucket as a value. Pure: the time comes with each question, in seconds on any clock."""

from dataclasses import dataclass, replace
from math import inf

_ROUNDING = 1e-9
"""Part of the capacity that floating point may lose; without it one would wait for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBucket:
    """Holds up to `capacity` and fills evenly, so that what it held at once is a burst.

    In any t seconds no more than `capacity + t * per_second` is let through, which is how the
    large providers meter requests and tokens themselves.
    """

    capacity: float
    per_second: float
    level: float
    """What was in it at `at`; below 0 where more was used than had been taken."""
    at: float

    def level_at(self, now: float) -> float:
        """What is in it; a clock that went back fills nothing."""
        return min(self.capacity, self.level + max(now - self.at, 0.0) * self.per_second)

    def delay(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; inf if that time never comes.

        More than the capacity may be taken once the bucket is full: else it would wait for ever.
        """
        missing = min(amount, self.capacity) - self.level_at(now)
        if missing <= self.capacity * _ROUNDING:
            return 0.0
        return missing / self.per_second if self.per_second > 0 else inf

    def take(self, amount: float, now: float) -> "TokenBucket":
        """The bucket after `amount` was taken, which may leave it in debt; a negative amount goes back."""
        return replace(self, level=self.level_at(now) - amount, at=max(now, self.at))


def per_minute(limit: float, now: float) -> TokenBucket:
    """A full bucket for `limit` a minute."""
    return TokenBucket(capacity=limit, per_second=limit / 60, level=limit, at=now)
