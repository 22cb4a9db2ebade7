from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tests.fake_provider import FakeProvider
from tierwise.routing.providers.litellm import LiteLLMProvider


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture
async def provider() -> AsyncIterator[LiteLLMProvider]:
    async with aclosing(LiteLLMProvider()) as provider:
        yield provider
