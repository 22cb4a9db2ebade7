"""A provider on loopback that speaks the wires of OpenAI, Anthropic and Gemini, and fails on request.

    async with FakeProvider() as fake:
        fake.always("model-a", rate_limited(retry_after=3))
        fake.next("model-b", status(500), ok())  # then as before
        …  # point a client at fake.url, fake.anthropic_url or fake.gemini_url
        assert fake.requests[0].json["model"] == "model-a"

The behaviours are the same over each wire, as are those of `tests.fake_provider.faults`. As a program,
for demonstrations and benchmarks: `python -m tests.fake_provider --port 9000`.
"""

from aiohttp import web

from tests.fake_provider.answers import Answer, Limits, Tokens, ToolCall
from tests.fake_provider.anthropic import AnthropicExchange
from tests.fake_provider.behaviours import (
    Behaviour,
    blocked,
    cut_mid_stream,
    delay,
    empty,
    fails_mid_stream,
    garbage,
    hang,
    no_usage,
    ok,
    overloaded,
    rate_limited,
    refusal,
    refuse,
    slow_drip,
    status,
)
from tests.fake_provider.exchange import Exchange, RecordedRequest, Upload
from tests.fake_provider.gemini import GeminiExchange
from tests.fake_provider.media import MP3, PNG
from tests.fake_provider.openai import OpenAIExchange
from tests.fake_provider.provider import FakeProvider

__all__ = [
    "MP3",
    "PNG",
    "Answer",
    "AnthropicExchange",
    "Behaviour",
    "Exchange",
    "FakeProvider",
    "GeminiExchange",
    "Limits",
    "OpenAIExchange",
    "RecordedRequest",
    "Tokens",
    "ToolCall",
    "Upload",
    "blocked",
    "cut_mid_stream",
    "delay",
    "empty",
    "fails_mid_stream",
    "garbage",
    "hang",
    "no_usage",
    "ok",
    "overloaded",
    "rate_limited",
    "refusal",
    "refuse",
    "slow_drip",
    "status",
    "web",
]
