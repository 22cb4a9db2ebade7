"""Which model for a task and a purse: recommended, or chosen by `auto:…`."""

import pytest

from tests import fake_provider
from tests.fake_provider import FakeProvider
from tests.server.harness import MARKS, Installation, Json, chat, refusal, structured

pytestmark = MARKS

TIERS: Json = {
    "simple": {"model": ["gemini/gemini-2.5-flash-lite", "openai/gpt-3.5-turbo"]},
    "standard": {"model": ["openai/gpt-5-mini"]},
    "complex": {"model": ["anthropic/claude-haiku-4-5", "openai/gpt-5"]},
}


@pytest.fixture
def known(everywhere: Installation) -> Installation:
    """One whose models are in the price map."""
    everywhere.configure({"model_routing": {"rules": TIERS}})
    return everywhere


async def recommended(installation: Installation, **arguments: str) -> list[str]:
    async with installation.client() as client:
        listed = structured(await client.call_tool("list_models", arguments))
    return [it["model"] for it in listed["recommended"]]


@pytest.mark.parametrize(
    ("task", "budget", "first"),
    [
        ("general", "low", "gemini/gemini-2.5-flash-lite"),
        ("general", "medium", "openai/gpt-5-mini"),
        ("general", "high", "anthropic/claude-haiku-4-5"),
        ("code", "low", "openai/gpt-5-mini"),
        ("vision", "low", "gemini/gemini-2.5-flash-lite"),
        ("reasoning", "high", "anthropic/claude-haiku-4-5"),
        ("long_context", "low", "gemini/gemini-2.5-flash-lite"),
    ],
)
async def test_the_best_three_are_told_in_order(known: Installation, task: str, budget: str, first: str):
    names = await recommended(known, task=task, budget=budget)
    assert names[0] == first
    assert len(names) <= 3


async def test_a_recommendation_says_why(known: Installation):
    async with known.client() as client:
        listed = structured(await client.call_tool("list_models", {"task": "vision", "budget": "low"}))
    assert listed["recommended"][0] == {
        "model": "gemini/gemini-2.5-flash-lite",
        "reason": "serves the simple tier, has vision, $0.1 in and $0.4 out a million tokens",
    }


async def test_models_that_cannot_or_whose_key_is_missing_are_not_recommended(known: Installation):
    known.configure({"litellm": {"providers": {"gemini": {"api_key_env": "GEMINI_API_KEY"}}}})
    del known.environ["GEMINI_API_KEY"]
    assert "openai/gpt-3.5-turbo" not in await recommended(known, task="vision")
    assert "gemini/gemini-2.5-flash-lite" not in await recommended(known, task="vision", budget="low")


async def test_without_a_task_nothing_is_recommended(known: Installation):
    async with known.client() as client:
        assert "recommended" not in structured(await client.call_tool("list_models"))


@pytest.mark.parametrize(
    ("model", "served"),
    [("auto:cheap", "gemini/gemini-2.5-flash-lite"), ("auto:best", "anthropic/claude-haiku-4-5")],
)
async def test_auto_asks_among_the_models_of_all_tiers(
    known: Installation, fake: FakeProvider, model: str, served: str
):
    async with known.client() as client:
        receipt = await chat(client, "What is 2 + 2?", model=model)
    assert receipt["model"] == served
    assert receipt["reason"].startswith(f"the caller asked for {model}; ")


async def test_auto_goes_on_to_the_next_one_where_the_first_fails(known: Installation, fake: FakeProvider):
    fake.always("gemini-2.5-flash-lite", fake_provider.status(401))
    async with known.client() as client:
        receipt = await chat(client, "What is 2 + 2?", model="auto:cheap", max_tokens=100)
    assert receipt["model"] == "openai/gpt-3.5-turbo"


async def test_auto_fast_takes_the_model_that_was_fastest(known: Installation, fake: FakeProvider):
    known.configure({"caching": {"enabled": False}})
    async with known.client() as client:
        models = {(await chat(client, "What is 2 + 2?", model="auto:fast"))["model"] for _ in range(5)}
    assert models == {name for tier in TIERS.values() for name in tier["model"]}  # each is tried once


async def test_auto_alone_lets_the_difficulty_decide(known: Installation, fake: FakeProvider):
    async with known.client() as client:
        assert (await chat(client, "What is 2 + 2?", model="auto"))["tier"] == "simple"


async def test_auto_what_is_not_there_is_told(known: Installation, fake: FakeProvider):
    async with known.client() as client:
        result = await client.call_tool("chat", {"prompt": "x", "model": "auto:magic"})
    assert "auto, auto:cheap, auto:fast, auto:best choose by themselves" in refusal(result)
