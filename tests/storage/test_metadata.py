"""What every store says of calls by their metadata: reckoned from the calls, and exact all the same."""

import random
from collections.abc import Sequence
from itertools import combinations

import pytest

from tests.storage.samples import DAY, HOUR, MIDNIGHT, NOON, QUARTER, attempt, call
from tierwise.storage.errors import CallsPruned
from tierwise.storage.ports import Store
from tierwise.storage.records import Attribute, CallRecord, CallStatus, Dimension, Filters, MetadataKey

pytestmark = pytest.mark.anyio

PROJECT, TEAM = MetadataKey("project"), MetadataKey("team")
START, END = MIDNIGHT - 3 * DAY, MIDNIGHT + 3 * DAY
NOBODY_HAS_IT = MetadataKey("")
"""So that an empty value of it filters nothing, and the calls must be read all the same."""


@pytest.fixture
async def busy(store: Store) -> Store:
    """A store of 80 calls with everything in which calls differ, over six days."""
    chance = random.Random(7)  # noqa: S311
    for number in range(80):
        models = [chance.choice(["small", "large"]) for _ in range(chance.randrange(3))]
        costs = [chance.choice([None, number, number * 1_000]) for _ in models]
        tried = [attempt(model=model, cost_nano_usd=cost) for model, cost in zip(models, costs, strict=True)]
        await store.record(
            call(
                str(number),
                *tried,
                started_at=MIDNIGHT + chance.randrange(-3 * DAY, 3 * DAY),
                model=chance.choice(["small", "large"]),
                tenant=chance.choice(["acme", ""]),
                status=chance.choice(list(CallStatus)),
                cached=chance.random() < 0.2,
                saved_nano_usd=chance.choice([None, -5, 10**6]),
                metadata={"project": chance.choice("ab")} if number % 3 else {},
            )
        )
    return store


def attribute(name: str) -> Attribute:
    """The dimension of that name, or the key of metadata."""
    return Dimension(name) if name in set(Dimension) else MetadataKey(name)


async def costs(store: Store, *group_by: Attribute, **filters: str) -> dict[tuple[str, ...], int]:
    """Cost by group, where `filters` are of metadata."""
    given: Filters = {MetadataKey(name): value for name, value in filters.items()}
    rows = await store.usage(start=NOON, end=NOON + QUARTER, group_by=group_by, filters=given)
    return {row.key: row.cost_nano_usd for row in rows}


async def test_calls_can_be_grouped_by_a_key_of_their_metadata(store: Store) -> None:
    for number, metadata in enumerate([{"project": "a"}, {"project": "b", "team": "x"}, {"team": "x"}, {}]):
        await store.record(call(str(number), attempt(cost_nano_usd=10**number), metadata=metadata))
    assert await costs(store, PROJECT) == {("",): 1_100, ("b",): 10, ("a",): 1}
    assert await costs(store, TEAM, PROJECT) == {
        ("", ""): 1_000,
        ("x", ""): 100,
        ("x", "b"): 10,
        ("", "a"): 1,
    }
    assert await costs(store, Dimension.MODEL, TEAM) == {("small", ""): 1_001, ("small", "x"): 110}
    assert await costs(store, project="b") == {(): 10}
    assert await costs(store, project="") == {(): 1_100}
    assert await costs(store, TEAM, project="b", team="x") == {("x",): 10}
    assert await costs(store, project="c") == {(): 0}
    assert await costs(store, PROJECT, project="c") == {}


ATTRIBUTES = (Dimension.MODEL, Dimension.PROVIDER, Dimension.TENANT)
GROUPINGS = [chosen for size in range(3) for chosen in combinations(ATTRIBUTES, size)]


@pytest.mark.parametrize("group_by", GROUPINGS, ids=str)
@pytest.mark.parametrize("filters", [{}, {Dimension.MODEL: "large"}, {Dimension.TENANT: "acme"}], ids=str)
async def test_sums_from_the_calls_are_those_of_the_roll_up(
    busy: Store, group_by: Sequence[Dimension], filters: dict[Attribute, str]
) -> None:
    bounds = [MIDNIGHT - 3 * DAY, MIDNIGHT - DAY, MIDNIGHT - DAY, MIDNIGHT + HOUR, MIDNIGHT + 3 * DAY]
    summed_up = await busy.usage_series(bounds, group_by=group_by, filters=filters)
    from_calls = await busy.usage_series(bounds, group_by=group_by, filters=filters | {NOBODY_HAS_IT: ""})
    assert from_calls == summed_up


async def test_what_the_values_of_a_key_come_to_adds_up_to_everything(busy: Store) -> None:
    [total] = await busy.usage(start=START, end=END)
    groups = await busy.usage(start=START, end=END, group_by=[PROJECT])
    assert {row.key for row in groups} == {("",), ("a",), ("b",)}
    assert sum(row.calls for row in groups) == total.calls == 80
    assert sum(row.cost_nano_usd for row in groups) == total.cost_nano_usd
    for row in groups:
        [alone] = await busy.usage(start=START, end=END, filters={PROJECT: row.key[0]})
        assert (alone.calls, alone.cost_nano_usd, alone.saved_nano_usd, alone.cancelled_calls) == (
            row.calls,
            row.cost_nano_usd,
            row.saved_nano_usd,
            row.cancelled_calls,
        )


ODD = [
    "'; DROP TABLE calls; --",
    "project') OR 1=1 --",
    "$.project",
    "a.b[0]",
    "back\\slash",
    "ünï ☕ 😀",
    "tab\tand\nline",
    "%_*?",
    "",
    "half a pair \ud800",
    "NUL \0 within",
    ":number",
    "{n}",
]


@pytest.mark.parametrize("odd", ODD)
async def test_keys_and_values_may_hold_any_text(store: Store, odd: str) -> None:
    await store.record(call("a", attempt(cost_nano_usd=1), metadata={odd: odd or "x", "project": odd}))
    await store.record(call("b", attempt(cost_nano_usd=10), metadata={"project": "other"}))
    assert await costs(store, **{odd: odd or "x"}) == {(): 1}
    assert await costs(store, **{odd: "something else"}) == {(): 0}
    assert await costs(store, project=odd) == {(): 1}
    assert len(await costs(store, MetadataKey(odd), PROJECT)) == 2


async def test_a_value_may_hold_quotation_marks_and_look_like_another_pair(store: Store) -> None:
    await store.record(call("a", attempt(cost_nano_usd=1), metadata={"note": '","project":"x'}))
    await store.record(call("b", attempt(cost_nano_usd=10), metadata={'a"project': "x"}))
    await store.record(call("c", attempt(cost_nano_usd=100), metadata={"project": "x"}))
    assert await costs(store, project="x") == {(): 100}
    assert await costs(store, note='","project":"x') == {(): 1}
    with pytest.raises(ValueError, match="quotation mark"):
        MetadataKey('a"project')


async def test_metadata_of_calls_that_were_deleted_is_not_summed_up_in_part(busy: Store) -> None:
    await busy.prune(before=MIDNIGHT - DAY)
    with pytest.raises(CallsPruned, match=r"before 2026-11-17 \(UTC\) were deleted"):
        await busy.usage(start=START, end=END, group_by=[PROJECT])
    assert await busy.usage(start=MIDNIGHT - DAY, end=MIDNIGHT + DAY, group_by=[PROJECT])
    [total] = await busy.usage(start=START, end=END)
    assert total.calls == 80


async def test_where_no_call_was_deleted_pruning_bars_nothing(store: Store) -> None:
    await store.record(call("a", attempt(), metadata={"project": "x"}))
    await store.prune(before=MIDNIGHT)
    assert [row.key for row in await store.usage(start=0, end=NOON + HOUR, group_by=[PROJECT])] == [("x",)]


async def test_a_series_by_metadata_has_zeros_where_nothing_happened(store: Store) -> None:
    await store.record(call("a", attempt(), metadata={"project": "x"}))
    hours = [NOON - HOUR, NOON, NOON + HOUR]
    series = await store.usage_series(hours, filters={PROJECT: "x"})
    assert [[row.calls for row in rows] for rows in series] == [[0], [1]]
    assert await store.usage_series([NOON], filters={PROJECT: "x"}) == []
    assert await store.usage_series([], filters={PROJECT: "x"}) == []


async def test_an_export_can_be_filtered_by_any_attribute(busy: Store) -> None:
    async def exported(**filters: str) -> list[CallRecord]:
        given = {attribute(name): value for name, value in filters.items()}
        batches = busy.export_calls(start=0, end=MIDNIGHT + 3 * DAY, filters=given, batch=7)
        return [one async for calls in batches for one in calls]

    everything = await exported()
    assert len(everything) == 80
    assert await exported(project="a") == [it for it in everything if it.metadata.get("project") == "a"]
    assert await exported(project="") == [it for it in everything if not it.metadata]
    assert await exported(model="large") == [it for it in everything if it.model == "large"]
    both = [it for it in everything if it.tenant == "acme" and it.metadata.get("project") == "b"]
    assert await exported(tenant="acme", project="b") == both
    assert 0 < len(both) < 40
