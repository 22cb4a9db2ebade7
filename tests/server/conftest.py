from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_provider import FakeProvider
from tests.server.harness import Installation, keyless, through


@pytest.fixture
async def fake(litellm_loaded: None) -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture
def installation(tmp_path: Path, fake: FakeProvider) -> Installation:
    """One that reaches the fake provider."""
    return Installation(tmp_path, through(fake.url))


@pytest.fixture
def demo(tmp_path: Path, litellm_loaded: None) -> Installation:
    """One without any key."""
    return Installation(tmp_path, keyless())
