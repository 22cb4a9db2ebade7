"""Reading the roll-up, which knows the sums by dimensions."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tierwise.storage.records import SUMS, Dimension, UsageRow
from tierwise.storage.sqlite.database import Database, Row
from tierwise.storage.sqlite.filters import labels_condition

_QUARTER_MS = 15 * 60 * 1000
"""Every real time zone is off UTC by a multiple of it, so days in any of them are sums of these."""
_SPANS = (96, 4, 1)
"""Of the rows of the roll-up, in quarter-hours: what `spans` holds."""
END_OF_TIME = 2**60

_Piece = tuple[int, int, int]
"""Rows of one span, from one quarter to before another."""


async def read_rollup(
    database: Database, bounds: Sequence[int], group_by: Sequence[Dimension], filters: Mapping[Dimension, str]
) -> list[list[UsageRow]]:
    """See `Ledger.usage_series`."""
    rows = await database.fetch(*_query(bounds, group_by, filters))
    series: list[list[UsageRow]] = [[] for _ in pairwise(bounds)]
    width = 1 + len(group_by)
    for row in rows:
        interval: int = row[0]
        series[interval].append(_usage_row(row[1:width], row[width:]))
    if group_by:
        return series
    return [rows or [_usage_row((), [0] * len(SUMS))] for rows in series]


def cost_since(connection: sqlite3.Connection, start: int, filters: Mapping[Dimension, str]) -> int:
    """What the calls started from `start` on that have every value in `filters` cost, in nano-USD."""
    found = connection.execute(*_query((start, END_OF_TIME), (), filters)).fetchone()
    return found[1 + SUMS.index("cost_nano_usd")] if found else 0


def _query(
    bounds: Sequence[int], group_by: Iterable[Dimension], filters: Mapping[Dimension, str]
) -> tuple[str, dict[str, object]]:
    keys = [dimension.value for dimension in group_by]
    sums = ", ".join(f"SUM({name}) AS {name}" for name in SUMS)
    wanted, parameters = labels_condition(filters)
    # Only names of ours, from the record and the enumeration, go into the text. Summing up by labels
    # first keeps the texts of the dimensions out of the larger of the two groupings, and the LIMIT
    # keeps SQLite from taking the JSON apart again for each row.
    query = f"""
        WITH pieces (interval, span, first, last) AS (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
                json_extract(value, '$[2]'), json_extract(value, '$[3]')
            FROM json_each(:pieces) LIMIT -1
        ), parts AS (
            SELECT interval, labels, {sums}
            FROM pieces CROSS JOIN usage
                ON usage.span = pieces.span AND usage.quarter >= first AND usage.quarter < last
            {f"WHERE labels IN (SELECT id FROM labels WHERE {wanted})" if filters else ""}
            GROUP BY interval, labels
        )
        SELECT {", ".join(["interval", *keys])}, {sums}
        FROM parts CROSS JOIN labels ON labels.id = parts.labels
        GROUP BY {", ".join(["interval", *keys])}
        ORDER BY {", ".join(["interval", "SUM(cost_nano_usd) DESC", "SUM(calls) DESC", *keys])}
    """  # noqa: S608
    return query, {"pieces": json.dumps(_all_pieces(bounds)), **parameters}


def _all_pieces(bounds: Sequence[int]) -> list[tuple[int, ...]]:
    quarters = [bound // _QUARTER_MS for bound in bounds]
    return [
        (interval, *piece)
        for interval, (first, last) in enumerate(pairwise(quarters))
        for piece in _pieces(first, last)
    ]


def _pieces(first: int, last: int, spans: Sequence[int] = _SPANS) -> list[_Piece]:
    """The quarters from `first` to before `last`, in as few rows of the roll-up as there are."""
    if first >= last:
        return []
    span, *finer = spans
    low, high = -(-first // span) * span, last // span * span
    if low >= high:
        return _pieces(first, last, finer)
    return [*_pieces(first, low, finer), (span, low, high), *_pieces(high, last, finer)]


def _usage_row(key: Row, sums: Iterable[int]) -> UsageRow:
    return UsageRow(key=key, **dict(zip(SUMS, sums, strict=True)))
