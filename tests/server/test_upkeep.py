"""Prices corrected, old calls let go, sums checked."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.server.books import at, ledger, record
from tests.server.harness import Installation, chat, structured
from tests.storage.samples import attempt, call
from tierwise.server.retention import prune_by_itself
from tierwise.storage.records import AttemptRecord, CallRecord
from tierwise.storage.spool import Spool

pytestmark = pytest.mark.anyio

NOON = at("2026-03-28T12:00")


def tried(model: str = "fake/small", **changes: Any) -> AttemptRecord:
    """10 tokens in and 3 out: 16,000 nano-USD at the small model's price."""
    return attempt(provider="fake", model=model, **changes)


async def calls(installation: Installation) -> dict[str, CallRecord]:
    async with ledger(installation) as store:
        return {
            call.call_id: call async for batch in store.export_calls(start=0, end=2**50) for call in batch
        }


def costs(call: CallRecord) -> list[tuple[int | None, int | None]]:
    return [(attempt.cost_nano_usd, attempt.old_cost_nano_usd) for attempt in call.attempts]


@pytest.fixture
async def mispriced(installation: Installation) -> Installation:
    await record(
        installation,
        call("wrong", tried(cost_nano_usd=1), tried("fake/large", cost_nano_usd=2), started_at=NOON),
        call("cached", tried(cost_nano_usd=3, cache_read_tokens=10, reasoning_tokens=3), started_at=NOON),
        call("unknown", tried(cost_nano_usd=None, cost_note="no price was known"), started_at=NOON),
        call("right", tried(cost_nano_usd=16_000), started_at=NOON),
        call("unpriced", tried("unpriced", cost_nano_usd=4), started_at=NOON),
        call("gone", attempt(provider="nobody", model="parrot-7b", cost_nano_usd=5), started_at=NOON),
        call("no tokens", tried(cost_nano_usd=0, input_tokens=0, output_tokens=0), started_at=NOON),
        call("reported", tried(cost_nano_usd=8, cost_reported=True), started_at=NOON),
        call("imported", tried(cost_nano_usd=6), started_at=NOON, operation="imported"),
        call("before", tried(cost_nano_usd=7), started_at=at("2026-03-27T23:59")),
    )
    return installation


async def test_repricing_reckons_anew_from_tokens_and_keeps_the_old_figure(mispriced: Installation):
    ended = await mispriced.run("reprice", "--since", "2026-03-28")
    assert ended.returncode == 0, ended.stderr
    now = await calls(mispriced)
    assert costs(now["wrong"]) == [(16_000, 1), (1_600_000, 2)]
    assert costs(now["cached"]) == [(16_000, 3)]
    assert costs(now["unknown"]) == [(16_000, None)]
    kept = {"right": 16_000, "unpriced": 4, "gone": 5, "no tokens": 0, "imported": 6, "before": 7}
    kept["reported"] = 8
    assert {name: costs(now[name]) for name in kept} == {name: [(cost, None)] for name, cost in kept.items()}
    async with ledger(mispriced) as store:
        assert await store.check() == []
        [total] = await store.usage(start=0, end=at("2027-01-01"))
    assert total.cost_nano_usd == sum(call.cost_nano_usd or 0 for call in now.values())


async def test_the_table_says_what_changed_by_model(mispriced: Installation):
    ended = await mispriced.run("reprice", "--since", "2026-03-28")
    lines = {line.split()[0]: line.split()[1:] for line in ended.stdout.decode().splitlines()}
    assert lines["fake/small"] == ["3", "$0.000000", "$0.000048", "$0.000048"]
    assert lines["fake/large"] == ["1", "$0.000000", "$0.001600", "$0.001600"]
    said = " ".join(ended.stderr.decode().split())
    assert "4 attempts were changed. 2 attempts keep their cost" in said
    assert said.endswith("1 kept what their provider reported.")
    again = await mispriced.run("reprice", "--since", "2026-03-28")
    assert again.stdout == b""
    assert again.stderr.startswith(b"0 attempts were changed.")


async def test_a_price_that_fell_shows_a_negative_difference(installation: Installation):
    await record(installation, call("dear", tried(cost_nano_usd=3_000_016_000), started_at=NOON))
    ended = await installation.run("reprice", "--since", "2026-03-28")
    assert ended.stdout.split()[-4:] == [b"1", b"$3.00", b"$0.000016", b"-$3.00"]


async def test_a_dry_run_shows_the_same_and_changes_nothing(mispriced: Installation):
    before = await calls(mispriced)
    dry = await mispriced.run("reprice", "--since", "2026-03-28", "--dry-run")
    assert b"4 attempts would change" in dry.stderr
    assert await calls(mispriced) == before
    assert (await mispriced.run("reprice", "--since", "2026-03-28")).stdout == dry.stdout


async def test_repricing_since_no_day_is_refused(installation: Installation):
    ended = await installation.run("reprice", "--since", "spring")
    assert ended.returncode == 2
    assert ended.stderr == b"Error: `start` must be a date from 1970 on, such as 2026-11-30.\n"


# Retention


def days_ago(days: int) -> int:
    return int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000)


async def aged(installation: Installation) -> None:
    await record(
        installation, *(call(f"{days} days", started_at=days_ago(days)) for days in (0, 1, 6, 8, 400))
    )


async def test_pruning_deletes_old_calls_and_keeps_their_sums(demo: Installation):
    await aged(demo)
    ended = await demo.run("prune", "--keep-days", "7")
    assert (ended.returncode, ended.stdout) == (0, b"Deleted 2 calls; their sums are kept.\n")
    assert set(await calls(demo)) == {"0 days", "1 days", "6 days"}
    async with demo.client() as client:
        assert structured(await client.call_tool("usage_summary", {"days": 500}))["total_calls"] == 5


async def test_a_server_keeps_calls_for_as_long_as_the_settings_say(demo: Installation):
    await aged(demo)
    demo.configure({"usage_tracking": {"keep_days": 7}})
    async with demo.client() as client:
        await chat(client, "Hello")
    assert len(await calls(demo)) == 4


async def test_a_server_whose_clock_is_years_ahead_deletes_nothing(demo: Installation):
    await record(demo, call("old", started_at=days_ago(400)), call("older", started_at=days_ago(401)))
    async with ledger(demo) as store:
        assert await prune_by_itself(store, 30, "UTC") == 0
        await store.record(call("new", started_at=days_ago(1)))
        assert await prune_by_itself(store, 30, "UTC") == 2
    assert set(await calls(demo)) == {"new"}


async def test_a_server_keeps_calls_for_ever_where_the_settings_say_nothing(demo: Installation):
    await aged(demo)
    async with demo.client() as client:
        await chat(client, "Hello")
    assert len(await calls(demo)) == 6


@pytest.mark.parametrize("options", [[], ["--keep-days", "0"], ["--keep-days", "-1"]])
async def test_pruning_without_a_sensible_number_of_days_deletes_nothing(
    demo: Installation, options: list[str]
):
    await aged(demo)
    assert (await demo.run("prune", *options)).returncode == 2
    assert len(await calls(demo)) == 5


# Checks


def damage(installation: Installation, sql: str) -> None:
    with closing(sqlite3.connect(installation.data / "tierwise.db", isolation_level=None)) as database:
        database.execute(sql)


async def test_a_check_finds_sums_that_are_wrong_and_repairs_them(demo: Installation):
    await record(demo, call("a", attempt(), started_at=NOON))
    sound = await demo.run("check")
    assert (sound.returncode, sound.stdout[:22]) == (0, b"The database is sound:")
    damage(demo, "UPDATE usage SET cost_nano_usd = 1")
    damage(demo, "UPDATE cache_size SET bytes = 7")
    wrong = await demo.run("check")
    assert wrong.returncode == 1
    usage, cache = wrong.stdout.splitlines()
    assert usage.startswith(b"On 2026-03-28 (UTC), ")
    assert cache == b"The cache counts 7 bytes, and its answers come to 0."
    assert b"tierwise check --repair" in wrong.stderr
    repaired = await demo.run("check", "--repair")
    assert (repaired.returncode, repaired.stdout.splitlines()[-1]) == (0, b"That is put right now.")
    assert (await demo.run("check")).returncode == 0


async def test_a_check_says_what_no_repair_can_put_right(demo: Installation):
    await record(demo, call("a", attempt(), started_at=NOON))
    damage(demo, "UPDATE attempts SET call = 9")
    told = b"1 rows of attempts belong to calls that are not there."
    assert (await demo.run("check")).stdout.splitlines()[0] == told
    repaired = await demo.run("check", "--repair")
    assert (repaired.returncode, repaired.stderr) == (1, b"Not repaired: " + told + b"\n")


async def test_a_repair_writes_down_what_waits_in_the_spool(demo: Installation):
    await record(demo, call("a", attempt(), started_at=NOON))
    folder = demo.data / "tierwise.spool"
    await Spool(folder).keep(call("b", attempt(), started_at=NOON))
    (folder / "broken.json").write_text("{")
    found = await demo.run("check")
    broken = f"The spooled call {folder / 'broken.json'} cannot be read."
    assert found.stdout.decode().splitlines() == [broken, f"1 calls wait in {folder} to be written down."]
    assert (await demo.run("check", "--repair")).stderr.decode().endswith(f"Not repaired: {broken}\n")
    assert set(await calls(demo)) == {"a", "b"}
