"""What providers say of their limits, in the words of each."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.providers.base import Quota, RateStatus
from tierwise.routing.providers.rate_headers import rate_status

NOW = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def reset(value: str) -> float | None:
    headers = {"x-ratelimit-remaining-requests": "1", "x-ratelimit-limit-requests": "9"}
    told = rate_status({**headers, "x-ratelimit-reset-requests": value}, NOW)
    assert told
    assert told.requests
    return told.requests.reset


def test_openai_s_words() -> None:
    headers = {
        "X-RateLimit-Limit-Requests": "60",
        "X-RateLimit-Remaining-Requests": "59",
        "X-RateLimit-Reset-Requests": "1s",
        "X-RateLimit-Limit-Tokens": "150000",
        "X-RateLimit-Remaining-Tokens": "149984",
        "X-RateLimit-Reset-Tokens": "6m0s",
    }
    assert rate_status(headers, NOW) == RateStatus(
        requests=Quota(remaining=59, limit=60, reset=1),
        tokens=Quota(remaining=149984, limit=150000, reset=360),
    )


def test_anthropic_s_words_with_the_prefix_that_litellm_adds() -> None:
    headers = {
        "llm_provider-anthropic-ratelimit-requests-limit": "50",
        "llm_provider-anthropic-ratelimit-requests-remaining": "49",
        "llm_provider-anthropic-ratelimit-requests-reset": "2026-11-21T12:00:30Z",
        "llm_provider-anthropic-ratelimit-input-tokens-remaining": "1000",
        "llm_provider-anthropic-ratelimit-input-tokens-limit": "4000",
        "request-id": "req_1",
    }
    assert rate_status(headers, NOW) == RateStatus(
        requests=Quota(remaining=49, limit=50, reset=30), tokens=Quota(remaining=1000, limit=4000)
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120ms", 0.12),
        ("2m59.56s", 179.56),
        ("1h0m1s", 3601),
        ("1d", 86_400),
        ("12.5", 12.5),
        ("0", 0),
        (str(NOW.timestamp() + 7), 7),
        ("2026-11-21T13:00:05+01:00", 5),
        ("2026-11-21T11:00:00Z", 0),
        ("2026-11-21T12:00:05", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("1e999", None),
        ("9" * 100, None),
        ("", None),
    ],
)
def test_when_a_limit_is_whole_again(value: str, seconds: float | None) -> None:
    assert reset(value) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("remaining", ["", "many", "-1", "nan", "inf"])
def test_what_is_left_must_be_a_number_that_makes_sense(remaining: str) -> None:
    assert rate_status({"x-ratelimit-remaining-requests": remaining}, NOW) is None


def test_headers_that_say_nothing_of_limits_say_nothing() -> None:
    assert rate_status({"content-type": "application/json", "retry-after": "5"}, NOW) is None
    assert rate_status({"x-ratelimit-limit-requests": "60"}, NOW) is None
    assert rate_status({"x-ratelimit-remaining-requests": "0"}, NOW) is None
    nothing = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-limit-requests": "0"}
    assert rate_status(nothing, NOW) is None


names = st.sampled_from(
    [
        f"{prefix}{kind}"
        for prefix in ("x-ratelimit-remaining-", "x-ratelimit-reset-", "x-ratelimit-limit-")
        for kind in ("requests", "tokens")
    ]
)


@given(st.dictionaries(names, st.text()))
def test_whatever_is_sent_is_read_or_passed_over(headers: dict[str, str]) -> None:
    told = rate_status(headers, NOW)
    for quota in (told.requests, told.tokens) if told else ():
        assert quota is None or quota.remaining >= 0
        assert quota is None or quota.reset is None or 0 <= quota.reset < float("inf")
