"""Everything that goes wrong, under load, and then the books: `python -m tests.faults [OPTIONS] [SUITE]…`.

`storm`: providers that fail and machines that play tricks, each alone and then mixed. `crash`: servers
killed at random points. `fuzz`: hostile arguments and bytes, many more than the tests try. `soak`: very many
calls, and flat memory. Without a name the first three run. The table goes to stdout; the exit code is 1 if
anything was violated.
"""

import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click

from tests.faults.audit import Tally
from tests.faults.catalog import FAULTS, MISHAPS
from tests.faults.crash import run_crash
from tests.faults.report import into_readme, table
from tests.faults.servers import grown
from tests.faults.soak import run_soak
from tests.faults.storm import BREAKERS, FAREWELLS, NO_BREAKERS, opened

_MORE_MEMORY = 4.0
"""Dozens of answers of up to 64 MB at a time leave holes in the heap, which stay the process's; they are not
made twice. That it is flat otherwise is what the soak shows."""


def tell(text: str) -> None:
    """Progress."""
    click.echo(text, err=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    seed: int
    calls: int
    minutes: float
    only: tuple[str, ...]
    kills: int
    examples: int
    soak_calls: int


async def run_storm(folder: Path, options: Options) -> list[Tally]:
    """Each fault and mishap by itself, then all of them together for some minutes."""
    tallies: list[Tally] = []

    def wanted(name: str) -> bool:
        return not options.only or any(part in name for part in options.only)

    def note(tally: Tally) -> None:
        tallies.append(tally)
        late = f", {tally.slowest} ended {tally.overrun:.1f} s late" if tally.overrun else ""
        tell(f"{tally.fault}: {tally.calls} calls, {len(tally.violations)} violations{late}")

    async with opened(folder, NO_BREAKERS, options.seed) as storm:
        before = await storm.vitals()
        for fault in filter(lambda fault: wanted(fault.name), FAULTS):
            note(await storm.alone(fault, options.calls))
        for mishap in filter(lambda mishap: mishap.possible and wanted(mishap.name), MISHAPS):
            note(await storm.during(mishap))
        for name in filter(wanted, FAREWELLS):
            note(await storm.farewell(name, FAREWELLS[name]))
        tallies[-1].violations += await storm.still_serves()
        for then, now in zip(before, await storm.vitals(), strict=True):
            tallies[-1].violations += grown(then, now, memory=_MORE_MEMORY)
    if not options.only:
        async with opened(_within(folder, "mixed"), BREAKERS, options.seed) as storm:
            note(await storm.mixed(options.minutes * 60))
            tallies[-1].violations += await storm.still_serves()
    return tallies


async def run(suites: Sequence[str], folder: Path, options: Options) -> list[Tally]:
    """The suites, in this order."""
    tallies: list[Tally] = []
    if "storm" in suites:
        tallies += await run_storm(_within(folder, "storm"), options)
    if "crash" in suites:
        tallies.append(
            await run_crash(_within(folder, "crash"), kills=options.kills, seed=options.seed, tell=tell)
        )
    if "soak" in suites:
        tallies.append(
            await run_soak(_within(folder, "soak"), calls=options.soak_calls, seed=options.seed, tell=tell)
        )
    return tallies


def fuzz(options: Options) -> list[str]:
    """The tests of `test_fuzz_*.py` with more examples each."""
    files = sorted(str(path) for path in Path(__file__).parent.glob("test_fuzz_*.py"))
    command = [sys.executable, "-m", "pytest", "-q", f"--hypothesis-seed={options.seed}", *files]
    environ = os.environ | {"FUZZ_EXAMPLES": str(options.examples)}
    ended = subprocess.run(command, env=environ, stdout=sys.stderr, check=False)  # noqa: S603  ours
    return [f"fuzz: pytest ended with exit code {ended.returncode}"] if ended.returncode else []


def _within(folder: Path, name: str) -> Path:
    inner = folder / name
    inner.mkdir()
    return inner


@click.command(help=__doc__)
@click.argument("suites", nargs=-1, type=click.Choice(["storm", "crash", "fuzz", "soak"]), metavar="[SUITE]…")
@click.option("--seed", type=int, help="What decides everything but the timing; default: another each time.")
@click.option("--calls", default=256, show_default=True, help="Calls under each fault by itself.")
@click.option("--minutes", default=3.0, show_default=True, help="With all faults mixed.")
@click.option("--only", multiple=True, help="Faults whose names hold this, none of them mixed.")
@click.option("--kills", default=1000, show_default=True)
@click.option("--examples", default=200, show_default=True, help="That each test of the fuzzing tries.")
@click.option("--soak-calls", default=100_000, show_default=True)
@click.option("--readme", is_flag=True, help="Put the table into the README.")
def main(suites: tuple[str, ...], readme: bool, **given: Any) -> None:
    if given["seed"] is None:
        given["seed"] = secrets.randbelow(10**6)
    options = Options(**given)
    logging.basicConfig(level=logging.CRITICAL)  # what the fake provider says of clients that leave
    folder = Path(tempfile.mkdtemp(prefix="tierwise-faults-"))
    tell(f"Seed {options.seed}, in {folder}")
    suites = suites or ("storm", "crash", "fuzz")
    tallies = anyio.run(run, suites, folder, options)
    violations = [f"{tally.fault}: {violation}" for tally in tallies for violation in tally.violations]
    violations += fuzz(options) if "fuzz" in suites else []
    if tallies:
        click.echo(table(tallies))
    if violations:
        tell("\n".join(violations))
        tell(f"{len(violations)} violations. The same again: the same options with --seed {options.seed}")
        sys.exit(1)
    shutil.rmtree(folder)
    if readme:
        into_readme(table(tallies))


if __name__ == "__main__":
    main()
