"""Calls whose result can be fetched after their caller was told that it can, in memory."""

from collections import OrderedDict

from tierwise.routing.calls import Call

_MOST_CALLS = 256


class KeptCalls:
    """The newest calls, as far as the images and the speech that they have made fit into `most_bytes`; the
    newest of all is always there."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._calls: OrderedDict[str, Call] = OrderedDict()

    def keep(self, call: Call) -> None:
        """Keep `call`, done or not."""
        self._calls[call.id] = call
        self._make_room()

    def find(self, call_id: str) -> Call | None:
        """The call of that id, if it is still there."""
        self._make_room()  # one that was kept while it ran may have become large
        return self._calls.get(call_id)

    def _make_room(self) -> None:
        sizes = {call_id: call.size for call_id, call in self._calls.items()}
        total = sum(sizes.values())
        while len(self._calls) > 1 and (len(self._calls) > _MOST_CALLS or total > self._most_bytes):
            oldest, _ = self._calls.popitem(last=False)
            total -= sizes[oldest]
