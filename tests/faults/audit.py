"""What must hold of a data folder whatever has happened: each call written down once, and sums that agree."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.server.harness import KEY, Installation
from tierwise.server.configuration import load_settings
from tierwise.server.runtime import open_storage, spool_folder
from tierwise.storage.budgets import AtLimit, Budget, BudgetScope
from tierwise.storage.ports import Store
from tierwise.storage.records import CallRecord
from tierwise.storage.spool import Spool

NUMBER = "number"
"""The key in a call's metadata under which its caller has numbered it."""
_ETERNITY = 2**52
_TOLD = 5


@dataclass
class Tally:
    """What became of the calls under one fault."""

    fault: str
    calls: int = 0
    answered: int = 0
    failed: int = 0
    """With an error to act on."""
    given_up: int = 0
    """By their callers, or with their server."""
    overrun: float = 0.0
    """Seconds by which the slowest call passed its deadline, beside those in which its server slept."""
    slowest: str = ""
    """The number of that call."""
    violations: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Ledger:
    """The calls in a ledger, by their number, and what is wrong with the store that it is in."""

    calls: Mapping[str, list[CallRecord]]
    faults: list[str] = field(default_factory=list[str])

    def unwritten(self, numbers: Iterable[str]) -> list[str]:
        """A sentence on those of the numbers that the ledger lacks, if there are any."""
        return _told("are not in the ledger", [number for number in numbers if number not in self.calls])

    def doubled(self) -> list[str]:
        """A sentence on the numbers that are there more than once, if there are any."""
        return _told(
            "are in the ledger more than once",
            [number for number, calls in self.calls.items() if len(calls) > 1],
        )


async def read_ledger(installation: Installation, *, died: bool = False) -> Ledger:
    """All calls and all faults, where no call is under way and budgets are older than the calls.

    Nothing may be reserved any more; where processes `died`, not once their reservations have expired.
    """
    settings = load_settings(config=None, environ=installation.environ)
    now = _now() + int(settings.reliability.deadline + 61) * 1000 if died else 0
    numbered: dict[str, list[CallRecord]] = {}
    async with open_storage(settings) as store:
        faults = [finding.text for finding in await store.check()]
        faults += [finding.text for finding in await Spool(spool_folder(settings)).check()]
        async for batch in store.export_calls(start=0, end=_ETERNITY):
            for call in batch:
                numbered.setdefault(call.metadata.get(NUMBER, ""), []).append(call)
        calls = [call for same in numbered.values() for call in same]
        for budget in await store.budgets():
            faults += await _account_faults(store, budget, calls, now)
    ledger = Ledger(numbered, faults)
    ledger.faults.extend(ledger.doubled())
    return ledger


async def _account_faults(store: Store, budget: Budget, calls: Iterable[CallRecord], now: int) -> list[str]:
    """Of a budget in total: it counts what its calls cost, keeps its limit, and holds nothing back."""
    account = await store.budget_spent(budget.name, 0, now=now)
    due = sum(call.cost_nano_usd or 0 for call in calls if _in_scope(call, budget))
    spent, limit = account.spent_nano_usd, budget.limit_nano_usd
    faults: list[str] = []
    if spent != due:
        faults.append(f"The budget {budget.name} counts {spent} nano-USD, and its calls cost {due}.")
    if budget.at_limit is not AtLimit.WARN and spent > limit:
        faults.append(f"The budget {budget.name} has spent {spent} nano-USD of {limit}.")
    if account.reserved_nano_usd:
        faults.append(f"{account.reserved_nano_usd} nano-USD of {budget.name} are held by nobody.")
    return faults


def secrets_in(installation: Installation) -> list[str]:
    """The files of the installation that hold its key, which no file may."""
    files = [path for path in installation.folder.rglob("*") if path.is_file()]
    return [f"The key is in {path}." for path in files if KEY.encode() in path.read_bytes()]


def _in_scope(call: CallRecord, budget: Budget) -> bool:
    return budget.scope is BudgetScope.OVERALL or getattr(call, budget.scope) == budget.scope_value


def _told(what: str, numbers: list[str]) -> list[str]:
    counted = Counter(numbers)
    return [f"{len(counted)} calls {what}: {', '.join(list(counted)[:_TOLD])} …"] if numbers else []


def _now() -> int:
    return time.time_ns() // 1_000_000
