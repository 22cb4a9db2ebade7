"""The contract that every store keeps. One test suite runs against all of them.

Safe for concurrent tasks, and for other processes on the same store. Every method may raise
`StorageError`. Instants are epoch ms; bounds of periods are on a quarter of an hour, as the days of
every real time zone are, so that local days come out exact.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from types import MappingProxyType

from tierwise.storage.breakers import Breaker
from tierwise.storage.budgets import Budget, BudgetAccount, Committed, Refusal, Reservation
from tierwise.storage.conversations import ConversationRecord
from tierwise.storage.outcomes import OutcomeRecord, StoredOutcome
from tierwise.storage.records import (
    AttemptSample,
    Attribute,
    CachedAnswer,
    CallRecord,
    Filters,
    Finding,
    UsageRow,
)

NO_FILTERS: Filters = MappingProxyType({})

FORGOTTEN_AFTER_MS = 24 * 60 * 60 * 1000
"""A breaker whose last failure is a day old is let go when another fails."""
MOST_LOOKED_AT = 20_000
"""Calls among which `recent_calls` finds those asked for."""
MOST_BREAKERS = 1000
"""As many are read; whoever makes up names of models could make more."""


class AnswerCache(ABC):
    """Answers kept to be served again."""

    @property
    @abstractmethod
    def digest_key(self) -> bytes:
        """32 secret bytes, the same for every process on this store: the key of cache digests."""

    @abstractmethod
    async def keep_answer(self, answer: CachedAnswer) -> None:
        """Keep an answer without a call, under the same rules as `record`."""

    @abstractmethod
    async def find_answer(self, digest: bytes, *, now: int) -> CachedAnswer | None:
        """The answer kept under `digest` that has not expired at `now`, or None."""

    @abstractmethod
    async def find_alike(self, scope: bytes, *, now: int, limit: int) -> list[tuple[bytes, bytes]]:
        """Digest and embedding of answers kept with a likeness of this scope that have not expired at
        `now`: the newest `limit`, newest first."""

    @abstractmethod
    async def purge_answers(self, *, now: int) -> int:
        """Delete answers that have expired at `now`; says how many."""


class Ledger(ABC):
    """Every call, and their sums."""

    @abstractmethod
    async def record(self, call: CallRecord, answer: CachedAnswer | None = None) -> Committed:
        """Commit the call, its attempts, the roll-up, its budgets and the answer, all or nothing.

        Returns once it is durable in the sense of the engine. Recording the same `call_id` again
        changes nothing and crosses nothing, so a caller may retry after a doubtful failure. An answer
        that is larger than the whole cache is not kept; one that is already there under its digest is
        replaced. Features are kept for the newest 10,000 calls, up to 1,024 bytes each; larger ones
        are not.

        What was reserved under its `reservation`, or else under the `call_id`, expired or not, is settled:
        the call's cost, or if that is unknown at least the amount reserved, is spent in each budget
        charged. Each threshold that this crosses is told to this caller and to no other. Where nothing is
        reserved its `unreserved` are charged; without those either, no budget changes.
        """

    @abstractmethod
    async def import_calls(self, calls: Sequence[CallRecord]) -> int:
        """Commit calls that were made elsewhere, all or none; says how many.

        Those whose `call_id` is there are passed over. No budget changes, and no features are kept.
        """

    @abstractmethod
    async def recent_scores(self, limit: int) -> list[float]:
        """Complexity scores of the last calls recorded that have one, newest first."""

    @abstractmethod
    async def recent_attempts(self, *, since: int, limit: int) -> list[AttemptSample]:
        """The attempts of the `limit` calls started last, as far as they started from `since` on; newest
        first."""

    @abstractmethod
    async def usage(
        self,
        *,
        start: int,
        end: int,
        group_by: Sequence[Attribute] = (),
        filters: Filters = NO_FILTERS,
    ) -> list[UsageRow]:
        """Sums over calls started in [start, end) that have every value in `filters`.

        Without `group_by` there is exactly one row (of zeros if nothing happened); else a row for
        each combination that occurs, most expensive first, then most calls.

        Dimensions alone are summed up beforehand, and outlive the single calls. Where metadata is asked
        about, the calls themselves are read, some thousands at a time, so that others get their turn.

        Raises:
            CallsPruned: metadata is asked about, and calls of that time were deleted.
            TooManyGroups: metadata would give over 100,000 rows.
        """

    @abstractmethod
    async def usage_series(
        self,
        bounds: Sequence[int],
        *,
        group_by: Sequence[Attribute] = (),
        filters: Filters = NO_FILTERS,
    ) -> list[list[UsageRow]]:
        """What `usage` says of each [bounds[i], bounds[i + 1]); `bounds` ascend.

        It is one reading where `usage` needs only what was summed up beforehand.
        """

    @abstractmethod
    def export_calls(
        self, *, start: int, end: int, filters: Filters = NO_FILTERS, batch: int = 1000
    ) -> AsyncIterator[list[CallRecord]]:
        """The calls started in [start, end) with their attempts, oldest first, `batch` at a time.

        With `filters`, those that have every value in them; provider and model are those that served.
        `features` are left out. Each batch is a reading of its own, so a slow consumer holds nobody
        up; calls recorded meanwhile are in it if they started later than those already given.
        """

    @abstractmethod
    async def recent_calls(
        self, *, start: int, end: int, limit: int, filters: Filters = NO_FILTERS
    ) -> list[CallRecord]:
        """The last `limit` calls started in [start, end) that have every value in `filters`, newest first.

        Provider and model are those that served. With `filters` only the last `MOST_LOOKED_AT` calls of
        that time are looked at, so that it takes as long in a large ledger as in a small one. `features`
        are left out.
        """

    @abstractmethod
    async def set_costs(self, costs: Sequence[tuple[str, int, int]]) -> int:
        """Correct the costs of attempts, given as (call_id, place in `attempts`, nano-USD), all or nothing.

        The roll-up follows, the first known figure replaced is kept as `old_cost_nano_usd`, and a note
        on why the cost was unknown is cleared. Budgets and savings stay as they were. Says how many
        attempts changed; those that are not there, or cost that already, do not.
        """

    @abstractmethod
    async def prune(self, *, before: int) -> int:
        """Delete the calls of all UTC days that end by `before`; the sums stay. Says how many calls.

        Room that this leaves goes back to the disk, but for some that the calls to come will need.
        """


class Budgets(ABC):
    """Limits that hold whatever the number of calls and processes at once."""

    @abstractmethod
    async def set_budget(self, budget: Budget, *, period_start: int) -> None:
        """Add `budget`, or put it in place of the one of that name.

        If it is new, or its scope or period is, its accounts begin anew. Whatever account is not there
        yet for the period that began at `period_start`, here or in `reserve`, opens with what the ledger
        says was spent in its scope since then.
        """

    @abstractmethod
    async def delete_budget(self, name: str) -> bool:
        """Delete a budget with its accounts; False if there is none of that name."""

    @abstractmethod
    async def budgets(self) -> list[Budget]:
        """All of them, by name."""

    @abstractmethod
    async def reserve(self, reservation: Reservation, *, now: int) -> tuple[Refusal, ...]:
        """Hold the amount back in every budget charged, or in none and say which ones refuse.

        A budget refuses if what is spent, what other calls' reservations that have not expired at
        `now` hold, and the amount exceed its limit, unless the amount is 0 or it is one that only
        warns. Reserving again under a `call_id` replaces what it held, if it is not refused. Charges to
        a budget that no longer exists are passed over.
        """

    @abstractmethod
    async def budget_spent(self, name: str, period_start: int, *, now: int) -> BudgetAccount:
        """What is spent and, at `now`, reserved in that period, which is under way; zeros if there is no
        such budget."""


class Outcomes(ABC):
    """What is known of how well calls turned out."""

    @abstractmethod
    async def add_outcome(self, outcome: OutcomeRecord) -> None:
        """Keep a verdict, with what is known of its call; it replaces one of the same source.

        Raises:
            UnknownCall: no such call is recorded (or no longer).
        """

    @abstractmethod
    async def import_outcomes(self, outcomes: Sequence[StoredOutcome]) -> None:
        """Keep all of them or none; those that name a call replace one of the same source on it."""

    @abstractmethod
    async def outcomes(self, limit: int) -> list[StoredOutcome]:
        """The newest by `at`, newest first."""

    @abstractmethod
    async def reset_outcomes(self) -> int:
        """Forget all of them; says how many there were."""


class Breakers(ABC):
    """Circuit breakers that all processes on the store share. What each method does is one step for all
    of them: whatever comes at once comes one after another."""

    @abstractmethod
    async def note_failure(
        self, deployment: str, error: str, *, now: int, threshold: int, cooldown_ms: int
    ) -> Breaker:
        """Count a failure, see `Breaker.failed`; returns the breaker as it is then."""

    @abstractmethod
    async def note_success(self, deployment: str) -> None:
        """Close the breaker and forget its failures."""

    @abstractmethod
    async def half_open(self, deployment: str, *, now: int) -> None:
        """Let an open breaker be tried at once."""

    @abstractmethod
    async def claim_probe(self, deployment: str, *, now: int, lease_ms: int) -> bool:
        """May the caller try? Yes if the breaker is closed, and for one caller if it is half-open: nobody
        else may then until that try has succeeded, failed, been released or lasted `lease_ms`."""

    @abstractmethod
    async def release_probe(self, deployment: str, *, probe_at: int) -> None:
        """Give back, unused, what was claimed at that `now`."""

    @abstractmethod
    async def breakers(self) -> list[Breaker]:
        """Those with a failure since the last success: the latest `MOST_BREAKERS`, latest failure first."""


class Conversations(ABC):
    """What was said, for callers who send only their next turn."""

    @abstractmethod
    async def find_conversation(self, conversation_id: str) -> ConversationRecord | None:
        """The newest version, whoever's it is."""

    @abstractmethod
    async def keep_conversation(self, record: ConversationRecord) -> bool:
        """Put `record` in place of the version before it; False, and nothing, if that is not the newest."""

    @abstractmethod
    async def purge_conversations(self, *, before: int) -> int:
        """Delete those that did not change since `before`; says how many."""


class Store(AnswerCache, Ledger, Budgets, Outcomes, Breakers, Conversations):
    """All that tierwise remembers."""

    @abstractmethod
    async def check(self) -> list[Finding]:
        """What is not as it should be; [] if the store is sound.

        It is if the file is whole, no row belongs to one that is not there, the roll-up of each UTC day
        not pruned is that of its calls, what each budget counts as spent is what it opened with and the
        charges since, each charge is what its call cost at first, and the cache counts the size that its
        answers have. Reads everything, while others go on.
        """

    @abstractmethod
    async def repair(self) -> None:
        """Make every sum anew from what it is the sum of, a day at a time; those of days that were pruned
        stay."""

    @abstractmethod
    async def aclose(self) -> None:
        """Release every resource; closing twice is allowed."""
