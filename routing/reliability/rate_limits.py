"""How many requests and tokens each deployment may still have: by the settings, and by its own word.

The state is this process's. What is shared between processes would take the place of `RateLimits`.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf

from tierwise.routing.catalog.models import Model
from tierwise.routing.providers.base import Quota, RateStatus
from tierwise.routing.reliability.token_bucket import TokenBucket, per_minute
from tierwise.routing.reliability_settings import RateLimitSettings

_LONGEST = 3600.0
"""Seconds for which a provider's word counts: one that says "come back in a year" is asked again."""
_SHORTEST = 60.0
"""And at least for these, since most limits are those of a minute."""
_MOST_DEPLOYMENTS = 1000
"""Whose word is remembered; callers may name any number of models."""


@dataclass(slots=True)
class _Allowance:
    """What may be sent; None where nothing bounds it."""

    requests: TokenBucket | None = None
    tokens: TokenBucket | None = None
    blocked_until: float = -inf
    void_at: float = inf
    requests_taken: float = 0
    """In all, to tell what was sent since a moment; so `tokens_taken`."""
    tokens_taken: float = 0

    def delay(self, tokens: float, now: float) -> float:
        waits = [self.blocked_until - now, 0.0]
        if self.requests:
            waits.append(self.requests.delay(1, now))
        if self.tokens:
            waits.append(self.tokens.delay(tokens, now))
        return max(waits)

    def take(self, requests: float, tokens: float, now: float) -> None:
        self.requests_taken += requests
        self.tokens_taken += tokens
        self.requests = self.requests and self.requests.take(requests, now)
        self.tokens = self.tokens and self.tokens.take(tokens, now)


@dataclass(slots=True)
class Taken:
    """What one request was given, to be corrected when it is known what it used."""

    model: Model
    tokens: float
    requests_before: float
    """What its deployment had been given when it was sent, itself included; so `tokens_before`."""
    tokens_before: float


class RateLimits:
    """The allowances of all deployments. `clock` gives seconds that never go back."""

    def __init__(
        self, settings: Mapping[str, RateLimitSettings], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`settings` go by `provider/model`, and by a provider's name for all its models together."""
        self._clock = clock
        now = clock()
        self._configured = {
            name: _Allowance(
                requests=_bucket(limits.requests_per_minute, now),
                tokens=_bucket(limits.tokens_per_minute, now),
            )
            for name, limits in settings.items()
        }
        self._told: OrderedDict[str, _Allowance] = OrderedDict()
        """What each deployment has said."""

    @property
    def idle(self) -> bool:
        """Nothing bounds any deployment, by what is known."""
        return not self._configured and not self._told

    def delay(self, model: Model, tokens: float) -> float:
        """Seconds until a request for about `tokens` may be sent; 0 if now, inf if never."""
        now = self._clock()
        return max((allowance.delay(tokens, now) for allowance in self._of(model, now)), default=0.0)

    def take(self, model: Model, tokens: float) -> Taken:
        """Count a request that is about to be sent, whether or not it has to wait."""
        now = self._clock()
        for allowance in self._of(model, now):
            allowance.take(1, tokens, now)
        told = self._told.get(model.deployment)
        return Taken(model, tokens, told.requests_taken if told else 0.0, told.tokens_taken if told else 0.0)

    def give_back(self, taken: Taken) -> None:
        """The request was not sent after all."""
        now = self._clock()
        for allowance in self._of(taken.model, now):
            allowance.take(-1, -taken.tokens, now)

    def correct(self, taken: Taken, tokens: float) -> None:
        """The request has used so many tokens."""
        now = self._clock()
        for allowance in self._of(taken.model, now):
            allowance.take(0, tokens - taken.tokens, now)

    def learn(self, taken: Taken, status: RateStatus) -> None:
        """The provider has said what is left, as it was when the request reached it."""
        now = self._clock()
        told = self._told_by(taken.model)
        resets = [quota.reset or 0.0 for quota in (status.requests, status.tokens) if quota]
        told.void_at = max(told.void_at, now + min(max(*resets, _SHORTEST), _LONGEST))
        if status.requests:
            since = max(told.requests_taken - taken.requests_before, 0)
            told.requests = _told_bucket(status.requests, since, now)
        if status.tokens:
            since = max(told.tokens_taken - taken.tokens_before, 0)
            told.tokens = _told_bucket(status.tokens, since, now)

    def block(self, model: Model, seconds: float) -> None:
        """The provider has refused a request, and asks to be left alone for so long."""
        until = self._clock() + min(seconds, _LONGEST)
        told = self._told_by(model)
        told.blocked_until = max(told.blocked_until, until)
        told.void_at = max(told.void_at, until)

    def _of(self, model: Model, now: float) -> Iterator[_Allowance]:
        """All that bound `model`."""
        for name in {model.provider, f"{model.provider}/{model.name}", model.id}:
            if allowance := self._configured.get(name):
                yield allowance
        if told := self._told.get(model.deployment):
            if now < told.void_at:
                yield told
            else:
                del self._told[model.deployment]

    def _told_by(self, model: Model) -> _Allowance:
        told = self._told.setdefault(model.deployment, _Allowance(void_at=-inf))
        self._told.move_to_end(model.deployment)
        if len(self._told) > _MOST_DEPLOYMENTS:
            self._told.popitem(last=False)
        return told


def _bucket(limit: int | None, now: float) -> TokenBucket | None:
    return None if limit is None else per_minute(limit, now)


def _told_bucket(quota: Quota, taken_since: float, now: float) -> TokenBucket:
    """A bucket that holds what is left and is full when the provider says so.

    Nothing tells how fast one fills that is full already, nor one whose limit or reset is not told:
    they are taken for limits of a minute.
    """
    capacity = max(quota.limit or 0.0, quota.remaining, 1.0)
    filling = quota.reset and (capacity - quota.remaining) / quota.reset
    return TokenBucket(
        capacity=capacity,
        per_second=filling or capacity / 60,
        level=quota.remaining - taken_since,
        at=now,
    )
