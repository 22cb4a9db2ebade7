"""The contract that every store keeps. One test suite runs against all of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from tierwise.storage.records import CachedAnswer, CallRecord, Dimension, UsageRow


class Store(ABC):
    """Ledger and cache. Safe for concurrent tasks, and for other processes on the same store.

    Every method may raise `StorageError`.
    """

    @property
    @abstractmethod
    def digest_key(self) -> bytes:
        """32 secret bytes, the same for every process on this store: the key of cache digests."""

    @abstractmethod
    async def record(self, call: CallRecord, answer: CachedAnswer | None = None) -> None:
        """Commit the call, its attempts, the roll-up and the answer to keep, all or nothing.

        Returns once it is durable in the sense of the engine. Recording the same `call_id` again
        changes nothing, so a caller may retry after a doubtful failure. An answer that is larger
        than the whole cache is not kept; one that is already there under its digest is replaced.
        """

    @abstractmethod
    async def keep_answer(self, answer: CachedAnswer) -> None:
        """Keep an answer without a call, under the same rules as `record`."""

    @abstractmethod
    async def find_answer(self, digest: bytes, *, now: int) -> CachedAnswer | None:
        """The answer kept under `digest` that has not expired at `now` (epoch ms), or None."""

    @abstractmethod
    async def purge_answers(self, *, now: int) -> int:
        """Delete answers that have expired at `now` (epoch ms); says how many."""

    @abstractmethod
    async def usage(self, *, start: int, end: int, group_by: Sequence[Dimension] = ()) -> list[UsageRow]:
        """Sums over calls started in [start, end), epoch ms, both on a quarter of an hour.

        Every real time zone's days begin on one, so local days come out exact. Without `group_by`
        there is exactly one row (of zeros if nothing happened); else a row for each combination
        that occurs, most expensive first, then most calls.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Release every resource; closing twice is allowed."""
