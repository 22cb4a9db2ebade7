"""Very many calls, and then servers that hold no more than they did near the beginning."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults.audit import Tally
from tests.faults.calls import Asked, plan
from tests.faults.catalog import FAULTS, HEALTHY
from tests.faults.servers import Vitals, grown
from tests.faults.storm import NO_BREAKERS, opened

SOAK = "soak"
_LEGS = 10
"""The books are audited after each; the first is the warm-up, with whose end the last is compared."""
_QUICK = [fault for fault in FAULTS if fault.quick and not fault.heavy]
_MORE_MEMORY = 1.15
"""Memory that is given back is not at once the system's again: some per cent come and go."""


async def run_soak(folder: Path, *, calls: int, seed: int, tell: Callable[[str], None]) -> Tally:
    """`calls` calls: from the cache and not, failing and given up."""
    total = Tally(SOAK)
    async with opened(folder, NO_BREAKERS, seed) as storm:
        early: list[Vitals] = []
        for leg in range(_LEGS):
            chance = Random(f"{seed} soak {leg}")  # noqa: S311  to be had again
            planned = (_plan(f"{leg} {number}", chance) for number in range(calls // _LEGS))
            _add(await storm.run(SOAK, planned, unaided=True), total)
            now = await storm.vitals()
            early = early or now
            tell(f"{total.calls:,} calls, {len(total.violations)} violations, {now}")
        for before, after in zip(early, await storm.vitals(), strict=True):
            total.violations += grown(before, after, memory=_MORE_MEMORY)
    return total


def _plan(number: str, chance: Random) -> Asked:
    """Half of the calls are to be had from the cache, and a tenth go to a model that fails."""
    faults = [chance.choice(_QUICK)] if chance.random() < 0.1 else []
    models = [f"fake/{fault.model}" for fault in [*faults, *([HEALTHY] if chance.random() < 0.9 else [])]]
    asked = plan(f"soak {number}", models or [f"fake/{HEALTHY.model}"], 2, chance)
    if not faults and chance.random() < 0.5:
        asked.arguments["prompt"] = f"Prompt {chance.randrange(200)}"
    return asked


def _add(leg: Tally, total: Tally) -> None:
    total.calls += leg.calls
    total.answered += leg.answered
    total.failed += leg.failed
    total.given_up += leg.given_up
    total.overrun = max(total.overrun, leg.overrun)
    total.violations += leg.violations
