"""`estimate_cost` and `compare_models`."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
from mcp.client import Client

from tests.fake_provider import FakeProvider, ok, status
from tests.server.harness import MARKS, Hanging, Installation, Json, refusal, structured
from tierwise.routing.providers.litellm import loading

pytestmark = MARKS

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
PROMPT = "What is the capital of France?"
MODELS = ["fake/large", "fake/small"]


@pytest.fixture
async def full(installation: Installation) -> AsyncIterator[Client]:
    installation.configure({"server": {"toolset": "full", "answer_within": 20}})
    async with installation.client() as client:
        await asyncio.wrap_future(loading())  # not between two tests, where pytest changes the filters
        yield client


async def compare(client: Client, **arguments: object) -> Json:
    given = {"prompt": PROMPT, "models": MODELS, "max_tokens": 50}
    return structured(await client.call_tool("compare_models", given | arguments))


async def test_estimates_come_cheapest_first_and_nobody_is_called(full: Client, fake: FakeProvider):
    found = structured(await full.call_tool("estimate_cost", {"prompt": PROMPT}))
    assert [it["model"] for it in found["models"]] == ["fake/small", "fake/standard", "fake/large"]
    assert found["cheapest"] == "fake/small"
    for it, rate in zip(found["models"], (1, 10, 100), strict=True):
        assert it["estimated_cost_usd"] == pytest.approx(
            (it["input_tokens"] + 2 * it["output_tokens"]) * rate / 1e6
        )
        assert it["most_usd"] > it["estimated_cost_usd"]
    assert fake.requests == []


async def test_estimates_are_for_the_models_and_the_length_that_are_named(full: Client):
    arguments = {"prompt": PROMPT, "models": ["fake/unpriced", "fake/large"], "max_output_tokens": 7}
    found = structured(await full.call_tool("estimate_cost", arguments))
    priced, unpriced = found["models"]
    assert (priced["model"], priced["output_tokens"], found["cheapest"]) == ("fake/large", 7, "fake/large")
    assert unpriced["estimated_cost_usd"] is None
    assert "no price is known" in unpriced["note"]
    said = refusal(await full.call_tool("estimate_cost", {"prompt": PROMPT, "models": ["parrot-7b"]}))
    assert said.startswith("There is no model 'parrot-7b'")


async def test_all_models_are_asked_at_once_and_told_in_the_order_of_their_names(
    full: Client, fake: FakeProvider
):
    gates = {name: Hanging() for name in ("large", "small")}
    for name, gate in gates.items():
        fake.always(name, gate)
    found: list[Json] = []

    async def ask() -> None:
        found.append(await compare(full))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        for gate in gates.values():
            await gate.arrived.wait()
        for gate in gates.values():
            gate.released.set()
    answers = found[0]["answers"]
    assert [answer["model"] for answer in answers] == MODELS
    assert [answer["content"] for answer in answers] == ["the end"] * 2
    assert found[0]["total_cost_usd"] == pytest.approx(sum(answer["cost_usd"] for answer in answers))


async def test_a_model_that_fails_leaves_the_answers_of_the_others(full: Client, fake: FakeProvider):
    fake.always("large", status(401))
    fake.always("small", ok(usage=USAGE))
    failed, unknown, answered = (await compare(full, models=["fake/large", "parrot-7b", "fake/small"]))[
        "answers"
    ]
    assert (failed["status"], "fake/large" in failed["error"]) == ("failed", True)
    assert unknown["error"].startswith("There is no model 'parrot-7b'")
    assert (answered["status"], answered["cost_usd"]) == ("done", pytest.approx(20e-6))
    assert [request.json["model"] for request in fake.requests].count("standard") == 0


async def test_a_comparison_that_may_cost_too_much_asks_nobody(full: Client, fake: FakeProvider):
    arguments = {"prompt": PROMPT, "models": MODELS, "max_tokens": 50, "max_cost_usd": 0.005}
    said = refusal(await full.call_tool("compare_models", arguments))
    assert said.startswith("These models may cost up to $0.0")
    assert fake.requests == []
    assert len((await compare(full, max_cost_usd=0.1))["answers"]) == 2


async def test_a_slow_model_can_be_fetched_later(installation: Installation, fake: FakeProvider):
    hanging = Hanging()
    fake.always("large", hanging)
    installation.configure({"server": {"toolset": "full", "answer_within": 0.5}})
    async with installation.client() as client:
        slow, _ = (await compare(client))["answers"]
        assert slow["status"] == "running"
        hanging.released.set()
        fetched = structured(
            await client.call_tool("chat_result", {"call_id": slow["call_id"], "wait_s": 10})
        )
        assert fetched["call_id"] == slow["call_id"]


async def test_what_a_comparison_spends_is_charged_to_budgets(full: Client, fake: FakeProvider):
    for model in ("small", "large"):
        fake.always(model, ok(usage=USAGE))
    terms = {"name": "acme", "scope": "tenant", "value": "acme", "period": "day", "limit_usd": 0.02}
    structured(await full.call_tool("set_budget", terms))
    large, small = (await compare(full, tenant="acme", max_tokens=60))["answers"]
    assert small["status"] == "done"
    assert (large["status"], "'acme'" in large["error"]) == ("failed", True)
