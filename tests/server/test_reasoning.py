"""How long a model thinks: asked for in one way, told to each provider in its own, counted and paid."""

import pytest

from tests import fake_provider
from tests.fake_provider import FakeProvider, Tokens
from tests.server.harness import MARKS, Installation, Json, chat, refusal

pytestmark = MARKS

SILENT = {"openai": {"models": {"silent": "gpt-3.5-turbo"}}}


async def test_each_provider_is_told_in_its_own_words(everywhere: Installation, fake: FakeProvider):
    async with everywhere.client() as client:
        for wire in ("openai", "anthropic", "gemini"):
            await chat(client, model=wire, reasoning_effort="low")
    openai, anthropic, gemini = (request.json for request in fake.requests)
    assert openai["reasoning_effort"] == "low"
    assert anthropic["thinking"]["type"] == "enabled"
    assert gemini["generationConfig"]["thinkingConfig"]["thinkingBudget"] > 0


@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini"])
async def test_thinking_is_paid_and_stays_out_of_the_answer(
    everywhere: Installation, fake: FakeProvider, wire: str
):
    model = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}[wire]
    used = Tokens(input=100, output=500, reasoning=400)
    fake.always(model, fake_provider.ok(content="42", reasoning="Let me think.", tokens=used))
    async with everywhere.client() as client:
        receipt = await chat(client, model=wire, reasoning_effort="high")
    assert receipt["content"] == "42"
    assert (receipt["input_tokens"], receipt["output_tokens"]) == (100, 500)
    per_million = {"openai": (0.25, 2.0), "anthropic": (1.0, 5.0), "gemini": (0.3, 2.5)}[wire]
    assert receipt["cost_usd"] == pytest.approx((100 * per_million[0] + 500 * per_million[1]) / 1e6)


async def test_a_model_that_cannot_is_left_out_and_the_reason_told(
    everywhere: Installation, fake: FakeProvider
):
    everywhere.configure({"litellm": {"providers": SILENT}})
    asked: Json = {"prompt": "x", "model": "silent", "fallback_models": [], "reasoning_effort": "high"}
    async with everywhere.client() as client:
        assert "cannot be told how long to think" in refusal(await client.call_tool("chat", asked))
    assert not fake.requests


async def test_or_the_parameter_is_left_away_and_that_is_told(everywhere: Installation, fake: FakeProvider):
    everywhere.configure({"litellm": {"providers": SILENT}})
    async with everywhere.client() as client:
        receipt = await chat(client, model="silent", reasoning_effort="high", drop_params=True)
    assert receipt["dropped_params"] == ["reasoning_effort"]
    assert "reasoning_effort" not in fake.requests[0].json


async def test_not_to_think_asks_nothing_of_a_model_that_cannot(everywhere: Installation, fake: FakeProvider):
    everywhere.configure({"litellm": {"providers": SILENT}})
    async with everywhere.client() as client:
        receipt = await chat(client, model="silent", reasoning_effort="none")
    assert "dropped_params" not in receipt
    assert "reasoning_effort" not in fake.requests[0].json
