from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
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


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The router's pauses between two tries, in seconds, made without chance."""
    seen: list[float] = []
    sleep = anyio.sleep

    async def noted(delay: float) -> None:
        if delay < 60:  # the engine's own timer is longer
            seen.append(delay)
        await sleep(delay)

    monkeypatch.setattr("tierwise.routing.router.anyio.sleep", noted)
    monkeypatch.setattr("tierwise.routing.router.random.random", lambda: 0.0)
    return seen
