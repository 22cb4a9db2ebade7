"""How models fared of late, as the ledger tells: of all processes on it, and since before this one."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import anyio

from tierwise.storage.errors import StorageError
from tierwise.storage.ports import Ledger
from tierwise.storage.records import AttemptSample

_log = logging.getLogger(__name__)

WINDOW_MS = 60 * 60 * 1000
"""As far back as is looked."""
MOST_CALLS = 1000
"""And no further than so many calls: read in some 7 ms."""
_LIFETIME = 5.0
"""Seconds until the ledger is read again."""
_HALF_LIFE_MS = 10 * 60 * 1000
"""An attempt of that age counts half as much towards the speed."""

_ANSWERED = frozenset({"ok", "escalated"})
_NO_FAULT_OF_ITS = frozenset({"cancelled", "context_window_exceeded", "content_refused", "request_rejected"})
"""They say something of the request and not of the model."""

ModelKey = tuple[str, str]
"""Provider and id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How one model fared within the window."""

    attempts: int
    answered: int
    failed: int
    failovers: int
    """Calls that went on to another model after it had failed."""
    p50_ms: float | None
    """Of the attempts that were answered; None if none was."""
    p95_ms: float | None
    ms_per_token: float | None
    """Of output; the older an attempt, the less it counts."""
    last_error: str | None
    """The code of the last failure, such as `timeout`."""
    last_error_at: int | None
    last_used_at: int

    @property
    def success_rate(self) -> float | None:
        """None if nothing tells."""
        told = self.answered + self.failed
        return self.answered / told if told else None


def observe(samples: Iterable[AttemptSample], now: int) -> dict[ModelKey, Observation]:
    """What `samples`, newest first, tell of each model at `now`."""
    by_model: defaultdict[ModelKey, list[AttemptSample]] = defaultdict(list)
    for sample in samples:
        by_model[sample.provider, sample.model].append(sample)
    return {key: _observation(found, now) for key, found in by_model.items()}


def _observation(samples: Sequence[AttemptSample], now: int) -> Observation:
    answered = [sample for sample in samples if sample.outcome in _ANSWERED]
    failed = [sample for sample in samples if sample.outcome not in _ANSWERED | _NO_FAULT_OF_ITS]
    latencies = sorted(sample.latency_ms for sample in answered)
    return Observation(
        attempts=len(samples),
        answered=len(answered),
        failed=len(failed),
        failovers=sum(sample.left for sample in failed),
        p50_ms=percentile(latencies, 0.5) if latencies else None,
        p95_ms=percentile(latencies, 0.95) if latencies else None,
        ms_per_token=_ms_per_token(answered, now),
        last_error=failed[0].outcome if failed else None,
        last_error_at=failed[0].started_at if failed else None,
        last_used_at=samples[0].started_at,
    )


def percentile(ascending: Sequence[float], share: float) -> float:
    """The least of these values, of which there is one at least, that so large a share does not pass."""
    return ascending[ceil(share * len(ascending)) - 1]


def _ms_per_token(answered: Sequence[AttemptSample], now: int) -> float | None:
    # The quotient of the sums: short answers, which are mostly waiting, do not count for more than long ones.
    weights = [0.5 ** (max(now - sample.started_at, 0) / _HALF_LIFE_MS) for sample in answered]
    tokens = sum(weight * max(it.output_tokens, 1) for weight, it in zip(weights, answered, strict=True))
    spent = sum(weight * it.latency_ms for weight, it in zip(weights, answered, strict=True))
    return spent / tokens if tokens else None


class Observations:
    """The ledger's observations, read for calls at most once in some seconds."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: Mapping[ModelKey, Observation] = {}
        self._stale_at = 0.0
        self._reading = anyio.Lock()

    async def known(self, *, fresh: bool = False) -> Mapping[ModelKey, Observation]:
        """What was read last, or is read now if `fresh`; trouble with the ledger is only logged."""
        if fresh or time.monotonic() >= self._stale_at:
            async with self._reading:
                if fresh or time.monotonic() >= self._stale_at:
                    await self._read()
        return self._known

    async def _read(self) -> None:
        now = time.time_ns() // 1_000_000
        try:
            samples = await self._ledger.recent_attempts(since=now - WINDOW_MS, limit=MOST_CALLS)
        except StorageError as error:
            _log.warning("How the models fared cannot be read from the ledger: %s", error)
        else:
            self._known = observe(samples, now)
        self._stale_at = time.monotonic() + _LIFETIME
