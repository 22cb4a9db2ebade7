"""What recorded calls cost at the prices of today.

What a call saved stays as it was: a recorded call does not say which model it was compared with, nor,
if it came from the cache, how many tokens the answer has.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tierwise.routing.catalog.catalog import Catalog, Model
from tierwise.routing.errors import UnknownModel
from tierwise.routing.money import pricing
from tierwise.server.usage_file import IMPORTED
from tierwise.storage.ports import Ledger
from tierwise.storage.records import AttemptRecord, CallRecord


@dataclass(slots=True)
class Change:
    """What became of the attempts at one model. Money is nano-USD; an unknown cost counts as 0."""

    attempts: int = 0
    """Those that now cost something else."""
    reported: int = 0
    """Those whose cost their provider reported: they keep it."""
    unknown: int = 0
    """Those that used something whose price is unknown today: they keep their cost."""
    old: int = 0
    new: int = 0


@dataclass(slots=True)
class Repricing:
    """Reckons costs anew, and adds up what that changes."""

    catalog: Catalog
    changes: dict[str, Change] = field(default_factory=dict[str, Change])
    """By model."""

    async def run(self, ledger: Ledger, start: int, end: int, *, dry: bool) -> None:
        """Correct the calls started in [start, end), in batches; `dry` only adds up.

        A batch is corrected whole or not at all; running again after a failure does the rest.
        """
        async for calls in ledger.export_calls(start=start, end=end):
            costs = [
                (call.call_id, place, cost)
                for call in calls
                # What an imported file says it cost is all that is known of a synthetic call.
                if call.operation != IMPORTED
                for place, cost in self._corrections(call)
            ]
            if costs and not dry:
                await ledger.set_costs(costs)

    def _corrections(self, call: CallRecord) -> Iterable[tuple[int, int]]:
        for place, attempt in enumerate(call.attempts):
            if attempt.nothing:
                continue
            model = self._model(attempt)
            name = model.id if model else attempt.model
            change = self.changes.setdefault(name, Change())
            if attempt.cost_reported:
                change.reported += 1
                continue
            if model is None or model.price is None:
                change.unknown += 1
                continue
            cost = pricing.cost(attempt, model.price, attempt.ended_at)
            if cost != attempt.cost_nano_usd:
                change.attempts += 1
                change.old += attempt.cost_nano_usd or 0
                change.new += cost
                yield place, cost

    def _model(self, attempt: AttemptRecord) -> Model | None:
        """The model that was called: its name may mean another provider's by now."""
        for name in (attempt.model, f"{attempt.provider}/{attempt.model}"):
            try:
                found = self.catalog.resolve(name)
            except UnknownModel:
                continue
            if found.provider == attempt.provider:
                return found
        return None
