"""Ledgers of made-up calls, filled by a few statements: what `record` would write, in a tenth of its time.

The calls are spread evenly over `DAYS`, so that the last 30 are a tenth of them. What they are like is a
function of their number alone. `same_as_recorded` proves on a small ledger that nothing tells it from one
that was recorded.
"""

import sqlite3
from contextlib import closing
from itertools import product
from pathlib import Path

from tierwise.storage.sqlite import open_store
from tierwise.storage.sqlite.database import connect
from tierwise.storage.sqlite.rollup import DAY_MS, rebuild_day

DAYS = 300
TIERS = ("simple", "standard", "complex")
MODELS = (
    *(("anthropic", "claude-haiku-5-5"), ("openai", "gpt-6-luna")),
    *(("gemini", "gemini-3.5-flash"), ("anthropic", "claude-sonnet-5-5")),
    *(("openai", "gpt-6.1-sol"), ("anthropic", "claude-opus-5-5")),
)
"""Two for each tier."""
TENANTS = tuple(f"tenant-{number}" for number in range(10))
OPERATIONS = ("chat", "review", "title", "commit_message")
PROJECTS = 20
"""Values of the one key that each call's metadata has."""

_BATCH = 100_000
_LABELS = (
    "INSERT INTO labels (id, provider, model, tier, operation, tenant, agent) VALUES (?, ?, ?, ?, ?, ?, '')"
)
_OF_A_MODEL = len(TENANTS) * len(OPERATIONS)
"""Labels, which stand in one block for each model."""

# 60% of the calls are simple, 30% standard. 1% failed, 1% were cancelled, 10% came from the cache; of 5%
# the first attempt failed, at the other model of the tier. `dice` and `coin` are Knuth's hash of the number
# (The Art of Computer Programming 6.4), and another.
_CALLS = f"""
    WITH RECURSIVE numbers (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last),
    hashed AS (
        SELECT n, (n * 2654435761) % 4294967296 AS dice, (n * 2656901697 + 12345) % 4294967291 AS coin,
            :start + CAST((n - 1) * :step AS INTEGER) AS started_at
        FROM numbers
    ), drawn AS (
        SELECT *, CASE WHEN dice % 10 < 6 THEN 0 WHEN dice % 10 < 9 THEN 1 ELSE 2 END AS tier,
            coin / 8 % 2 AS pick, coin / 32 % {len(TENANTS)} AS tenant,
            coin / 512 % {len(OPERATIONS)} AS operation, coin / 4096 % 100 AS luck
        FROM hashed
    )
    INSERT INTO calls
    SELECT n, printf('%012x%012x', started_at, (dice * 65536 + coin) % 281474976710656), started_at,
        200000 + dice % 5000000,
        1 + (tier * 2 + pick) * {_OF_A_MODEL} + tenant * {len(OPERATIONS)} + operation,
        CASE luck WHEN 0 THEN 'failed' WHEN 1 THEN 'cancelled' ELSE 'ok' END,
        CASE luck WHEN 0 THEN 'AllCandidatesFailed' END,
        CASE WHEN luck > 1 THEN CASE tier WHEN 0 THEN 'simple' WHEN 1 THEN 'standard' ELSE 'complex' END END,
        dice % 10000 / 10007.0, luck BETWEEN 10 AND 19,
        CASE WHEN luck > 1 THEN 1000000 + dice % 100000000 END,
        CASE WHEN luck > 1 THEN 'stop' END, '{{"project":"p' || (coin / 131072 % {PROJECTS}) || '"}}'
    FROM drawn
"""  # noqa: S608
_SECOND_TRY = "calls.id % 20 = 7 AND status = 'ok'"
_ATTEMPTS = f"""
    INSERT INTO attempts
    SELECT id, 0, labels + CASE (labels - 1) / {_OF_A_MODEL} % 2 WHEN 0 THEN 1 ELSE -1 END * {_OF_A_MODEL},
        'rate_limited', 'too many requests', started_at + 1, 90000, 0, 0, 0, 0, 0, 0, 0,
        NULL, NULL, 0, NULL
    FROM calls WHERE id BETWEEN :first AND :last AND NOT cached AND {_SECOND_TRY}
    UNION ALL
    SELECT id, {_SECOND_TRY}, labels, CASE status WHEN 'failed' THEN 'rate_limited' ELSE status END,
        CASE status WHEN 'failed' THEN 'too many requests' END, started_at + 2, latency_us - 2000,
        100 + id * 7919 % 4000, 20 + id * 104729 % 900, 0, 0, 0, 0,
        CASE WHEN id % 100 THEN 100000 + id * 7919 % 40000000 END, NULL,
        CASE WHEN id % 100 = 0 THEN 'no price is known' END, 0, NULL
    FROM calls WHERE id BETWEEN :first AND :last AND NOT cached
"""  # noqa: S608


async def fill(path: Path, calls: int, end: int) -> None:
    """Make a ledger of so many calls, the last of them just before `end` (epoch ms)."""
    async with open_store(path, max_cache_bytes=0):
        pass
    start = end - DAYS * DAY_MS
    with closing(connect(path, busy_timeout=5)) as connection:
        _add_labels(connection)
        for first in range(1, calls + 1, _BATCH):
            span = {"first": first, "last": min(first + _BATCH - 1, calls)}
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_CALLS, {**span, "start": start, "step": (end - start) / calls})
                connection.execute(_ATTEMPTS, span)
        for day in range(start // DAY_MS, end // DAY_MS + 1):
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                rebuild_day(connection, day)


def _add_labels(connection: sqlite3.Connection) -> None:
    rows = product(enumerate(MODELS), TENANTS, OPERATIONS)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for number, ((place, (provider, model)), tenant, operation) in enumerate(rows, start=1):
            row = (number, provider, model, TIERS[place // 2], operation, tenant)
            connection.execute(_LABELS, row)


_TEXTS = "provider, model, tier, operation, tenant, agent"
_TABLES = {
    "calls": "calls.id",
    "attempts": "call, ordinal",
    "usage": f"span, quarter, {_TEXTS}",
}
"""What to sort their rows by."""


async def same_as_recorded(path: Path, other: Path) -> bool:
    """Whether the ledger at `path` holds what it would hold if its calls had been recorded one by one, which
    is done at `other`; and whether its sums are those of its calls."""
    async with (
        open_store(path, max_cache_bytes=0) as filled,
        open_store(other, max_cache_bytes=0) as recorded,
    ):
        async for calls in filled.export_calls(start=0, end=2**50):
            for call in calls:
                await recorded.record(call)
        if await filled.check():
            return False
    return all(_rows(path, table) == _rows(other, table) for table in _TABLES)


def _rows(path: Path, table: str) -> list[tuple[object, ...]]:
    """The table, with the texts of the labels in place of their number."""
    with closing(connect(path, busy_timeout=5)) as connection:
        found = connection.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608  our own names
        columns = ", ".join(f"{table}.{column[0]}" for column in found.description if column[0] != "labels")
        return connection.execute(
            f"SELECT {_TEXTS}, {columns} FROM {table} JOIN labels ON labels.id = labels"  # noqa: S608
            f" ORDER BY {_TABLES[table]}"
        ).fetchall()
