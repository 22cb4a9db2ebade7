"""The usage file that LiteLLM clients of an earlier kind kept, as calls for the ledger.

It is one JSON object: `sessions`, the last calls one by one (the writer kept 1,000 of them);
`daily_totals`, `model_breakdown` and `provider_breakdown`, each {name: {tokens, cost, calls}}, the sums
of all calls ever. Times are local and without an offset; money is USD.

Each session becomes a call. What the days hold beyond their sessions becomes one synthetic call for each
day and model, at noon, whose `metadata` says for how many calls it stands. Which model a day used is not
in the file, so each day is shared out in the proportions of the models' own sums beyond the sessions:
the sums by day and by model both come out as they were.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, Strict, ValidationError

from tierwise.routing.money.pricing import nano_usd
from tierwise.server.errors import UnusableFile
from tierwise.storage.records import AttemptRecord, CallRecord, CallStatus

IMPORTED = "imported"
"""The `operation` of every imported call; the one in the file is kept in `metadata`."""
_NOON = time(12)

Count = Annotated[int, Field(ge=0, le=10**15)]
Dollars = Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]
"""Of one call or day; the ledger holds the sum of thousands of days of a million each."""
# Strict, because a number would else be taken for seconds since 1970.
LocalTime = Annotated[datetime, Strict()]
Day = Annotated[date, Strict()]


class Session(BaseModel, frozen=True):
    """One call of the file."""

    timestamp: LocalTime
    model: str
    input_tokens: Count
    output_tokens: Count
    cost_usd: Dollars
    latency_ms: float = Field(0, ge=0, le=10**12, allow_inf_nan=False)
    operation: str = "chat"


class Total(BaseModel):
    tokens: Count = 0
    cost: Dollars = 0
    calls: Count = 0


class UsageFile(BaseModel):
    """The file; what else it holds is ignored."""

    sessions: list[Session]
    daily_totals: dict[Day, Total]
    model_breakdown: dict[str, Total]
    provider_breakdown: dict[str, Total]


@dataclass(frozen=True, slots=True)
class _Sum:
    """Calls, tokens and nano-USD."""

    calls: int = 0
    tokens: int = 0
    cost: int = 0

    def __add__(self, other: "_Sum") -> "_Sum":
        return _Sum(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)

    def less(self, other: "_Sum") -> "_Sum":
        """What is left of it; never below 0."""
        return _Sum(
            max(0, self.calls - other.calls),
            max(0, self.tokens - other.tokens),
            max(0, self.cost - other.cost),
        )

    def part(self, share: "_Sum", whole: "_Sum") -> "_Sum":
        """As much of each as `share` is of `whole`, rounded down."""
        return _Sum(
            self.calls * share.calls // (whole.calls or 1),
            self.tokens * share.tokens // (whole.tokens or 1),
            self.cost * share.cost // (whole.cost or 1),
        )


def read_usage_file(path: Path) -> UsageFile:
    """The file at `path`, checked whole.

    Raises:
        UnusableFile: it cannot be read, is cut off, or is no such file.
    """
    try:
        return UsageFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UnusableFile(f"Cannot read {path}: {error.strerror}.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])[:200]
        if problem["type"] == "json_invalid":
            reason = f"it is no whole JSON file ({problem['msg'].removeprefix('Invalid JSON: ')})"
        else:
            reason = f"{where or 'it'}: {problem['msg']}"
        raise UnusableFile(f"Nothing was imported from {path}: {reason}.") from None


def calls_of(file: UsageFile, time_zone: tzinfo, provider_of: Callable[[str], str]) -> list[CallRecord]:
    """The calls that stand for the file, oldest first; the same file gives the same `call_id`s."""
    seen: Counter[Session] = Counter()
    calls: list[CallRecord] = []
    for session in file.sessions:
        seen[session] += 1  # two calls may be alike to the last digit
        calls.append(_session_call(session, seen[session], time_zone, provider_of))
    for day, models in _beyond_sessions(file, time_zone).items():
        noon = datetime.combine(day, _NOON, time_zone)
        calls += (
            _call(
                _digest(day.isoformat(), model),
                noon,
                model,
                provider_of(model),
                (total.tokens, 0, total.cost, 0.0),
                {"calls": str(total.calls)},
            )
            for model, total in models.items()
            if total != _Sum()
        )
    return sorted(calls, key=lambda call: call.started_at)


def _session_call(
    session: Session, number: int, time_zone: tzinfo, provider_of: Callable[[str], str]
) -> CallRecord:
    return _call(
        _digest(session.model_dump_json(), str(number)),
        _local(session, time_zone),
        session.model,
        provider_of(session.model),
        (session.input_tokens, session.output_tokens, nano_usd(session.cost_usd), session.latency_ms),
        {"operation": session.operation},
    )


def _beyond_sessions(file: UsageFile, time_zone: tzinfo) -> dict[date, dict[str, _Sum]]:
    """What each day holds beyond its sessions, by model."""
    by_day: dict[date, _Sum] = {}
    by_model: dict[str, _Sum] = {}
    for session in file.sessions:
        day = _local(session, time_zone).date()
        one = _Sum(1, session.input_tokens + session.output_tokens, nano_usd(session.cost_usd))
        by_day[day] = by_day.get(day, _Sum()) + one
        by_model[session.model] = by_model.get(session.model, _Sum()) + one
    days = _rest(file.daily_totals, by_day)
    return _shared_out(days, _rest(file.model_breakdown, by_model) or {"unknown": _Sum()})


def _rest(totals: Mapping[Any, Total], known: Mapping[Any, _Sum]) -> dict[Any, _Sum]:
    rest = {
        # Sums of floats, so what is left of a nano-dollar is noise.
        name: _Sum(total.calls, total.tokens, nano_usd(total.cost)).less(known.get(name, _Sum()))
        for name, total in sorted(totals.items())
    }
    return {name: total for name, total in rest.items() if total.calls}


def _shared_out(days: dict[date, _Sum], models: dict[str, _Sum]) -> dict[date, dict[str, _Sum]]:
    """Each day over the models in the proportions of what is left of them; nothing is lost or made."""
    shared: dict[date, dict[str, _Sum]] = {}
    for day, left in days.items():
        shared[day] = {}
        whole = _total(list(models.values()))
        for model, share in models.items():
            part = left.part(share, whole)
            left, whole, models[model] = left.less(part), whole.less(share), share.less(part)
            shared[day][model] = part
        last = list(models)[-1]
        shared[day][last] += left
    return {
        day: {name: part for name, part in parts.items() if part != _Sum()} for day, parts in shared.items()
    }


def _total(sums: Sequence[_Sum]) -> _Sum:
    total = _Sum()
    for one in sums:
        total += one
    return total


def _local(session: Session, time_zone: tzinfo) -> datetime:
    when = session.timestamp
    return when.replace(tzinfo=time_zone) if when.tzinfo is None else when.astimezone(time_zone)


def _call(
    call_id: str,
    when: datetime,
    model: str,
    provider: str,
    spent: tuple[int, int, int, float],
    metadata: dict[str, str],
) -> CallRecord:
    input_tokens, output_tokens, cost, latency_ms = spent
    started_at = int(when.timestamp() * 1000)
    attempt = AttemptRecord(
        provider=provider,
        model=model,
        outcome="ok",
        started_at=started_at,
        latency_ms=latency_ms,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_nano_usd=cost,
        cost_note="as the imported file says",
    )
    return CallRecord(
        call_id=call_id,
        started_at=started_at,
        latency_ms=latency_ms,
        operation=IMPORTED,
        status=CallStatus.OK,
        tier="unknown",
        provider=provider,
        model=model,
        metadata=metadata,
        attempts=(attempt,),
    )


def _digest(*parts: str) -> str:
    return f"{IMPORTED}-{blake2b(repr(parts).encode(), digest_size=16).hexdigest()}"
