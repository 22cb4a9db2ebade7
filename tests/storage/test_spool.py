"""Calls that the store cannot take at once are written down later."""

import os
import sys
from pathlib import Path
from shutil import which
from subprocess import CompletedProcess, run

import pytest

from tests.storage.samples import MIDNIGHT, NOON, attempt, budget, call, reservation
from tierwise.storage.budgets import Charge, Committed
from tierwise.storage.errors import DatabaseFull
from tierwise.storage.ports import Store
from tierwise.storage.records import CachedAnswer, CallRecord, CallStatus
from tierwise.storage.spool import Spool
from tierwise.storage.sqlite import SQLiteStore

pytestmark = pytest.mark.anyio

ETERNITY = 2**52


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "calls.spool"


async def ledger(store: Store) -> list[CallRecord]:
    return [found async for batch in store.export_calls(start=0, end=ETERNITY) for found in batch]


CALLS = (
    call("one", attempt(outcome="rate_limited", error="slow down"), attempt(), metadata={"team": "☕"}),
    call("two", attempt(cost_nano_usd=None, cost_note="unknown"), status=CallStatus.CANCELLED, tenant="acme"),
)


async def test_a_spooled_call_is_written_down_as_it_was_by_a_later_process(
    store: Store, folder: Path
) -> None:
    for kept in CALLS:
        await Spool(folder).keep(kept)
    assert [oct(path.stat().st_mode)[-3:] for path in (folder, *folder.iterdir())] == ["700", "600", "600"]
    later = Spool(folder)
    assert later.waiting
    await later.replay(store)
    assert await ledger(store) == list(CALLS)
    assert list(folder.glob("*.json")) == []
    assert not later.waiting


async def test_writing_a_call_down_twice_changes_nothing(store: Store, folder: Path) -> None:
    await store.record(CALLS[0])
    spool = Spool(folder)
    for _ in range(2):
        await spool.keep(CALLS[0])
        await spool.replay(store)
    assert await ledger(store) == [CALLS[0]]


async def test_a_spooled_call_settles_what_was_reserved_for_it(store: Store, folder: Path) -> None:
    await store.set_budget(budget(limit=1_000, thresholds=(50,)), period_start=MIDNIGHT)
    await store.reserve(reservation("held", 900), now=NOON)
    spool = Spool(folder)
    await spool.keep(call("one", attempt(cost_nano_usd=600), reservation="held"))
    assert [crossing.percent for crossing in await spool.replay(store)] == [50]
    account = await store.budget_spent("all", MIDNIGHT, now=NOON)
    assert (account.spent_nano_usd, account.reserved_nano_usd) == (600, 0)


async def test_a_spooled_call_is_charged_to_what_it_says(store: Store, folder: Path) -> None:
    await store.set_budget(budget(limit=1_000), period_start=MIDNIGHT)
    charge = Charge(budget="all", period_start=MIDNIGHT)
    await Spool(folder).keep(call("one", attempt(), unreserved=(charge,)))
    await Spool(folder).replay(store)
    assert (await store.budget_spent("all", MIDNIGHT, now=NOON)).spent_nano_usd == 700


async def test_where_no_file_can_be_written_calls_wait_in_memory(store: Store, folder: Path) -> None:
    folder.write_text("this is a file, not a folder")
    for spool in (Spool(folder), Spool(None)):
        await spool.keep(CALLS[0])
        assert spool.waiting
        await spool.replay(store)
    assert await ledger(store) == [CALLS[0]]


DISK = ("unshare", "--map-root-user", "--mount", "sh", "-ec", 'mount -t tmpfs -o size=3M tmpfs "$0"; ')
"""A small disk of one's own, for the shell commands that are added to the last word."""


def on_a_small_disk(folder: Path, commands: str) -> CompletedProcess[str]:
    """Run shell commands, in which `$0` is a disk of 3 MB and `$1` the Python that runs this."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*DISK[:-1], DISK[-1] + commands, str(folder), sys.executable]
    return run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


@pytest.mark.skipif(
    which("unshare") is None or on_a_small_disk(Path("/tmp"), "true").returncode != 0,  # noqa: S108  not written to
    reason="needs the right to mount a disk of its own",
)
def test_calls_that_a_full_disk_turns_away_outlive_the_process(tmp_path: Path) -> None:
    worker = '"$1" -m tests.storage.full_disk_worker "$0"'
    ended = on_a_small_disk(
        tmp_path, f'{worker} fill; ls "$0"/calls.spool/*.json; rm "$0/filler"; {worker} after'
    )
    assert ended.returncode == 0, ended.stderr
    made, *spooled, known = ended.stdout.split()
    assert len(spooled) == 20
    assert known == made


class Full(SQLiteStore):
    def __init__(self, store: Store, room: int) -> None:
        vars(self).update(vars(store))
        self.room = room

    async def record(self, call: CallRecord, answer: CachedAnswer | None = None) -> Committed:
        if self.room == 0:
            raise DatabaseFull("The disk is full.")
        self.room -= 1
        return await super().record(call, answer)


@pytest.mark.parametrize("room", [0, 1])
async def test_what_the_store_still_cannot_take_waits_on(store: Store, folder: Path, room: int) -> None:
    full, spool = Full(store, room), Spool(folder)
    for kept in CALLS:
        await spool.keep(kept)
    with pytest.raises(DatabaseFull):
        await spool.replay(full)
    assert spool.waiting
    assert len(await ledger(store)) == room
    full.room = 10
    await spool.replay(full)
    assert await ledger(store) == list(CALLS)


async def test_a_spooled_file_that_is_cut_off_harms_no_other(store: Store, folder: Path) -> None:
    spool = Spool(folder)
    for kept in CALLS:
        await spool.keep(kept)
    cut = folder / "one.json"
    os.truncate(cut, 40)
    await spool.replay(store)
    assert await ledger(store) == [CALLS[1]]
    assert cut.exists()


def abandon(path: Path) -> None:
    """As a process leaves it that is killed before the file has its name."""
    part = path.rename(path.with_suffix(".part"))
    os.utime(part, (0, 0))


async def test_a_whole_file_of_a_process_that_was_killed_is_written_down(store: Store, folder: Path) -> None:
    await Spool(folder).keep(CALLS[0])
    abandon(folder / "one.json")
    [finding] = await Spool(folder).check()
    assert finding.repairable
    await Spool(folder).replay(store)
    assert await ledger(store) == [CALLS[0]]
    assert list(folder.glob("one*")) == []


async def test_half_a_file_of_a_process_that_was_killed_goes(
    store: Store, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await Spool(folder).keep(CALLS[0])
    (folder / "one.json").write_text("{")
    abandon(folder / "one.json")
    await Spool(folder).replay(store)
    assert await ledger(store) == []
    assert list(folder.glob("one*")) == []
    assert "A call is lost" in caplog.text


async def test_a_file_that_is_being_written_is_left_to_its_writer(store: Store, folder: Path) -> None:
    await Spool(folder).keep(CALLS[0])
    part = (folder / "one.json").rename(folder / "one.part")
    assert await Spool(folder).check() == []
    await Spool(folder).replay(store)
    assert list(folder.glob("one*")) == [part]
