"""The older JSON usage file: taken over whole, once, or not at all."""

import json
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.books import ledger
from tests.server.harness import Installation, Json, structured
from tierwise.server.usage_file import Total, UsageFile, calls_of

pytestmark = pytest.mark.anyio


def session(timestamp: str, model: str = "claude-haiku-5-5", **changes: Any) -> Json:
    values: Json = {
        "timestamp": timestamp,
        "model": model,
        "provider": "anthropic",
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "cost_usd": 0.003,
        "latency_ms": 800.5,
        "operation": "chat",
        "metadata": {},
    }
    return values | changes


def total(tokens: int, cost: float, calls: int) -> Json:
    return {"tokens": tokens, "cost": cost, "calls": calls}


USAGE: Json = {
    "sessions": [
        session("2026-03-28T23:30:00.123456"),
        session("2026-03-28T23:30:00.123456"),
        session("2026-03-29T10:00:00", "gpt-6-luna", cost_usd=0.5, operation="review"),
    ],
    "daily_totals": {
        "2026-03-27": total(5000, 1.2, 10),
        "2026-03-28": total(1240, 0.106, 5),
        "2026-03-29": total(120, 0.5, 1),
    },
    "model_breakdown": {
        "claude-haiku-5-5": total(3240, 0.506, 9),
        "gpt-6-luna": total(3120, 1.3, 7),
    },
    "provider_breakdown": {"anthropic": total(3240, 0.506, 9), "openai": total(3120, 1.3, 7)},
    "last_updated": "2026-03-29T10:00:01",
}


@pytest.fixture
def path(demo: Installation) -> Path:
    demo.configure({"usage_tracking": {"time_zone": "Europe/Berlin"}})
    file = demo.folder / "usage.json"
    file.write_text(json.dumps(USAGE, indent=2))
    return file


async def summary(demo: Installation, **arguments: Any) -> Json:
    async with demo.client() as client:
        found = await client.call_tool(
            "usage_summary", {"start": "2026-03-01", "end": "2026-03-31", **arguments}
        )
        return structured(found)


async def test_the_sums_by_day_model_and_provider_come_out_as_they_were(demo: Installation, path: Path):
    ended = await demo.run("import", str(path))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.decode() == f"Imported 7 calls from {path}.\n"
    found = await summary(demo, group_by="day")
    days = {group["key"]: (group["tokens"], group["cost"]) for group in found["groups"] if group["calls"]}
    assert days == {"2026-03-27": (5000, 1.2), "2026-03-28": (1240, 0.106), "2026-03-29": (120, 0.5)}
    models = found["model_breakdown"]
    assert (models["claude-haiku-5-5"]["tokens"], models["claude-haiku-5-5"]["cost"]) == (3240, 0.506)
    assert (models["gpt-6-luna"]["tokens"], models["gpt-6-luna"]["cost"]) == (3120, 1.3)
    assert set(found["provider_breakdown"]) == {"anthropic", "openai"}


async def test_sessions_become_calls_and_the_rest_says_for_how_many_it_stands(demo: Installation, path: Path):
    await demo.run("import", str(path))
    async with ledger(demo) as store:
        calls = [call async for batch in store.export_calls(start=0, end=2**50) for call in batch]
    ones = [call for call in calls if "operation" in call.metadata]
    assert [call.metadata["operation"] for call in ones] == ["chat", "chat", "review"]
    assert ones[0].latency_ms == 800.5
    assert {call.operation for call in calls} == {"imported"}
    assert len(ones) + sum(int(call.metadata.get("calls", 0)) for call in calls) == 16


async def test_importing_twice_counts_once_even_after_pruning(demo: Installation, path: Path):
    await demo.run("import", str(path))
    before = await summary(demo)
    for _ in range(2):
        ended = await demo.run("import", str(path))
        assert (ended.returncode, ended.stdout.decode()) == (0, f"{path} is in the ledger already.\n")
        async with ledger(demo) as store:
            await store.prune(before=2**45)
    assert await summary(demo) == before


async def test_another_state_of_the_file_is_refused_whole(demo: Installation, path: Path):
    await demo.run("import", str(path))
    before = await summary(demo)
    grown = USAGE | {"sessions": [*USAGE["sessions"], session("2026-03-29T11:00:00")]}
    path.write_text(json.dumps(grown))
    ended = await demo.run("import", str(path))
    assert ended.returncode == 1
    assert ended.stderr.startswith(b"Error: Nothing was imported: the ledger holds other imported calls")
    assert await summary(demo) == before


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
async def test_a_file_that_is_cut_off_imports_nothing(demo: Installation, path: Path, kept: float):
    text = path.read_text()
    path.write_text(text[: int(len(text) * kept)])
    ended = await demo.run("import", str(path))
    assert ended.returncode == 1
    assert ended.stderr.decode().startswith(f"Error: Nothing was imported from {path}: it is no whole JSON")
    assert (await summary(demo))["total_calls"] == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sessions": [session("2026-03-28T10:00:00", input_tokens=-1)]}, "sessions.0.input_tokens: "),
        ({"sessions": [session("2026-03-28T10:00:00", cost_usd=1e9)]}, "sessions.0.cost_usd: "),
        ({"daily_totals": {"2026-03-28": total(1, -1, 1)}}, "daily_totals.2026-03-28.cost: "),
        ({"sessions": [session("yesterday")]}, "sessions.0.timestamp: "),
        ({"sessions": [session("2026-03-28T10:00:00", cost_usd=float("nan"))]}, "sessions.0.cost_usd: "),
        ({"daily_totals": {"28.3.2026": total(1, 1, 1)}}, "daily_totals.28.3.2026"),
        ({"daily_totals": {"2026-03-28": {"tokens": "many"}}}, "daily_totals.2026-03-28.tokens: "),
        ({"model_breakdown": []}, "model_breakdown: "),
    ],
)
async def test_a_file_that_is_wrong_somewhere_imports_nothing_and_says_where(
    demo: Installation, path: Path, changes: Json, sentence: str
):
    path.write_text(json.dumps(USAGE | changes))
    ended = await demo.run("import", str(path))
    assert ended.returncode == 1
    assert ended.stderr.decode().startswith(f"Error: Nothing was imported from {path}: {sentence}")
    assert (await summary(demo))["total_calls"] == 0


async def test_a_file_that_is_not_there_is_named(demo: Installation):
    ended = await demo.run("import", "nowhere.json")
    assert ended.returncode == 1
    assert ended.stderr == b"Error: Cannot read nowhere.json: No such file or directory.\n"


TOTALS = st.builds(
    Total, tokens=st.integers(0, 10**6), cost=st.floats(0, 100).map(lambda cost: round(cost, 6)),
    calls=st.integers(1, 1000),
)  # fmt: skip


@given(
    days=st.dictionaries(st.dates(date(2024, 1, 1), date(2026, 1, 1)), TOTALS, max_size=6),
    models=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), TOTALS, max_size=4),
)
def test_whatever_the_totals_are_each_day_keeps_its_sums(days: dict[date, Total], models: dict[str, Total]):
    file = UsageFile(sessions=[], daily_totals=days, model_breakdown=models, provider_breakdown={})
    calls = calls_of(file, ZoneInfo("UTC"), lambda model: "somebody")
    assert sum(int(call.metadata["calls"]) for call in calls) == sum(total.calls for total in days.values())
    assert sum(call.input_tokens for call in calls) == sum(total.tokens for total in days.values())
    cost = sum(call.cost_nano_usd or 0 for call in calls) / 1e9
    assert cost == pytest.approx(sum(total.cost for total in days.values()))
    assert len({call.call_id for call in calls}) == len(calls)
