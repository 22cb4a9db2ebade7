"""What the attempts of late tell of a model."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.reliability.observations import Observation, observe
from tierwise.storage.records import AttemptSample

NOW = 1_795_003_200_000
MINUTE = 60_000


def sample(**changes: Any) -> AttemptSample:
    values: dict[str, Any] = {
        "provider": "fake",
        "model": "fake/small",
        "outcome": "ok",
        "started_at": NOW,
        "latency_ms": 100.0,
        "output_tokens": 10,
        "left": False,
    }
    return AttemptSample(**values | changes)


def seen(*samples: AttemptSample) -> Observation:
    [observation] = observe(samples, NOW).values()
    return observation


def test_models_are_told_apart_by_provider_and_name() -> None:
    found = observe([sample(), sample(model="other"), sample(provider="else"), sample()], NOW)
    assert {key: it.attempts for key, it in found.items()} == {
        ("fake", "fake/small"): 2,
        ("fake", "other"): 1,
        ("else", "fake/small"): 1,
    }


def test_what_is_the_fault_of_the_request_or_of_the_caller_is_no_failure_of_the_model() -> None:
    innocent = ["cancelled", "context_window_exceeded", "content_refused", "request_rejected"]
    observation = seen(sample(), *(sample(outcome=outcome, left=True) for outcome in innocent))
    assert (observation.attempts, observation.answered, observation.failed) == (5, 1, 0)
    assert (observation.success_rate, observation.failovers, observation.last_error) == (1.0, 0, None)
    assert seen(sample(outcome="cancelled")).success_rate is None


def test_an_answer_that_was_not_good_enough_is_one_all_the_same() -> None:
    observation = seen(sample(outcome="escalated", left=True))
    assert (observation.success_rate, observation.failovers) == (1.0, 0)


def test_the_last_failure_is_told_with_its_time_and_a_failover_is_one_that_another_model_followed() -> None:
    observation = seen(
        sample(started_at=NOW - 1),
        sample(outcome="timeout", started_at=NOW - 2, left=True),
        sample(outcome="server_failed", started_at=NOW - 3),
    )
    assert (observation.last_error, observation.last_error_at) == ("timeout", NOW - 2)
    assert (observation.failed, observation.failovers, observation.last_used_at) == (2, 1, NOW - 1)
    assert observation.success_rate == pytest.approx(1 / 3)


def test_latencies_are_those_of_answers() -> None:
    quick = seen(
        *(sample(latency_ms=float(n)) for n in range(1, 101)), sample(outcome="timeout", latency_ms=1e6)
    )
    assert (quick.p50_ms, quick.p95_ms) == (50, 95)
    never = seen(sample(outcome="timeout"))
    assert (never.p50_ms, never.p95_ms, never.ms_per_token) == (None, None, None)


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=50))
def test_percentiles_are_latencies_that_occurred_and_the_larger_share_has_the_larger(
    latencies: list[float],
) -> None:
    observation = seen(*(sample(latency_ms=latency) for latency in latencies))
    assert observation.p50_ms in latencies
    assert observation.p95_ms in latencies
    assert min(latencies) <= observation.p50_ms <= observation.p95_ms <= max(latencies)


def test_the_speed_is_that_of_a_token_and_long_answers_count_for_more() -> None:
    speed = seen(
        sample(latency_ms=1000, output_tokens=100), sample(latency_ms=100, output_tokens=1)
    ).ms_per_token
    assert speed == pytest.approx(1100 / 101)


def test_an_attempt_ten_minutes_old_counts_half() -> None:
    old = sample(latency_ms=400, started_at=NOW - 10 * MINUTE)
    assert seen(sample(latency_ms=100), old).ms_per_token == pytest.approx((100 + 400 / 2) / (10 + 10 / 2))


def test_attempts_of_the_future_and_answers_without_tokens_do_no_harm() -> None:
    ahead = sample(started_at=NOW + 10**12, latency_ms=50, output_tokens=0)
    assert seen(ahead).ms_per_token == pytest.approx(50)
