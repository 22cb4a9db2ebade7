from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.fake_provider import FakeProvider
from tierwise.storage.ports import Store
from tierwise.storage.sqlite.store import open_store


@pytest.fixture
async def fake(litellm_loaded: None) -> AsyncGenerator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The file that `store` is on."""
    return tmp_path / "tierwise.db"


@pytest.fixture
async def store(database: Path) -> AsyncGenerator[Store]:
    async with open_store(database, max_cache_bytes=1_000_000) as store:
        yield store
