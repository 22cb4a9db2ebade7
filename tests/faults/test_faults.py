"""The proving ground in short; `make faults` runs all of it."""

from pathlib import Path

import pytest

from tests.faults.catalog import FAULTS
from tests.faults.crash import run_crash
from tests.faults.report import ROWS, in_readme
from tests.faults.storm import NO_BREAKERS, opened

pytestmark = pytest.mark.anyio

SEED = 1


async def test_servers_that_are_killed_at_random_points_lose_nothing(tmp_path: Path):
    tally = await run_crash(tmp_path, kills=10, seed=SEED, tell=print)
    assert tally.violations == []
    assert tally.answered
    assert tally.given_up


async def test_calls_in_parallel_survive_a_provider_that_fails(tmp_path: Path):
    async with opened(tmp_path, NO_BREAKERS, SEED) as storm:
        tallies = [await storm.alone(fault, 32) for fault in FAULTS if "stream cut" in fault.name]
    assert [violation for tally in tallies for violation in tally.violations] == []
    assert all(tally.answered and tally.failed for tally in tallies)


def test_the_readme_shows_the_faults_that_are_tried():
    assert in_readme() == list(ROWS)
