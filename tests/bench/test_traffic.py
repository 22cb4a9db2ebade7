"""The benchmark's ledgers are those that recording would have made."""

import time
from pathlib import Path

import pytest

from tests.bench.traffic import fill, same_as_recorded
from tierwise.storage.sqlite import open_store

pytestmark = pytest.mark.anyio


async def test_a_filled_ledger_is_the_same_as_a_recorded_one(tmp_path: Path) -> None:
    path = tmp_path / "filled.db"
    await fill(path, 1_000, end=time.time_ns() // 1_000_000)
    assert await same_as_recorded(path, tmp_path / "recorded.db")
    async with open_store(path, max_cache_bytes=0) as store:
        [row] = await store.usage(start=0, end=2**52)
    assert row.calls == 1_000
    assert min(row.cached_calls, row.failed_calls, row.cancelled_calls, row.unpriced_calls) > 0
