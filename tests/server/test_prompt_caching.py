"""The providers' own prompt caches: marked where they want that, priced, and stayed with."""

from typing import cast

import pytest

from tests import fake_provider
from tests.fake_provider import FakeProvider, Tokens
from tests.server.harness import MARKS, Installation, Json, chat

pytestmark = MARKS

LONG = "You are a careful assistant. " * 250
TURNS = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
TOOL: Json = {"name": "time", "parameters": {"type": "object", "properties": {}}}
MARK = {"type": "ephemeral"}
WRITTEN = Tokens(input=2_010, output=100, cache_write=2_000)
READ = Tokens(input=2_010, output=100, cache_read=2_000)


async def test_anthropic_is_told_where_the_long_prefix_ends(everywhere: Installation, fake: FakeProvider):
    async with everywhere.client() as client:
        await chat(client, model="anthropic", system_prompt=LONG, history=TURNS, tools=[TOOL])
    sent = fake.requests[0].json
    assert sent["system"][-1]["cache_control"] == MARK
    assert sent["tools"][-1]["cache_control"] == MARK
    hello, hi, prompt = (turn["content"] for turn in sent["messages"])
    assert hi[-1]["cache_control"] == MARK
    assert "cache_control" not in str((hello, prompt))


@pytest.mark.parametrize(
    ("model", "system", "settings"),
    [
        ("openai", LONG, {}),
        ("gemini", LONG, {}),
        ("anthropic", "Be brief.", {}),
        ("anthropic", LONG, {"model_routing": {"prompt_caching": False}}),
    ],
    ids=["OpenAI finds out by itself", "so does Gemini", "a short prefix is not worth it", "switched off"],
)
async def test_nobody_else_is(
    everywhere: Installation, fake: FakeProvider, model: str, system: str, settings: Json
):
    everywhere.configure(settings)
    async with everywhere.client() as client:
        await chat(client, model=model, system_prompt=system, history=TURNS, tools=[TOOL])
    assert "cache_control" not in str(fake.requests[0].json)


async def test_the_receipt_says_what_the_cache_saved_and_what_keeping_it_cost(
    everywhere: Installation, fake: FakeProvider
):
    fake.next("claude-haiku-4-5", fake_provider.ok(tokens=WRITTEN), fake_provider.ok(tokens=READ))
    async with everywhere.client() as client:
        first = await chat(client, model="anthropic", system_prompt=LONG)
        second = await chat(client, model="anthropic", system_prompt=LONG, use_cache=False)
    # USD a million: 1 input, 5 output, 1.25 to write to the cache, 0.1 to read from it
    assert first["cost_usd"] == pytest.approx((10 * 1 + 100 * 5 + 2_000 * 1.25) / 1e6)
    assert first["prompt_cache_saved_usd"] == pytest.approx(-2_000 * 0.25 / 1e6)
    assert second["cost_usd"] == pytest.approx((10 * 1 + 100 * 5 + 2_000 * 0.1) / 1e6)
    assert second["prompt_cache_saved_usd"] == pytest.approx(2_000 * 0.9 / 1e6)


def turns(*texts: str) -> list[Json]:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


OPENING = "word " * 20_000
"""Reading it again costs far more than a short answer."""


async def served_second(installation: Installation, fake: FakeProvider) -> Json:
    """The second turn of a conversation whose first was served by the dearer of two models, since the
    cheaper one was down."""
    rules = {"simple": {"model": ["openai", "anthropic"]}}
    installation.configure({"model_routing": {"rules": rules}, "caching": {"enabled": False}})
    used = Tokens(input=28_000, output=20, cache_write=27_900)
    fake.next("gpt-5-mini", fake_provider.status(401))
    fake.always("claude-haiku-4-5", fake_provider.ok(content="Yes.", tokens=used))
    async with installation.client() as client:
        first = await chat(client, OPENING, tier="simple")
        assert first["provider"] == "anthropic"
        history = turns(OPENING, "Yes.")
        preview = await client.call_tool("analyze_complexity", {"prompt": "And 2 + 2?", "history": history})
        second = await chat(client, "And 2 + 2?", history=history, tier="simple")
    selected = cast("Json", preview.structured_content)["selected_model"]
    assert selected == second["model"]
    return second


async def test_a_conversation_stays_with_the_model_whose_cache_makes_it_cheaper(
    everywhere: Installation, fake: FakeProvider
):
    second = await served_second(everywhere, fake)
    assert second["provider"] == "anthropic"
    assert "its cache holds this conversation" in second["reason"]


async def test_unless_the_settings_say_otherwise(everywhere: Installation, fake: FakeProvider):
    everywhere.configure({"model_routing": {"prompt_caching": False}})
    assert (await served_second(everywhere, fake))["provider"] == "openai"
