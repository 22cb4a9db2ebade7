"""What is said of usage: sums over any days, by anything, over time, and beside what it might have cost."""

import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from tests.server.books import at, ledger, record
from tests.server.harness import Installation, Json, refusal, structured
from tests.server.test_resources import read
from tests.storage.samples import attempt, call
from tierwise.server.clock import Period
from tierwise.server.series import Granularity, time_series
from tierwise.storage.records import CallRecord, CallStatus

pytestmark = pytest.mark.anyio

DAYS = {"start": "2026-03-28", "end": "2026-03-30"}


def spent(name: str, when: str, nano_usd: int | None = 1_000_000, **changes: Any) -> CallRecord:
    """A call with one attempt, in Berlin."""
    model = changes.get("model", "small")
    one = attempt(started_at=at(when, "Europe/Berlin"), cost_nano_usd=nano_usd, model=model)
    return call(name, one, started_at=at(when, "Europe/Berlin"), **changes)


@pytest.fixture
async def berlin(demo: Installation) -> AsyncIterator[Client]:
    """A client in Berlin, after five calls around the beginning of summer time 2026."""
    demo.configure({"usage_tracking": {"time_zone": "Europe/Berlin"}})
    await record(
        demo,
        spent("a", "2026-03-28T23:59", tenant="acme", operation="chat"),
        spent("b", "2026-03-29T00:00", tenant="acme", agent="bot", operation="review"),
        spent("c", "2026-03-29T23:59", 5_000_000, model="large", tier="complex", saved_nano_usd=-7),
        spent("d", "2026-03-30T00:00", None),
        call("e", started_at=at("2026-03-30T12:00", "Europe/Berlin"), cached=True, saved_nano_usd=9_000_000),
    )
    async with demo.client() as client:
        yield client


async def summary(client: Client, **arguments: Any) -> Json:
    return structured(await client.call_tool("usage_summary", {**DAYS, **arguments}))


async def test_a_summary_covers_the_local_days_from_start_to_end(berlin: Client):
    found = await summary(berlin)
    assert (found["period_days"], found["start"], found["end"]) == (3, "2026-03-28", "2026-03-30")
    assert (found["total_calls"], found["total_cost_usd"], found["total_tokens"]) == (5, 0.007, 52)
    assert found["avg_daily_cost"] == pytest.approx(0.007 / 3)
    assert (found["cached_calls"], found["unpriced_calls"]) == (1, 1)
    assert found["model_breakdown"]["large"] == {"calls": 1, "tokens": 13, "cost": 0.005}
    assert "groups" not in found
    one_day = await summary(berlin, start="2026-03-29", end="2026-03-29")
    assert (one_day["period_days"], one_day["total_calls"]) == (1, 2)


async def test_days_are_counted_back_from_the_end(berlin: Client):
    found = structured(await berlin.call_tool("usage_summary", {"days": 2, "end": "2026-03-29"}))
    assert (found["start"], found["end"], found["total_calls"]) == ("2026-03-28", "2026-03-29", 3)


async def test_days_to_come_do_not_count(berlin: Client):
    tomorrow = datetime.now(ZoneInfo("Europe/Berlin")).date() + timedelta(days=1)
    found = await summary(berlin, end=tomorrow.isoformat())
    assert found["end"] < tomorrow.isoformat()


async def test_the_first_days_of_all_are_a_period_too(berlin: Client):
    found = structured(await berlin.call_tool("usage_summary", {"days": 3660, "end": "1970-01-01"}))
    assert found["total_calls"] == 0


@pytest.mark.parametrize(
    ("group_by", "keys"),
    [
        ("day", {"2026-03-28": 1, "2026-03-29": 2, "2026-03-30": 2}),
        ("model", {"large": 1, "small": 4}),
        ("provider", {"openai": 5}),
        ("tier", {"complex": 1, "simple": 4}),
        ("operation", {"chat": 4, "review": 1}),
        ("tenant", {"acme": 2, "": 3}),
        ("agent", {"bot": 1, "": 4}),
    ],
)
async def test_groups_add_up_to_the_summary(berlin: Client, group_by: str, keys: dict[str, int]):
    found = await summary(berlin, group_by=group_by)
    assert {group["key"]: group["calls"] for group in found["groups"]} == keys
    assert sum(group["calls"] for group in found["groups"]) == found["total_calls"]
    assert sum(group["cost"] for group in found["groups"]) == pytest.approx(found["total_cost_usd"])
    assert sum(group["tokens"] for group in found["groups"]) == found["total_tokens"]


async def test_days_without_calls_are_listed_in_order_and_the_oldest_are_left_out(berlin: Client):
    found = await summary(berlin, start="2025-01-01", group_by="day")
    assert len(found["groups"]) == 366
    assert found["groups_left_out"] == found["period_days"] - 366
    assert [group["key"] for group in found["groups"][-2:]] == ["2026-03-29", "2026-03-30"]
    assert found["groups"][0] == {"key": found["groups"][0]["key"], **dict.fromkeys(GROUP_SUMS, 0)}


GROUP_SUMS = (
    *("calls", "tokens", "cost", "input_tokens", "output_tokens", "cached_calls", "failed_calls"),
    *("cancelled_calls", "unpriced_calls", "saved_usd"),
)


@pytest.mark.parametrize(
    ("filters", "calls"),
    [
        ({"tenant": "acme"}, 2),
        ({"tenant": ""}, 3),
        ({"tenant": "acme", "agent": "bot"}, 1),
        ({"model": "large"}, 1),
        ({"provider": "anthropic"}, 0),
        ({"tier": "simple", "operation": "review"}, 1),
        ({"model": "'; DROP TABLE calls; --\0\ud800"}, 0),
    ],
)
async def test_filters_count_only_the_calls_that_have_every_value(berlin: Client, filters: Json, calls: int):
    assert (await summary(berlin, filters=filters))["total_calls"] == calls
    by_day = await summary(berlin, filters=filters, group_by="day")
    assert sum(group["calls"] for group in by_day["groups"]) == calls


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"start": "2026-03-02", "end": "2026-03-01"}, "`start` 2026-03-02 comes after the last day, 2026"),
        ({"start": "9999-12-31"}, "`start` 9999-12-31 comes after the last day, "),
        ({"start": "1970-01-01"}, "1970-01-01 to 20"),
        ({"end": "0001-01-01"}, "`end` must be a date from 1970 on, such as 2026-11-30."),
        ({"start": "yesterday"}, "`start` must be a date from 1970 on, such as 2026-11-30."),
        ({"start": 20260301}, "`start` must be a date from 1970 on, such as 2026-11-30."),
        ({"start": "2026-02-30"}, "`start` must be a date from 1970 on, such as 2026-11-30."),
        ({"start": "2026-03-01", "days": 3}, "`days` and `start` contradict each other: give one of them."),
        ({"days": 0}, "`days` must be at least 1."),
        ({"days": 10**9}, "`days` must be at most 3,660."),
        ({"group_by": "colour"}, "`group_by` has 'colour', which is none of day, provider, "),
        ({"group_by": "metadata." + "x" * 201}, "`group_by` has 'metadata.xxx"),
        ({"filters": {"colour": "red"}}, "`filters` has 'colour', which is none of provider, model, "),
        ({"filters": {"metadata.project": 5}}, "`filters.metadata.project` must be text."),
        ({"filters": {"model": 5}}, "`filters.model` must be text."),
        ({"filters": "model=large"}, "`filters` must be an object."),
    ],
)  # fmt: skip
async def test_a_summary_that_cannot_be_says_why(berlin: Client, arguments: Json, sentence: str):
    assert refusal(await berlin.call_tool("usage_summary", arguments)).startswith(sentence)


# Over time


async def points(installation: Installation, granularity: Granularity, zone: str, *days: str) -> list[Json]:
    first, last = (datetime.fromisoformat(day).date() for day in (days[0], days[-1]))
    async with ledger(installation) as store:
        found = await time_series(store, granularity, Period(first, last, ZoneInfo(zone)))
    return [point.model_dump() for point in found.points]


async def test_the_hours_of_a_day_of_25_are_told_apart(demo: Installation):
    first_two = at("2026-10-25T00:30")  # 2:30 in Berlin, and an hour later 2:30 again
    await record(demo, call("a", started_at=first_two), call("b", started_at=first_two + 3_600_000))
    found = await points(demo, "hourly", "Europe/Berlin", "2026-10-25")
    assert len(found) == 25
    assert {point["start"]: point["calls"] for point in found if point["calls"]} == {
        "2026-10-25T02:00:00+02:00": 1,
        "2026-10-25T02:00:00+01:00": 1,
    }


async def test_a_midnight_that_does_not_exist_begins_the_day_an_hour_later(demo: Installation):
    transition = at("2026-09-06T04:00")
    await record(demo, call("a", started_at=transition - 1), call("b", started_at=transition))
    found = await points(demo, "daily", "America/Santiago", "2026-09-05", "2026-09-06")
    assert [(point["start"], point["calls"]) for point in found] == [
        ("2026-09-05T00:00:00-04:00", 1),
        ("2026-09-06T01:00:00-03:00", 1),
    ]


async def test_days_in_kathmandu_begin_at_a_quarter_past(demo: Installation):
    midnight = at("2026-03-29T00:00", "Asia/Kathmandu")
    await record(demo, call("a", started_at=midnight - 1), call("b", started_at=midnight))
    found = await points(demo, "daily", "Asia/Kathmandu", "2026-03-28", "2026-03-29")
    assert [point["calls"] for point in found] == [1, 1]
    assert found[1]["start"] == "2026-03-29T00:00:00+05:45"


async def test_months_add_up_what_their_days_came_to(demo: Installation):
    await record(demo, *(spent(day, f"{day}T12:00") for day in ("2026-02-27", "2026-03-01", "2026-03-31")))
    found = await points(demo, "monthly", "Europe/Berlin", "2026-02-14", "2026-04-02")
    assert [(point["start"][:10], point["calls"], point["cost"]) for point in found] == [
        ("2026-02-14", 1, 0.001),
        ("2026-03-01", 2, 0.002),
        ("2026-04-01", 0, 0),
    ]


@pytest.mark.parametrize("granularity", ["hourly", "daily", "monthly"])
async def test_a_series_ends_with_now_and_adds_up_to_the_summary(demo: Installation, granularity: str):
    demo.configure({"usage_tracking": {"time_zone": "Asia/Kathmandu"}})
    now = int(datetime.now(UTC).timestamp() * 1000)
    await record(demo, call("a", started_at=now), call("b", started_at=now - 5 * 24 * 3_600_000))
    async with demo.client() as client:
        series = await read(client, f"usage://timeseries/{granularity}/7")
        summary = await read(client, "usage://summary/7")
    assert (series["granularity"], series["time_zone"]) == (granularity, "Asia/Kathmandu")
    assert sum(point["calls"] for point in series["points"]) == summary["total_calls"] == 2
    assert series["points"][-1]["calls"] >= 1


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("usage://timeseries/weekly/7", "'weekly' is not known there: give hourly, daily, monthly."),
        ("usage://timeseries/hourly/93", "'93' is no number of days: give a whole number from 1 to 92."),
        ("usage://timeseries/daily/3661", "'3661' is no number of days: give a whole number from 1 to 3660."),
        ("usage://timeseries/daily", "There is no resource 'usage://timeseries/daily'. Known: "),
        ("usage://savings/x", "'x' is no number of days: give a whole number from 1 to 3660."),
    ],
)
async def test_a_wrong_parameter_is_refused_with_a_sentence(demo: Installation, uri: str, sentence: str):
    async with demo.client() as client:
        with pytest.raises(MCPError) as raised:
            await read(client, uri)
    assert raised.value.message.startswith(sentence)


# What it might have cost


async def test_savings_say_what_the_calls_would_have_cost_elsewhere(demo: Installation):
    now = int(datetime.now(UTC).timestamp() * 1000)
    cached = {"cached": True, "started_at": now, "saved_nano_usd": 40_000}
    await record(
        demo,
        call("a", attempt(cost_nano_usd=1000), started_at=now, saved_nano_usd=9000),
        call("b", attempt(cost_nano_usd=3000), started_at=now, saved_nano_usd=7000),
        call("c", **cached),
        call("d", **cached, model="nobody else asked this one"),
    )
    async with demo.client() as client:
        found = await read(client, "usage://savings/1")
        summary = await read(client, "usage://summary/1")
    assert found["cost_usd"] == 4e-6
    assert found["on_complex_tier_usd"] == 100e-6
    assert found["without_cache_usd"] == 6e-6  # two calls cost 4, so one more would have cost 2
    assert (found["cached_calls"], found["cached_calls_unknown"]) == (2, 1)
    assert "compared_to" not in found
    assert (summary["saved_usd"], summary["cache_saved_usd"]) == (96e-6, 2e-6)


# In a terminal


async def test_the_command_line_says_what_the_tool_says(installation: Installation):
    await record(
        installation,
        spent("a", "2026-03-28T12:00", 3000, provider="fake", model="fake/small", tenant="acme"),
        spent("b", "2026-03-28T13:00", 4000, provider="fake", model="fake/small"),
    )
    options = ["--start", "2026-03-28", "--end", "2026-03-29", "--filter", "tenant=acme", "--group-by", "day"]
    ended = await installation.run("usage", *options, "--compared-to", "fake/large", "--json")
    found: Json = json.loads(ended.stdout)
    assert [(group["key"], group["calls"]) for group in found["groups"]] == [
        ("2026-03-28", 1),
        ("2026-03-29", 0),
    ]
    assert found["total_calls"] == 1
    assert found["savings"]["compared_to"] == "fake/large"
    assert found["savings"]["on_compared_usd"] == pytest.approx(10 * 100e-6 + 3 * 200e-6)


async def test_usage_can_be_asked_by_metadata(demo: Installation):
    await record(
        demo,
        spent("a", "2026-03-28T12:00", 3_000, metadata={"project": "site", "team": "web"}),
        spent("b", "2026-03-28T13:00", 4_000, metadata={"project": "shop", "team": "web"}, model="large"),
        spent("c", "2026-03-29T13:00", 5_000, cached=True),
    )
    async with demo.client() as client:
        found = await summary(client, group_by="metadata.project")
        web = await summary(client, group_by="day", filters={"metadata.team": "web"})
    assert [(group["key"], group["calls"], group["cost"]) for group in found["groups"]] == [
        ("", 1, 5e-6),
        ("shop", 1, 4e-6),
        ("site", 1, 3e-6),
    ]
    assert (found["total_calls"], found["cached_calls"], found["total_cost_usd"]) == (3, 1, 12e-6)
    assert [(group["key"], group["calls"]) for group in web["groups"]] == [
        ("2026-03-28", 2),
        ("2026-03-29", 0),
        ("2026-03-30", 0),
    ]
    assert web["model_breakdown"]["large"] == {"calls": 1, "tokens": 13, "cost": 4e-6}
    options = ["--start", "2026-03-28", "--group-by", "metadata.team", "--filter", "metadata.project=shop"]
    ended = await demo.run("usage", *options)
    lines = {line.split()[0]: line for line in ended.stdout.decode().splitlines() if line.strip()}
    assert "$0.000004" in lines["web"]
    assert "metadata.team" in lines


async def test_metadata_of_pruned_days_is_refused_with_the_first_day_that_is_left(demo: Installation):
    await record(demo, spent("a", "2026-03-28T12:00", metadata={"project": "site"}))
    assert (await demo.run("prune", "--keep-days", "30")).returncode == 0
    ended = await demo.run("usage", "--start", "2026-03-01", "--group-by", "metadata.project")
    assert ended.returncode == 1
    assert "Metadata is known of single calls only, and those before 20" in ended.stderr.decode()
    assert (await demo.run("usage", "--start", "2026-03-01", "--group-by", "day")).returncode == 0


async def test_the_table_has_a_bar_for_each_row_as_long_as_its_cost(installation: Installation):
    await record(
        installation,
        spent("a", "2026-03-28T12:00", 3_000_000_000, model="small"),
        spent("b", "2026-03-28T13:00", 1_500_000_000, model="[bold]large"),
    )
    ended = await installation.run("usage", "--start", "2026-03-28", "--compared-to", "fake/small")
    assert ended.returncode == 0, ended.stderr
    lines = {line.split()[0]: line for line in ended.stdout.decode().splitlines() if line.strip()}
    assert lines["small"].count("█") == 24
    assert lines["[bold]large"].count("█") == 12
    assert "$4.50" in lines["total"]
    assert "on fake/small" in ended.stdout.decode()


async def test_the_report_tells_failed_calls_from_cancelled_ones(demo: Installation):
    statuses = [CallStatus.FAILED, CallStatus.CANCELLED, CallStatus.CANCELLED]
    await record(
        demo, *(spent(str(n), "2026-03-28T12:00", status=status) for n, status in enumerate(statuses))
    )
    ended = await demo.run("usage", "--start", "2026-03-28", "--end", "2026-03-28")
    assert "· 1 failed · 2 cancelled ·" in " ".join(ended.stdout.decode().split())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--start", "2026-03-02", "--end", "2026-03-01"], "`start` 2026-03-02 comes after the last day"),
        (["--start", "soon"], "`start` must be a date from 1970 on"),
        (["--compared-to", "parrot-7b"], "There is no model 'parrot-7b'"),
        (["--compared-to", "nameless"], "Cannot compare with unpriced: no price is known for unpriced"),
        (["--group-by", "colour"], "`group_by` has 'colour', which is none of day, provider, "),
        (["--group-by", "metadata"], "`group_by` has 'metadata', which is none of day, provider"),
        (
            ["--group-by", 'metadata.a"b'],
            "`group_by` has a quotation mark, and no metadata key",
        ),
        (["--filter", "tenant"], "'tenant' is not of the form NAME=VALUE"),
        (["--filter", "tenant=a", "--filter", "tenant=b"], "'tenant' can have one value only."),
        (["--filter", "day=2026-03-28"], "`filters` has 'day', which is none of provider, model, "),
        (["--watch"], "--watch draws in a terminal"),
    ],
)
async def test_usage_that_cannot_be_shown_says_why(
    installation: Installation, options: list[str], sentence: str
):
    ended = await installation.run("usage", *options)
    assert ended.returncode == 2
    assert sentence in ended.stderr.decode()
    assert ended.stdout == b""


async def test_watching_shows_a_call_that_another_process_records(demo: Installation):
    demo.environ |= {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}  # a pipe that says it is a terminal
    async with demo.process("usage", "--watch") as command:
        await record(demo, call("a", started_at=at(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M"))))
        with anyio.fail_after(30):
            while b"small" not in command.stdout:
                command.stdout += await command.read()
        command.child.send_signal(signal.SIGINT)
        assert await command.ended(within=10) == 1
        assert "Traceback" not in command.stderr
