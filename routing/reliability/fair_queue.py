"""A queue that serves tenants in turn, however many items one of them has put into it."""

from collections.abc import Callable
from itertools import count
from operator import itemgetter
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items of a tenant leave in the order in which they came, lane by lane; tenants take turns.

    A lane is what items wait for together: where its first item cannot go, none behind it can.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._tenants: dict[str, dict[str, dict[int, T]]] = {}
        """By tenant, whose turn is next first, and lane, by the number under which each item came."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, tenant: str, lane: str, item: T) -> int:
        """Put `item` last in its lane; the number takes it out again with `discard`."""
        number = next(self._numbers)
        self._tenants.setdefault(tenant, {}).setdefault(lane, {})[number] = item
        self._size += 1
        return number

    def discard(self, tenant: str, lane: str, number: int) -> None:
        """Take an item out that will not wait any longer, if it is still there."""
        lanes = self._tenants.get(tenant, {})
        items = lanes.get(lane, {})
        if number not in items:
            return
        del items[number]
        self._size -= 1
        if not items:
            del lanes[lane]
        if not lanes:
            del self._tenants[tenant]

    def holds(self, lane: str) -> bool:
        """Does anybody wait in `lane`?"""
        return any(lane in lanes for lanes in self._tenants.values())

    def longest(self) -> tuple[str, int]:
        """The tenant with the most items, and how many; the queue is not empty."""
        sizes = {tenant: sum(map(len, lanes.values())) for tenant, lanes in self._tenants.items()}
        return max(sizes.items(), key=itemgetter(1))

    def take_newest(self, tenant: str) -> T:
        """Take out what the tenant has put in last; it has something here."""
        number, lane = max((next(reversed(items)), lane) for lane, items in self._tenants[tenant].items())
        item = self._tenants[tenant][lane][number]
        self.discard(tenant, lane, number)
        return item

    def take(self, can_go: Callable[[T], bool]) -> T | None:
        """Take out the next item that can go; None if none can.

        `can_go` is asked for the first item of each lane of each tenant, oldest first. The tenant
        that is served goes to the end of the row; one whose items cannot go keeps its place.
        """
        for tenant, lanes in self._tenants.items():
            heads = sorted((next(iter(items)), lane) for lane, items in lanes.items())
            for number, lane in heads:
                item = lanes[lane][number]
                if can_go(item):
                    self._tenants[tenant] = self._tenants.pop(tenant)
                    self.discard(tenant, lane, number)
                    return item
        return None
