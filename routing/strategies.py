"""In which order the models of a tier are tried: one pure function for each strategy.

Each takes the `Option`s that can serve, as they are written in the settings, and a number drawn by chance
from [0, 1), and gives their places in the order in which to try them. Only what is in its arguments
shapes that order, so a preview and the call after it are given the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from tierwise.routing.request import Strategy

EXPLORED = 0.05
"""The share of calls in which `least_latency` tries the model that was used least lately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What a strategy goes by."""

    cost: int | None = None
    """nano-USD for a typical answer; None if the price is unknown."""
    attempts: int = 0
    """Of late."""
    ms_per_token: float | None = None
    """None if none of these was answered."""
    used_at: int = 0
    """When its turn was last, epoch ms; 0 if it has not had one."""
    weight: float = 1.0


Order = Callable[[Sequence[Option], float], list[int]]


def priority(options: Sequence[Option], chance: float) -> list[int]:
    """As they are written."""
    return list(range(len(options)))


def least_cost(options: Sequence[Option], chance: float) -> list[int]:
    """The cheapest first; those whose price is unknown last."""
    return _sorted(options, lambda option: (option.cost is None, option.cost or 0))


def round_robin(options: Sequence[Option], chance: float) -> list[int]:
    """The one whose turn is longest ago first, so that none gets two turns more than another."""
    return _sorted(options, lambda option: option.used_at)


def weighted_random(options: Sequence[Option], chance: float) -> list[int]:
    """Drawn one after another, each with the share that its weight has in what is left."""
    left, order = list(range(len(options))), list[int]()
    while left:
        total = sum(options[place].weight for place in left)
        drawn, chance = (
            _draw([options[place].weight / total for place in left], chance) if total else (0, chance)
        )
        order.append(left.pop(drawn))
    return order


def least_latency(options: Sequence[Option], chance: float) -> list[int]:
    """Those first of which nothing is known yet, then by milliseconds a token; then those that are being
    tried, and last those that have only failed. Now and then the one that was used least lately is first:
    it may have become faster."""
    order = _sorted(options, _slowness)
    if chance >= EXPLORED:
        return order
    measured = [place for place in order if options[place].ms_per_token is not None]
    anew = min(measured, key=lambda place: options[place].used_at, default=None)
    return order if anew is None else [anew, *(place for place in order if place != anew)]


def _slowness(option: Option) -> tuple[int, float]:
    if option.ms_per_token is not None:
        return 1, option.ms_per_token
    if option.attempts:
        return 3, inf
    return (2, option.used_at) if option.used_at else (0, 0)


def _draw(shares: Sequence[float], chance: float) -> tuple[int, float]:
    """The place that `chance` falls on, and where in it: again a number from [0, 1)."""
    begin = 0.0
    for place, share in enumerate(shares):
        if share and chance < begin + share:
            return place, min((chance - begin) / share, 1 - 2**-53)
        begin += share
    # What rounding has left over belongs to the last one that has a share.
    return max(place for place, share in enumerate(shares) if share), 0.0


def _sorted(options: Sequence[Option], key: Callable[[Option], int | float | tuple[float, ...]]) -> list[int]:
    return sorted(range(len(options)), key=lambda place: key(options[place]))


ORDERS: Mapping[Strategy, Order] = {
    "priority": priority,
    "least_cost": least_cost,
    "least_latency": least_latency,
    "round_robin": round_robin,
    "random": weighted_random,
    "cascade": priority,
}

CHANGING: frozenset[Strategy] = frozenset({"least_latency", "round_robin", "random"})
"""Those whose order is another one from call to call, though the request is the same."""
OBSERVING: frozenset[Strategy] = frozenset({"least_latency", "round_robin"})
"""Those that go by how the models fared."""
