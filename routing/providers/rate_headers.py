"""What providers say in their headers about how much more they will take.

Read are OpenAI's names (`x-ratelimit-remaining-requests` and its kin, which Azure, Groq, Together and
most gateways send too) and Anthropic's (`anthropic-ratelimit-requests-remaining`). A value that cannot
be read counts as not sent.
"""

import datetime as dt
import re
from collections.abc import Mapping
from math import isfinite

from tierwise.routing.providers.base import Quota, RateStatus

_PREFIX = "llm_provider-"
"""What litellm puts before the names of a provider's own headers."""
_KINDS = {"requests": ("requests",), "tokens": ("tokens", "input-tokens")}
"""Under which names each limit goes; the first that is there counts."""
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|d|h|m|s))+")
_PART = re.compile(r"([0-9.]+)(ms|d|h|m|s)")
_EPOCH = 1e9
"""A number of seconds as large as this is a moment, not a duration."""
_LONGEST = 64
"""Characters that a value may have."""


def rate_status(headers: Mapping[str, str], now: dt.datetime) -> RateStatus | None:
    """What the headers say of limits at `now`; None if they say nothing."""
    limits = {
        name.lower().removeprefix(_PREFIX): str(value)
        for name, value in headers.items()
        if "ratelimit" in name.lower() and len(str(value)) <= _LONGEST
    }
    if not limits:
        return None
    requests, tokens = (_quota(limits, names, now) for names in _KINDS.values())
    return RateStatus(requests=requests, tokens=tokens) if requests or tokens else None


def _quota(limits: Mapping[str, str], names: tuple[str, ...], now: dt.datetime) -> Quota | None:
    for name in names:
        # litellm adds OpenAI's names to Anthropic's answers, but without the resets.
        for pattern in (f"anthropic-ratelimit-{name}-{{}}", f"x-ratelimit-{{}}-{name}"):
            remaining = _number(limits.get(pattern.format("remaining")))
            limit = _number(limits.get(pattern.format("limit")))
            reset = _seconds(limits.get(pattern.format("reset")), now)
            # A limit of 0 is how gateways say that there is none.
            if remaining is not None and (limit or (limit is None and reset is not None)):
                return Quota(remaining=remaining, limit=limit, reset=reset)
    return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) and number >= 0 else None


def _seconds(value: str | None, now: dt.datetime) -> float | None:
    """Seconds from `now`: given as `6m0s`, as a plain number, or as a moment."""
    if not value:
        return None
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
    if (number := _number(value)) is not None:
        return number if number < _EPOCH else max(number - now.timestamp(), 0.0)
    try:
        moment = dt.datetime.fromisoformat(value)
    except ValueError:
        return None
    return max((moment - now).total_seconds(), 0.0) if moment.tzinfo else None
