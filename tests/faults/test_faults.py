"""The proving ground in short; `make faults` runs all of it."""

from pathlib import Path

import pytest

from tests.fake_provider import FakeProvider
from tests.faults.catalog import FAULTS
from tests.faults.crash import run_crash
from tests.faults.report import ROWS, in_readme
from tests.faults.servers import over_http, over_stdio
from tests.faults.storm import Storm, settings
from tests.server.harness import Installation

pytestmark = pytest.mark.anyio

SEED = 1


async def test_servers_that_are_killed_at_random_points_lose_nothing(tmp_path: Path):
    tally = await run_crash(tmp_path, kills=10, seed=SEED, tell=print)
    assert tally.violations == []
    assert tally.answered
    assert tally.given_up


async def test_calls_in_parallel_survive_a_provider_that_fails(tmp_path: Path):
    async with FakeProvider() as fake:
        installation = Installation(tmp_path, settings(fake.url))
        async with over_stdio(installation) as piped, over_http(installation) as served:
            storm = Storm(installation, fake, [piped, served], SEED)
            await storm.warm_up()
            tallies = [await storm.alone(fault, 32) for fault in FAULTS if "cut" in fault.name]
    assert [violation for tally in tallies for violation in tally.violations] == []
    assert all(tally.answered and tally.failed for tally in tallies)


def test_the_readme_shows_the_faults_that_are_tried():
    assert in_readme() == list(ROWS)
