"""Answers that are served again."""

import pytest

from tests.fake_provider import FakeProvider, ok, status
from tests.routing.bench import (
    MARKS,
    only,
    running,
)
from tierwise.storage.ports import Store

pytestmark = MARKS

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
ETERNITY = 2**52


async def test_a_cache_hit_costs_nothing_and_records_what_it_saved(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", ok(usage=USAGE))
    async with running(fake, store) as bench:
        fresh, hit = await bench.ask(), await bench.ask()
        assert bench.upstream == ["standard"]
        assert bench.records[1].attempts == ()
        (row,) = await store.usage(start=0, end=ETERNITY)
    assert (hit.content, hit.model, hit.tier, hit.finish_reason) == (
        fresh.content,
        fresh.model,
        fresh.tier,
        fresh.finish_reason,
    )
    assert (hit.cached, hit.cost, hit.input_tokens, hit.output_tokens) == (True, 0, 0, 0)
    assert hit.saved == 1000 * 100_000 + 100 * 200_000
    assert (row.calls, row.cached_calls, row.cost_nano_usd) == (2, 1, fresh.cost)
    assert row.saved_nano_usd == (fresh.saved or 0) + hit.saved


async def test_a_cache_hit_of_the_best_model_saves_what_the_answer_had_cost(
    fake: FakeProvider, store: Store
) -> None:
    async with running(fake, store, routing=only("fake/standard")) as bench:
        fresh, hit = await bench.ask(), await bench.ask()
    assert fresh.saved == 0
    assert hit.saved == fresh.cost


async def test_an_answer_saves_what_its_provider_said_that_it_cost(fake: FakeProvider, store: Store) -> None:
    fake.always("standard", ok(usage={**USAGE, "cost": 0.25}))
    async with running(fake, store, routing=only("fake/standard")) as bench:
        fresh, hit = await bench.ask(), await bench.ask()
    assert (fresh.cost, fresh.saved) == (250_000_000, 0)
    assert (hit.cost, hit.saved) == (0, 250_000_000)


async def test_a_call_that_skips_the_cache_refreshes_it(fake: FakeProvider, store: Store) -> None:
    fake.next("standard", ok(content="old"), ok(content="new"))
    async with running(fake, store) as bench:
        answers = [
            await bench.ask(),
            await bench.ask(use_cache=False),
            await bench.ask(),
        ]
        assert len(bench.upstream) == 2
    assert [(answer.content, answer.cached) for answer in answers] == [
        ("old", False),
        ("new", False),
        ("new", True),
    ]


async def test_the_answer_of_a_fallback_is_found_again_when_its_model_is_reached_again(
    fake: FakeProvider, store: Store
) -> None:
    fake.always("standard", status(401))
    async with running(fake, store) as bench:
        await bench.ask()
        hit = await bench.ask()
        assert bench.upstream == ["standard", "peer", "standard"]
    assert (hit.cached, hit.model) == (True, "fake/peer")
    assert [attempt.outcome for attempt in hit.attempts] == ["authentication_failed"]


async def test_answers_outlive_the_engine(fake: FakeProvider, store: Store) -> None:
    for cached in (False, True):
        async with running(fake, store) as bench:
            assert (await bench.ask()).cached is cached


KEPT = [("stop", True), ("length", True), ("content_filter", False)]


@pytest.mark.parametrize(("finish_reason", "kept"), KEPT)
async def test_an_answer_that_a_filter_cut_short_is_not_cached(
    fake: FakeProvider, store: Store, finish_reason: str, kept: bool
) -> None:
    fake.always("standard", ok(finish_reason=finish_reason))
    async with running(fake, store) as bench:
        assert (await bench.ask()).finish_reason == finish_reason
        assert (await bench.ask()).cached is kept


@pytest.mark.parametrize("cache_ttl_ms", [None, 0])
async def test_with_the_cache_off_or_its_entries_expired_every_call_is_fresh(
    fake: FakeProvider, store: Store, cache_ttl_ms: int | None
) -> None:
    async with running(fake, store, cache_ttl_ms=cache_ttl_ms) as bench:
        assert [(await bench.ask()).cached for _ in range(2)] == [False, False]
        assert len(bench.upstream) == 2
