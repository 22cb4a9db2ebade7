"""The three wires that the adapter reaches models over, each to the same fake provider."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio
import pytest

from tests.fake_provider import FakeProvider
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import Completion, UpstreamCall
from tierwise.routing.providers.litellm import LiteLLMProvider
from tierwise.routing.request import Message, Payload

MARKS = [
    pytest.mark.anyio,
    # litellm silences these on import, which pytest undoes for each test: its types, its streams
    pytest.mark.filterwarnings("ignore:Items? .* using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

KEY = "sk-secret-0123456789"
PROMPT = "Why is the sky blue, and not green?"


@dataclass(frozen=True)
class Wire:
    provider: str
    model: str
    base: Callable[[FakeProvider], str]
    path: str
    key_header: str


WIRES = {
    "compatible": Wire("mine", "model-a", lambda fake: fake.url, "/v1/chat/completions", "Authorization"),
    "openai": Wire("openai", "gpt-4o-mini", lambda fake: fake.url, "/v1/chat/completions", "Authorization"),
    "anthropic": Wire(
        "anthropic", "claude-sonnet-4-5", lambda fake: fake.anthropic_url, "/v1/messages", "x-api-key"
    ),
    "gemini": Wire(
        "gemini",
        "gemini-2.5-pro",
        lambda fake: fake.gemini_url,
        "/v1beta/models/gemini-2.5-pro:generateContent",
        "x-goog-api-key",
    ),
}


def make_call(
    api_base: str,
    *,
    provider: str = "mine",
    model: str = "model-a",
    messages: tuple[Message, ...] = (Message("user", PROMPT),),
    api_key: str | None = KEY,
    timeout: float = 20,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> UpstreamCall:
    return UpstreamCall(
        provider=provider,
        model=model,
        payload=Payload(messages=messages, temperature=temperature),
        api_base=api_base,
        api_key=api_key,
        timeout=timeout,
        max_tokens=max_tokens,
    )


def call_over(wire: Wire, fake: FakeProvider, *, timeout: float = 20) -> UpstreamCall:
    return make_call(wire.base(fake), provider=wire.provider, model=wire.model, timeout=timeout)


async def complete(provider: LiteLLMProvider, call: UpstreamCall, streamed: bool) -> Completion:
    pieces: list[str] = []
    with anyio.fail_after(60):
        return await provider.complete(call, pieces.append if streamed else None)


async def failure(provider: LiteLLMProvider, call: UpstreamCall, streamed: bool) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await complete(provider, call, streamed)
    return caught.value
