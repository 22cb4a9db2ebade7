"""How long a deployment has to be left alone, by the settings and by its own word."""

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.catalog.models import Model
from tierwise.routing.providers.base import Quota, RateStatus
from tierwise.routing.reliability.rate_limits import RateLimits
from tierwise.routing.reliability_settings import RateLimitSettings

SMALL, LARGE = (Model(id=f"fake/{name}", provider="fake", name=name) for name in ("small", "large"))
OTHER = Model(id="other/small", provider="other", name="small")
AFAR = Model(id="fake/small", provider="fake", name="small", api_base="http://127.0.0.1:1/v1")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limits(clock: Clock, **by_name: RateLimitSettings) -> RateLimits:
    return RateLimits({name.replace("_", "/"): limit for name, limit in by_name.items()}, clock)


def per_minute(requests: int | None = None, tokens: int | None = None) -> RateLimitSettings:
    return RateLimitSettings(requests_per_minute=requests, tokens_per_minute=tokens)


def test_without_limits_nothing_waits(clock: Clock) -> None:
    rates = limits(clock)
    for _ in range(1000):
        assert rates.delay(SMALL, 10**9) == 0
        rates.take(SMALL, 10**9)


def test_a_model_s_limit_is_its_own_and_a_provider_s_is_that_of_all_its_models(clock: Clock) -> None:
    rates = limits(clock, fake_small=per_minute(2), fake=per_minute(3))
    for _ in range(2):
        assert rates.delay(SMALL, 1) == 0
        rates.take(SMALL, 1)
    assert rates.delay(SMALL, 1) == pytest.approx(30)
    assert rates.delay(LARGE, 1) == 0
    rates.take(LARGE, 1)
    assert rates.delay(LARGE, 1) == pytest.approx(20)
    assert rates.delay(OTHER, 1) == 0


def test_tokens_are_estimated_first_and_corrected_later(clock: Clock) -> None:
    rates = limits(clock, fake_small=per_minute(tokens=600))
    taken = rates.take(SMALL, 100)
    assert rates.delay(SMALL, 500) == 0
    rates.correct(taken, 700)
    assert rates.delay(SMALL, 100) == pytest.approx(20)
    rates.correct(taken, 700)  # were it told twice it would count twice: who calls sees to that
    clock.now += 3600
    assert rates.delay(SMALL, 600) == 0


def test_what_was_not_sent_does_not_count(clock: Clock) -> None:
    rates = limits(clock, fake_small=per_minute(1, 100))
    taken = rates.take(SMALL, 100)
    assert rates.delay(SMALL, 1) > 0
    rates.give_back(taken)
    assert rates.delay(SMALL, 100) == 0


def told(remaining: float, limit: float | None = 60, reset: float | None = 60) -> RateStatus:
    return RateStatus(requests=Quota(remaining=remaining, limit=limit, reset=reset))


def test_a_provider_that_says_that_nothing_is_left_is_left_alone_until_something_is(clock: Clock) -> None:
    rates = limits(clock)
    rates.learn(rates.take(SMALL, 1), told(0))
    assert rates.delay(SMALL, 1) == pytest.approx(1)
    assert rates.delay(AFAR, 1) == rates.delay(LARGE, 1) == 0
    clock.now += 1
    assert rates.delay(SMALL, 1) == 0


def test_what_was_sent_meanwhile_is_taken_off_what_the_provider_says_is_left(clock: Clock) -> None:
    rates = limits(clock)
    rates.learn(rates.take(SMALL, 1), told(50))
    early = rates.take(SMALL, 1)
    for _ in range(4):
        rates.take(SMALL, 1)
    rates.learn(early, told(4, reset=56))
    assert rates.delay(SMALL, 1) == pytest.approx(1)


def test_the_stricter_of_the_settings_and_the_provider_counts(clock: Clock) -> None:
    rates = limits(clock, fake_small=per_minute(1))
    rates.learn(rates.take(SMALL, 1), told(59, reset=1))
    assert rates.delay(SMALL, 1) == pytest.approx(60)


def test_a_limit_that_is_not_told_whole_is_taken_for_one_of_a_minute(clock: Clock) -> None:
    rates = limits(clock)
    rates.learn(rates.take(SMALL, 1), told(0, limit=None, reset=None))
    assert 0 < rates.delay(SMALL, 1) <= 60


def test_a_refusal_keeps_everybody_away_for_as_long_as_it_says(clock: Clock) -> None:
    rates = limits(clock)
    rates.block(SMALL, 30)
    rates.block(SMALL, 10)
    assert rates.delay(SMALL, 1) == 30
    clock.now += 30
    assert rates.delay(SMALL, 1) == 0


@given(
    st.floats(0, 1e30),
    st.one_of(st.none(), st.floats(0, 1e30)),
    st.one_of(st.none(), st.floats(0, 1e30)),
    st.integers(0, 10**9),
)
def test_whatever_a_provider_says_it_is_asked_again_within_the_hour(
    remaining: float, limit: float | None, reset: float | None, tokens: int
) -> None:
    clock = Clock()
    rates = limits(clock)
    quota = Quota(remaining=remaining, limit=limit, reset=reset)
    rates.learn(rates.take(SMALL, tokens), RateStatus(requests=quota, tokens=quota))
    rates.block(SMALL, remaining)
    assert 0 <= rates.delay(SMALL, tokens) <= inf
    clock.now += 3601
    assert rates.delay(SMALL, tokens) == 0


def test_the_word_of_any_number_of_models_takes_no_more_room(clock: Clock) -> None:
    rates = limits(clock)
    for number in range(3000):
        rates.block(Model(id="", provider="fake", name=f"model-{number}"), 100)
    delays = [rates.delay(Model(id="", provider="fake", name=f"model-{number}"), 1) for number in range(3000)]
    assert delays[0] == 0
    assert delays[-1] == 100
    assert sum(delay > 0 for delay in delays) == 1000
