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


@pytest.fixture
def everywhere(installation: Installation, fake: FakeProvider) -> Installation:
    """One that reaches the fake provider over three wires, under the names of models that can do it all."""
    installation.configure(
        {
            "litellm": {
                "providers": {
                    "openai": {"api_base": fake.url, "models": {"openai": "gpt-5-mini"}},
                    "anthropic": {
                        "api_base": fake.anthropic_url,
                        "models": {"anthropic": "claude-haiku-4-5"},
                    },
                    "gemini": {"api_base": fake.gemini_url, "models": {"gemini": "gemini-2.5-flash"}},
                }
            }
        }
    )
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        installation.environ[variable] = f"sk-{variable}"
    return installation
