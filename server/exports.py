"""Calls and sums as rows of a file: CSV, JSON, JSON Lines or Parquet, written a batch at a time."""

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from io import StringIO
from typing import IO, Any, Literal

import anyio.to_thread

from tierwise.routing.money.pricing import usd
from tierwise.server.errors import UnusableFile
from tierwise.server.plain import visible, visible_json
from tierwise.server.usage import UsageQuery, usage_groups
from tierwise.storage.ports import Ledger
from tierwise.storage.records import TOKEN_COUNTS, CallRecord

Format = Literal["csv", "json", "jsonl", "parquet"]
Row = dict[str, Any]

_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
"""What a cell begins with that a spreadsheet would compute: OWASP's list, the wide forms of =+-@ included."""

CALL_COLUMNS: Mapping[str, type] = {
    "call_id": str,
    "started_at": str,
    "operation": str,
    "tenant": str,
    "agent": str,
    "status": str,
    "error": str,
    "tier": str,
    "tier_served": str,
    "complexity_score": float,
    "provider": str,
    "model": str,
    "cached": bool,
    "attempts": int,
    **dict.fromkeys(TOKEN_COUNTS, int),
    "estimated": bool,
    "cost_usd": float,
    "cost_reported": bool,
    "saved_usd": float,
    "latency_ms": float,
    "finish_reason": str,
    "metadata": str,
}
"""The columns of an exported call. Tokens and cost are those of all its attempts; null is unknown;
`estimated` and `cost_reported` hold for some attempt of it."""
GROUP_COLUMNS: Mapping[str, type] = {
    "key": str,
    "calls": int,
    "cached_calls": int,
    "failed_calls": int,
    "cancelled_calls": int,
    "unpriced_calls": int,
    "input_tokens": int,
    "output_tokens": int,
    "tokens": int,
    "cost": float,
    "saved_usd": float,
}
"""The columns of an exported group of calls."""


async def call_rows(ledger: Ledger, query: UsageQuery) -> AsyncIterator[list[Row]]:
    """The calls of the period that the filters let through, oldest first, in batches."""
    period = query.period
    async for calls in ledger.export_calls(start=period.start, end=period.end, filters=query.filters):
        yield [_call_row(call) for call in calls]


async def group_rows(ledger: Ledger, query: UsageQuery) -> AsyncIterator[list[Row]]:
    """The groups that `query` asks for, in one batch."""
    yield [found.model_dump() for found in await usage_groups(ledger, query)]


def _call_row(call: CallRecord) -> Row:
    tokens = {name: sum(getattr(attempt, name) for attempt in call.attempts) for name in TOKEN_COUNTS}
    return {
        "call_id": call.call_id,
        "started_at": datetime.fromtimestamp(call.started_at / 1000, UTC).isoformat(timespec="milliseconds"),
        "operation": call.operation,
        "tenant": call.tenant,
        "agent": call.agent,
        "status": call.status.value,
        "error": call.error,
        "tier": call.tier,
        "tier_served": call.tier_served,
        "complexity_score": call.complexity_score,
        "provider": call.provider,
        "model": call.model,
        "cached": call.cached,
        "attempts": len(call.attempts),
        **tokens,
        "estimated": any(attempt.estimated for attempt in call.attempts),
        "cost_usd": None if call.cost_nano_usd is None else usd(call.cost_nano_usd),
        "cost_reported": any(attempt.cost_reported for attempt in call.attempts),
        "saved_usd": None if call.saved_nano_usd is None else usd(call.saved_nano_usd),
        "latency_ms": call.latency_ms,
        "finish_reason": call.finish_reason,
        "metadata": json.dumps(call.metadata, ensure_ascii=False) if call.metadata else "",
    }


class Writer(ABC):
    """Writes rows to a binary file that stays the caller's to close. Blocks, so not for the event loop."""

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> None:
        """Write some more."""

    @abstractmethod
    def finish(self) -> None:
        """Write what stands behind the last row."""


class _CSV(Writer):
    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None:
        self._file = file
        self._columns = columns
        self._write([list(columns)])

    def write(self, rows: Sequence[Row]) -> None:
        self._write([_cell(row[name]) for name in self._columns] for row in rows)

    def finish(self) -> None:
        pass

    def _write(self, lines: Iterable[Sequence[Any]]) -> None:
        text = StringIO(newline="")
        csv.writer(text).writerows(lines)
        self._file.write(text.getvalue().encode())


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return ("'" if value.lstrip(" ").startswith(_FORMULA) else "") + visible(value)
    return f"{value:.9f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


class _JSONLines(Writer):
    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None:
        self._file = file

    def write(self, rows: Sequence[Row]) -> None:
        self._file.write("".join(f"{_json(row)}\n" for row in rows).encode())

    def finish(self) -> None:
        pass


class _JSON(Writer):
    """One list, a row on each line."""

    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None:
        self._file = file
        self._before = "[\n"

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._file.write(f"{self._before}{_json(row)}".encode())
            self._before = ",\n"

    def finish(self) -> None:
        self._file.write(b"[]\n" if self._before == "[\n" else b"\n]\n")


def _json(row: Row) -> str:
    return visible_json(json.dumps(row, ensure_ascii=False))


class _Parquet(Writer):
    def __init__(self, file: IO[bytes], columns: Mapping[str, type]) -> None:
        try:
            arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError:
            raise UnusableFile("Parquet needs pyarrow: pip install 'tierwise[parquet]'.") from None
        types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
        self._batch: Any = arrow.RecordBatch
        self._schema: Any = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
        self._rows: Any = parquet.ParquetWriter(file, self._schema)

    def write(self, rows: Sequence[Row]) -> None:
        self._rows.write_batch(self._batch.from_pylist(rows, schema=self._schema))

    def finish(self) -> None:
        self._rows.close()


WRITERS: Mapping[Format, Callable[[IO[bytes], Mapping[str, type]], Writer]] = {
    "csv": _CSV,
    "json": _JSON,
    "jsonl": _JSONLines,
    "parquet": _Parquet,
}


async def export(
    ledger: Ledger, query: UsageQuery, format: Format, file: IO[bytes], told: Callable[[int], object]
) -> None:
    """Write the calls of `query`, or its groups if it asks for some, to `file`; `told` hears how many
    rows were written each time that some were.

    Raises:
        UnusableFile: the library that the format needs is not installed.
    """
    rows, columns = call_rows(ledger, query), CALL_COLUMNS
    if query.group_by:
        rows, columns = group_rows(ledger, query), GROUP_COLUMNS
    writer = await anyio.to_thread.run_sync(WRITERS[format], file, columns)
    async for batch in rows:
        await anyio.to_thread.run_sync(writer.write, batch)
        told(len(batch))
    await anyio.to_thread.run_sync(writer.finish)
