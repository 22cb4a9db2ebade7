"""What every store says of usage by more dimensions, with filters, and over time."""

import random
from itertools import pairwise

import pytest

from tests.storage.samples import DAY, HOUR, MIDNIGHT, NOON, QUARTER, attempt, call
from tierwise.storage.ports import Store
from tierwise.storage.records import Dimension

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store_of_two(store: Store) -> Store:
    for number, (tenant, agent) in enumerate([("acme", "bot"), ("acme", ""), ("", "bot"), ("", "")]):
        fields = {"tenant": tenant, "agent": agent, "tier": "complex" if tenant else "simple"}
        await store.record(call(str(number), attempt(cost_nano_usd=10**number), **fields))
    return store


async def cost(store: Store, **filters: str) -> int:
    given = {Dimension(name): value for name, value in filters.items()}
    [row] = await store.usage(start=NOON, end=NOON + QUARTER, filters=given)
    return row.cost_nano_usd


async def test_usage_can_be_grouped_by_tenant_and_agent(store_of_two: Store) -> None:
    rows = await store_of_two.usage(
        start=NOON, end=NOON + QUARTER, group_by=[Dimension.AGENT, Dimension.TENANT]
    )
    assert {row.key: (row.calls, row.cost_nano_usd) for row in rows} == {
        ("bot", "acme"): (1, 1),
        ("", "acme"): (1, 10),
        ("bot", ""): (1, 100),
        ("", ""): (1, 1_000),
    }


async def test_usage_can_be_filtered_by_any_dimensions(store_of_two: Store) -> None:
    assert await cost(store_of_two, tenant="acme") == 11
    assert await cost(store_of_two, tenant="", agent="bot") == 100
    assert await cost(store_of_two, tier="simple", agent="") == 1_000
    assert await cost(store_of_two, model="small", provider="openai", operation="chat") == 1_111
    assert await cost(store_of_two, tenant="nobody") == 0


async def test_groups_and_filters_go_together(store_of_two: Store) -> None:
    rows = await store_of_two.usage(
        start=NOON,
        end=NOON + QUARTER,
        group_by=[Dimension.AGENT],
        filters={Dimension.TENANT: "acme"},
    )
    assert [(row.key, row.cost_nano_usd) for row in rows] == [(("",), 10), (("bot",), 1)]


@pytest.mark.parametrize("odd", ["'; DROP TABLE usage; --", "half a pair \ud800", "NUL \0", "%"])
async def test_a_filter_may_hold_any_text(store: Store, odd: str) -> None:
    await store.record(call("a", attempt(), tenant=odd))
    await store.record(call("b", attempt()))
    assert await cost(store, tenant=odd) == 700


async def test_a_series_has_zeros_where_nothing_happened(store: Store) -> None:
    await store.record(call("a", attempt(), started_at=NOON))
    await store.record(call("b", attempt(), started_at=NOON + 2 * HOUR))
    hours = [NOON + number * HOUR for number in range(-1, 4)]
    series = await store.usage_series(hours)
    assert [[row.calls for row in rows] for rows in series] == [[0], [1], [0], [1]]
    assert [row.key for rows in series for row in rows] == [()] * 4
    assert await store.usage_series([NOON]) == []
    assert await store.usage_series([]) == []


async def test_a_series_in_groups_has_no_row_where_nothing_happened(store: Store) -> None:
    await store.record(call("a", attempt(cost_nano_usd=1)))
    await store.record(call("b", attempt(cost_nano_usd=2), tenant="acme"))
    series = await store.usage_series([NOON - HOUR, NOON, NOON + HOUR], group_by=[Dimension.TENANT])
    assert [[row.key for row in rows] for rows in series] == [[], [("acme",), ("",)]]
    filtered = await store.usage_series([NOON - HOUR, NOON, NOON + HOUR], filters={Dimension.TENANT: "acme"})
    assert [[row.cost_nano_usd for row in rows] for rows in filtered] == [[0], [2]]


@pytest.mark.parametrize("seed", range(5))
async def test_sums_are_exact_whatever_the_length_and_place_of_the_intervals(store: Store, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    starts = [MIDNIGHT + chance.randrange(-3 * DAY, 3 * DAY) for _ in range(60)]
    for number, started_at in enumerate(starts):
        await store.record(call(str(number), attempt(cost_nano_usd=number), started_at=started_at))
    bounds = sorted(MIDNIGHT + chance.randrange(-300, 300) * QUARTER for _ in range(25))
    expected = [
        sum(number for number, started_at in enumerate(starts) if start <= started_at < end)
        for start, end in pairwise(bounds)
    ]
    series = await store.usage_series(bounds)
    assert [row.cost_nano_usd for rows in series for row in rows] == expected
    [whole] = await store.usage(start=bounds[0], end=bounds[-1])
    assert whole.cost_nano_usd == sum(expected)


async def test_hours_of_a_zone_off_by_45_minutes_are_exact(store: Store) -> None:
    for number in range(8):
        await store.record(call(str(number), started_at=NOON + number * QUARTER))
    bounds = [NOON - QUARTER, NOON + 3 * QUARTER, NOON + 7 * QUARTER]
    assert [rows[0].calls for rows in await store.usage_series(bounds)] == [3, 4]
