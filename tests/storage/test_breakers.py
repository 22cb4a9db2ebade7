"""How a circuit breaker changes, and what every store does with breakers."""

from dataclasses import replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.samples import DAY, NOON
from tierwise.storage.breakers import Breaker, BreakerState
from tierwise.storage.ports import MOST_BREAKERS, Store

COOLDOWN = 60_000
LEASE = 20_000
THRESHOLD = 5
CLOSED, OPEN, HALF_OPEN = BreakerState


def broken(now: int = NOON, failures: int = THRESHOLD) -> Breaker:
    breaker = Breaker(deployment="d")
    for _ in range(failures):
        breaker = fail(breaker, now)
    return breaker


def fail(breaker: Breaker, now: int, error: str = "timeout") -> Breaker:
    return breaker.failed(error, now=now, threshold=THRESHOLD, cooldown_ms=COOLDOWN)


# The state machine

instants = st.integers(0, 2**45)


def test_it_opens_with_the_failure_that_makes_it_as_many_as_allowed() -> None:
    assert broken(failures=THRESHOLD - 1).state(NOON) is CLOSED
    assert broken().state(NOON) is OPEN
    assert broken().wait_ms(NOON + 1000) == COOLDOWN - 1000


def test_after_the_cool_down_one_may_try_and_the_others_wait() -> None:
    breaker, later = broken(), NOON + COOLDOWN
    assert (breaker.state(later), breaker.wait_ms(later)) == (HALF_OPEN, 0)
    probed = breaker.probed(now=later, lease_ms=LEASE)
    assert (probed.state(later), probed.wait_ms(later)) == (HALF_OPEN, LEASE)


def test_a_try_that_fails_opens_it_for_another_cool_down() -> None:
    later = NOON + COOLDOWN
    failed = fail(broken().probed(now=later, lease_ms=LEASE), later + 10)
    assert (failed.failures, failed.state(later + 10)) == (THRESHOLD + 1, OPEN)
    assert failed.wait_ms(later + 10) == COOLDOWN


def test_a_call_that_began_before_it_opened_does_not_make_it_stay_open_for_longer() -> None:
    late = fail(broken(), NOON + COOLDOWN - 1)
    assert (late.failures, late.state(NOON + COOLDOWN)) == (THRESHOLD + 1, HALF_OPEN)


def test_whoever_tries_and_dies_is_waited_for_no_longer_than_its_lease() -> None:
    later = NOON + COOLDOWN
    probed = broken().probed(now=later, lease_ms=LEASE)
    assert probed.wait_ms(later + LEASE - 1) == 1
    assert probed.wait_ms(later + LEASE) == 0


def test_only_the_try_that_was_begun_is_given_back() -> None:
    later = NOON + COOLDOWN
    probed = broken().probed(now=later, lease_ms=LEASE)
    assert probed.released(probe_at=later).wait_ms(later) == 0
    assert probed.released(probe_at=later - 1) == probed


def test_an_open_one_can_be_half_opened_before_its_time_and_others_are_left_alone() -> None:
    assert broken().half_opened(now=NOON + 1).state(NOON + 1) is HALF_OPEN
    closed = broken(failures=1)
    assert closed.half_opened(now=NOON) == closed
    probed = broken().probed(now=NOON + COOLDOWN, lease_ms=LEASE)
    assert probed.half_opened(now=NOON + COOLDOWN) == probed


@given(opened=instants, now=instants)
def test_it_holds_nobody_back_for_longer_than_two_cool_downs_wherever_the_clock_jumps(
    opened: int, now: int
) -> None:
    breaker = broken(opened)
    wait = breaker.wait_ms(now)
    assert 0 <= wait <= 2 * COOLDOWN
    assert (breaker.state(now + wait), breaker.wait_ms(now + wait)) == (HALF_OPEN, 0)


@given(began=instants, now=instants)
def test_nor_does_a_try_for_longer_than_two_leases(began: int, now: int) -> None:
    # Clocks have jumped far from when it opened.
    probed = replace(broken(), opened_at=-(2**50)).probed(now=began, lease_ms=LEASE)
    wait = probed.wait_ms(now)
    assert 0 <= wait <= 2 * LEASE
    assert probed.wait_ms(now + wait) == 0


@given(st.lists(st.sampled_from(["fail", "try", "give back"]) | st.integers(0, 2 * COOLDOWN), max_size=30))
def test_whatever_happens_it_is_never_open_before_enough_failures_and_one_at_most_tries(
    events: list[str | int],
) -> None:
    breaker, now = Breaker(deployment="d"), NOON
    trying: set[int] = set()
    for event in events:
        if isinstance(event, int):
            now += event
            trying = {began for began in trying if now - began < LEASE}
        elif event == "fail":
            before = breaker.state(now)
            breaker = fail(breaker, now)
            # From half-open every failure leads back, from closed the last that is allowed.
            assert (breaker.state(now) is OPEN) == (before is not CLOSED or breaker.failures >= THRESHOLD)
            trying = trying if before is OPEN else set[int]()
        elif event == "try" and breaker.state(now) is HALF_OPEN and not breaker.wait_ms(now):
            assert not trying
            breaker = breaker.probed(now=now, lease_ms=LEASE)
            trying = {now}
        elif event == "give back" and breaker.probe_at is not None:
            trying -= {breaker.probe_at}
            breaker = breaker.released(probe_at=breaker.probe_at)
        assert (breaker.opened_at is not None) == (breaker.failures >= THRESHOLD)


# Stores


async def note(store: Store, name: str = "d", now: int = NOON, error: str = "timeout") -> Breaker:
    return await store.note_failure(name, error, now=now, threshold=THRESHOLD, cooldown_ms=COOLDOWN)


async def open_one(store: Store, name: str = "d") -> None:
    for _ in range(THRESHOLD):
        await note(store, name)


async def claim(store: Store, now: int, name: str = "d") -> bool:
    return await store.claim_probe(name, now=now, lease_ms=LEASE)


@pytest.mark.anyio
async def test_failures_are_counted_for_each_deployment_and_read_with_the_latest_first(store: Store) -> None:
    assert await store.breakers() == []
    await note(store, "a", NOON - 2)
    second = await note(store, "a", NOON - 1, "server_failed")
    other = await note(store, "b at http://127.0.0.1:9/v1", NOON)
    assert (second.failures, second.error, second.failed_at) == (2, "server_failed", NOON - 1)
    assert await store.breakers() == [other, second]


@pytest.mark.anyio
async def test_failures_at_once_are_all_counted(store: Store) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(note, store)
    [breaker] = await store.breakers()
    assert (breaker.failures, breaker.opened_at) == (20, NOON)


@pytest.mark.anyio
async def test_a_success_closes_a_breaker_and_forgets_its_failures(store: Store) -> None:
    await open_one(store)
    await store.note_success("d")
    await store.note_success("never failed")
    assert await store.breakers() == []
    assert (await note(store)).failures == 1


@pytest.mark.anyio
async def test_one_probe_is_granted_after_the_cool_down_and_none_before_it(store: Store) -> None:
    await open_one(store)
    later = NOON + COOLDOWN
    assert not await claim(store, later - 1)
    assert await claim(store, later)
    assert not await claim(store, later)
    await store.release_probe("d", probe_at=later)
    assert await claim(store, later + 1)
    await store.release_probe("d", probe_at=later)  # by somebody who is late
    assert not await claim(store, later + 1)
    assert await claim(store, later + 1 + LEASE)


@pytest.mark.anyio
async def test_a_closed_breaker_lets_everybody_through(store: Store) -> None:
    await note(store)
    assert [await claim(store, NOON), await claim(store, NOON), await claim(store, NOON, "other")] == [
        True
    ] * 3
    assert (await store.breakers())[0].probe_at is None


@pytest.mark.anyio
async def test_a_failed_probe_frees_the_way_for_the_next_one_after_another_cool_down(store: Store) -> None:
    await open_one(store)
    later = NOON + COOLDOWN
    assert await claim(store, later)
    await note(store, now=later + 5)
    assert not await claim(store, later + 5 + COOLDOWN - 1)
    assert await claim(store, later + 5 + COOLDOWN)


@pytest.mark.anyio
async def test_a_breaker_can_be_half_opened_before_its_time(store: Store) -> None:
    await store.half_open("never failed", now=NOON)
    await open_one(store)
    await store.half_open("d", now=NOON + 1)
    assert await claim(store, NOON + 1)


@pytest.mark.anyio
async def test_a_day_after_its_last_failure_a_breaker_is_forgotten(store: Store) -> None:
    await open_one(store, "old")
    await note(store, "young", NOON + 1)
    await note(store, "new", NOON + DAY)
    assert {breaker.deployment for breaker in await store.breakers()} == {"young", "new"}


@pytest.mark.anyio
async def test_no_more_are_read_than_a_process_can_keep_in_mind(store: Store) -> None:
    for number in range(MOST_BREAKERS + 5):
        await note(store, f"made up {number}", NOON + number)
    found = await store.breakers()
    assert len(found) == MOST_BREAKERS
    assert found[0].deployment == f"made up {MOST_BREAKERS + 4}"


@pytest.mark.anyio
async def test_names_that_are_no_proper_text_are_kept_all_the_same(store: Store) -> None:
    await note(store, "half of a pair \ud800")
    await store.note_success("half of a pair \ud800")
    assert await store.breakers() == []
