"""`tierwise demo` against the fake provider: routing, prices and savings as with real keys, for nothing.

python -m tests.demo_fake
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import anyio

from tests.fake_provider import FakeProvider

_PRICES = {"fake-small": (0.1, 0.4), "fake-standard": (1, 4), "fake-large": (5, 20)}
"""USD per million tokens, in and out: about what real models of these sizes cost."""


def _settings(url: str) -> dict[str, object]:
    small, standard, large = (f"openai/{name}" for name in _PRICES)
    return {
        "litellm": {"providers": {"openai": {"api_key_env": "FAKE_API_KEY", "api_base": url}}},
        "model_routing": {
            "rules": {
                "simple": {"model": small},
                "standard": {"model": standard},
                "complex": {"model": large},
            }
        },
        "usage_tracking": {
            "pricing": {name: {"input": paid, "output": made} for name, (paid, made) in _PRICES.items()}
        },
    }


async def _run() -> int:
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "tierwise.json")
        async with FakeProvider() as fake:
            settings.write_text(json.dumps(_settings(fake.url)))
            command = [sys.executable, "-m", "tierwise.server.cli", "--config", str(settings), "demo"]
            environment = {**os.environ, "FAKE_API_KEY": "no-secret"}
            demo = await anyio.run_process(command, env=environment, stdout=None, stderr=None, check=False)
            return demo.returncode


if __name__ == "__main__":
    sys.exit(anyio.run(_run))
