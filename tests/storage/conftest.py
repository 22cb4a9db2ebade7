"""The stores that the common suite runs against."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tierwise.storage.ports import Store
from tierwise.storage.sqlite import open_store

MAX_CACHE_BYTES = 10_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    """An empty store whose cache holds `MAX_CACHE_BYTES`."""
    async with open_store(tmp_path / "tierwise.db", max_cache_bytes=MAX_CACHE_BYTES) as store:
        yield store
