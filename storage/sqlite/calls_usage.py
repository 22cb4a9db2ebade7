"""Usage by any attributes: from the roll-up where it knows them, else from the calls themselves."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from tierwise.storage.errors import CallsPruned, TooManyGroups
from tierwise.storage.records import SUMS, Attribute, Dimension, Filters, MetadataKey, UsageRow
from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.filters import condition, labels_condition
from tierwise.storage.sqlite.metadata import metadata_path
from tierwise.storage.sqlite.usage import read_rollup

_SLICE = 50_000
"""Calls looked at in one statement: others wait for the connection 100 ms at most."""
_MOST_ROWS = 100_000
"""Rows that sums by metadata may have, of half a kilobyte each."""

_Sums = dict[tuple[str, ...], list[int]]
_Piece = tuple[int, int, int]
"""The number of an interval, and a part of it: from an instant to before another."""

_NEXT_SLICE = "SELECT started_at FROM calls WHERE started_at >= ? ORDER BY started_at LIMIT 1 OFFSET ?"
_COUNT = "SELECT count(*) FROM calls WHERE started_at >= ? AND started_at < ?"

# What each call and attempt adds to the sums, as in the view `shares`. The calls found are used twice, so
# that SQLite looks for them once.
_FROM_CALLS = """
    WITH pieces (interval, first, last) AS (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
        FROM json_each(:pieces) LIMIT -1
    ), found AS (
        SELECT interval, id, labels, cached, status, saved_nano_usd{values}
        FROM pieces CROSS JOIN calls ON started_at >= first AND started_at < last
        WHERE {calls_wanted}
    ), parts AS (
        SELECT interval, labels{names}, count(*) AS calls, SUM(cached) AS cached_calls,
            SUM(status = 'failed') AS failed_calls, SUM(status = 'cancelled') AS cancelled_calls,
            0 AS unpriced_calls, 0 AS input_tokens, 0 AS output_tokens, 0 AS cost_nano_usd,
            COALESCE(SUM(saved_nano_usd), 0) AS saved_nano_usd
        FROM found GROUP BY interval, labels{names}
        UNION ALL
        SELECT interval, attempts.labels{names}, 0, 0,
            0, 0,
            SUM(cost_nano_usd IS NULL), SUM(input_tokens),
            SUM(output_tokens), COALESCE(SUM(cost_nano_usd), 0),
            0
        FROM found CROSS JOIN attempts ON call = id GROUP BY interval, attempts.labels{names}
    )
    SELECT {keys}, {sums}
    FROM parts CROSS JOIN labels ON labels.id = parts.labels
    WHERE {models_wanted}
    GROUP BY {keys}
"""


async def read_series(
    database: Database, bounds: Sequence[int], group_by: Sequence[Attribute], filters: Filters
) -> list[list[UsageRow]]:
    """See `Ledger.usage_series`."""
    dimensions = [it for it in group_by if isinstance(it, Dimension)]
    values = {it: value for it, value in filters.items() if isinstance(it, Dimension)}
    if len(dimensions) == len(group_by) and len(values) == len(filters):
        return await read_rollup(database, bounds, dimensions, values)
    if len(bounds) < 2:
        return []
    sums = await _sum_up_calls(database, bounds, group_by, filters)
    await _refuse_pruned(database, bounds)
    return [_rows(found, grouped=bool(group_by)) for found in sums]


async def _sum_up_calls(
    database: Database, bounds: Sequence[int], group_by: Sequence[Attribute], filters: Filters
) -> list[_Sums]:
    query, parameters = _query(group_by, filters)
    width = 1 + len(group_by)
    sums = [_Sums() for _ in pairwise(bounds)]
    async for pieces in _slices(database, bounds):
        for row in await database.fetch(query, parameters | {"pieces": json.dumps(pieces)}):
            interval: int = row[0]
            total = sums[interval].setdefault(row[1:width], [0] * len(SUMS))
            for place, value in enumerate(row[width:]):
                total[place] += value
        if sum(map(len, sums)) > _MOST_ROWS:
            raise TooManyGroups(
                f"These calls fall into more than {_MOST_ROWS:,} groups. Group by something that has fewer"
                " values, or ask about fewer days."
            )
    return sums


def _query(group_by: Sequence[Attribute], filters: Filters) -> tuple[str, dict[str, object]]:
    # Attempts may have other models than their call has, but what else is asked about is the call's.
    models = {it: filters[it] for it in (Dimension.PROVIDER, Dimension.MODEL) if it in filters}
    calls_wanted, parameters = condition({it: value for it, value in filters.items() if it not in models})
    models_wanted, more = labels_condition(models)
    keys = [_key(number, attribute) for number, attribute in enumerate(group_by)]
    paths = {
        key: metadata_path(attribute)
        for key, attribute in zip(keys, group_by, strict=True)
        if isinstance(attribute, MetadataKey)
    }
    query = _FROM_CALLS.format(
        values="".join(f", COALESCE(json_extract(metadata, :{name}), '') AS {name}" for name in paths),
        names="".join(f", {name}" for name in paths),
        keys=", ".join(["interval", *keys]),
        sums=", ".join(f"SUM({name})" for name in SUMS),
        calls_wanted=calls_wanted,
        models_wanted=models_wanted,
    )
    return query, parameters | more | paths


def _key(number: int, attribute: Attribute) -> str:
    return attribute.value if isinstance(attribute, Dimension) else f"metadata_{number}"


async def _slices(database: Database, bounds: Sequence[int]) -> AsyncIterator[list[_Piece]]:
    """The intervals in parts of at most `_SLICE` calls, or as many as started in one ms."""
    start, end = bounds[0], bounds[-1]
    while start < end:
        later = await database.fetch(_NEXT_SLICE, (start, _SLICE))
        stop = min(end, max(later[0][0], start + 1)) if later else end
        yield _pieces(bounds, start, stop)
        start = stop


def _pieces(bounds: Sequence[int], start: int, end: int) -> list[_Piece]:
    """What of each interval lies in [start, end)."""
    first, last = bisect_right(bounds, start) - 1, bisect_left(bounds, end)
    return [
        (interval, max(bounds[interval], start), min(bounds[interval + 1], end))
        for interval in range(first, last)
    ]


async def _refuse_pruned(database: Database, bounds: Sequence[int]) -> None:
    """Raise `CallsPruned` if calls between the bounds are known from their sums alone."""
    [(pruned,)] = await database.fetch("SELECT before FROM pruned")
    start, end = bounds[0], min(bounds[-1], pruned)
    if start >= end:
        return
    [[known]] = await read_rollup(database, (start, end), (), {})
    [(kept,)] = await database.fetch(_COUNT, (start, end))
    if kept < known.calls:
        day = datetime.fromtimestamp(pruned // 1000, UTC).date()
        raise CallsPruned(
            f"Metadata is known of single calls only, and those before {day} (UTC) were deleted to keep the"
            " ledger small. Ask about the days from then on."
        )


def _rows(sums: _Sums, *, grouped: bool) -> list[UsageRow]:
    if not grouped:
        sums = sums or {(): [0] * len(SUMS)}
    rows = [UsageRow(key=key, **dict(zip(SUMS, values, strict=True))) for key, values in sums.items()]
    return sorted(rows, key=lambda row: (-row.cost_nano_usd, -row.calls, row.key))
