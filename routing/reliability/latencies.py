"""How long deployments take to show something: the first text of a streamed answer, or all of a plain one."""

from collections import OrderedDict, deque
from math import ceil

from tierwise.routing.catalog.models import Model

_WINDOW = 200
"""Attempts that are remembered of each deployment."""
_MOST_DEPLOYMENTS = 1000
"""That are remembered; callers may name any number of models."""

_Key = tuple[str, bool]


class Latencies:
    """Of the latest attempts of this process, in seconds; streamed ones and plain ones apart."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, deque[float]] = OrderedDict()

    def note(self, model: Model, *, streamed: bool, seconds: float) -> None:
        """An attempt has taken so long, or was given up after so long without a word."""
        key = (model.deployment, streamed)
        self._known.setdefault(key, deque(maxlen=_WINDOW)).append(seconds)
        self._known.move_to_end(key)
        if len(self._known) > _MOST_DEPLOYMENTS:
            self._known.popitem(last=False)

    def p95(self, model: Model, *, streamed: bool, min_samples: int) -> float | None:
        """What 95% of the attempts did not take longer than; None if fewer than `min_samples` are known."""
        known = self._known.get((model.deployment, streamed), ())
        if len(known) < min_samples:
            return None
        return sorted(known)[ceil(0.95 * len(known)) - 1]
