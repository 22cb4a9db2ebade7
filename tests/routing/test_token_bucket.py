"""What a token bucket lets through, whatever is asked of it and when."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.reliability.token_bucket import TokenBucket, per_minute

amounts = st.floats(0.1, 1000)
pauses = st.floats(0, 120)


@st.composite
def drawn_bucket(draw: st.DrawFn) -> TokenBucket:
    capacity, share = draw(st.floats(1, 1000)), draw(st.floats(-2, 1))
    per_second = draw(st.floats(0.01, 100))
    return TokenBucket(capacity=capacity, per_second=per_second, level=capacity * share, at=0)


buckets = drawn_bucket()


@given(buckets, st.lists(st.tuples(pauses, amounts), max_size=30))
def test_no_more_goes_through_than_the_bucket_held_and_what_has_run_in_since(
    bucket: TokenBucket, asked: list[tuple[float, float]]
) -> None:
    start, now, gone = bucket, 0.0, 0.0
    for pause, amount in asked:
        now += pause
        if amount <= bucket.capacity and bucket.delay(amount, now) == 0:
            bucket = bucket.take(amount, now)
            gone += amount
    held = max(start.level, 0) if gone else gone
    assert gone <= held + now * start.per_second + start.capacity * 1e-6


@given(buckets, amounts, pauses)
def test_what_has_to_wait_may_go_after_its_delay_and_not_much_before(
    bucket: TokenBucket, amount: float, now: float
) -> None:
    delay = bucket.delay(amount, now)
    assert bucket.delay(amount, now + delay * (1 + 1e-9)) == pytest.approx(0, abs=1e-6)
    if delay > 1e-3:
        assert bucket.delay(amount, now + delay * 0.99) > 0


@given(buckets, amounts, pauses)
def test_what_is_given_back_at_once_leaves_the_bucket_as_it_was(
    bucket: TokenBucket, amount: float, now: float
) -> None:
    returned = bucket.take(amount, now).take(-amount, now)
    assert returned.level_at(now) == pytest.approx(bucket.level_at(now), abs=1e-6)


@given(buckets, st.floats(0, 1000), pauses)
def test_a_bucket_never_holds_more_than_its_capacity(
    bucket: TokenBucket, returned: float, now: float
) -> None:
    assert bucket.take(-returned, now).level_at(now + 1e6) <= bucket.capacity


def test_a_minute_s_worth_goes_at_once_and_the_rest_evenly() -> None:
    bucket = per_minute(60, now=0)
    for _ in range(60):
        assert bucket.delay(1, 0) == 0
        bucket = bucket.take(1, 0)
    assert bucket.delay(1, 0) == pytest.approx(1)
    assert bucket.delay(1, 1) == 0


def test_more_than_the_capacity_goes_once_the_bucket_is_full_and_is_paid_off_later() -> None:
    bucket = per_minute(60, now=0)
    assert bucket.delay(90, 0) == 0
    assert bucket.take(90, 0).delay(1, 0) == pytest.approx(31)


def test_what_nothing_refills_never_comes() -> None:
    empty = TokenBucket(capacity=1, per_second=0, level=0, at=0)
    assert empty.delay(1, 1e9) == inf


def test_a_clock_that_goes_back_fills_nothing() -> None:
    bucket = per_minute(60, now=100).take(60, 100)
    assert bucket.level_at(50) == 0
    assert bucket.take(1, 50).level_at(100) == -1
