"""Reading the roll-up."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tierwise.storage.records import SUMS, Dimension, UsageRow
from tierwise.storage.sqlite.database import Database, Row
from tierwise.storage.sqlite.text import storable

_QUARTER_MS = 15 * 60 * 1000
"""Every real time zone is off UTC by a multiple of it, so days in any of them are sums of these."""
_SPANS = (96, 4, 1)
"""Of the rows of the roll-up, in quarter-hours: what `spans` holds."""
_END_OF_TIME = 2**60

_Piece = tuple[int, int, int]
"""Rows of one span, from one quarter to before another."""


async def read_series(
    database: Database, bounds: Sequence[int], group_by: Sequence[Dimension], filters: Mapping[Dimension, str]
) -> list[list[UsageRow]]:
    """See `Ledger.usage_series`."""
    rows = await database.fetch(_query(group_by, filters), _parameters(bounds, filters))
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
    found = connection.execute(_query((), filters), _parameters((start, _END_OF_TIME), filters)).fetchone()
    return found[1 + SUMS.index("cost_nano_usd")] if found else 0


def _query(group_by: Iterable[Dimension], filters: Iterable[Dimension]) -> str:
    keys = [dimension.value for dimension in group_by]
    sums = ", ".join(f"SUM({name}) AS {name}" for name in SUMS)
    wanted = " AND ".join(["1", *(f"{dimension.value} = ?" for dimension in filters)])
    # Only names of ours, from the record and the enumeration, go into the text. Summing up by labels
    # first keeps the texts of the dimensions out of the larger of the two groupings, and the LIMIT
    # keeps SQLite from taking the JSON apart again for each row.
    return f"""
        WITH pieces (interval, span, first, last) AS (
            SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
                json_extract(value, '$[2]'), json_extract(value, '$[3]')
            FROM json_each(?) LIMIT -1
        ), parts AS (
            SELECT interval, labels, {sums}
            FROM pieces CROSS JOIN usage
                ON usage.span = pieces.span AND usage.quarter >= first AND usage.quarter < last
            WHERE labels IN (SELECT id FROM labels WHERE {wanted})
            GROUP BY interval, labels
        )
        SELECT {", ".join(["interval", *keys])}, {sums}
        FROM parts CROSS JOIN labels ON labels.id = parts.labels
        GROUP BY {", ".join(["interval", *keys])}
        ORDER BY {", ".join(["interval", "SUM(cost_nano_usd) DESC", "SUM(calls) DESC", *keys])}
    """  # noqa: S608


def _parameters(bounds: Sequence[int], filters: Mapping[Dimension, str]) -> tuple[object, ...]:
    quarters = [bound // _QUARTER_MS for bound in bounds]
    pieces = [
        (interval, *piece)
        for interval, (first, last) in enumerate(pairwise(quarters))
        for piece in _pieces(first, last)
    ]
    return (json.dumps(pieces), *storable(list(filters.values())))


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
