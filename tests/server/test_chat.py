"""`chat` and `chat_result` as a client sees them."""

from collections.abc import Callable
from typing import Any

import anyio
import jsonschema
import pytest
from mcp.client import Client

from tests import fake_provider
from tests.fake_provider import FakeProvider
from tests.server.harness import (
    ERAS,
    KEY,
    MARKS,
    Era,
    Hanging,
    Installation,
    Json,
    chat,
    refusal,
    structured,
    text,
)

pytestmark = MARKS

PROMPT = "What is the capital of France?"


async def usage(client: Client) -> Json:
    return structured(await client.call_tool("today_usage"))


@pytest.mark.parametrize("era", ERAS)
async def test_a_receipt_says_what_answered_why_and_what_it_cost(
    installation: Installation, fake: FakeProvider, era: Era
):
    fake.always(
        "small", fake_provider.ok(content="Paris", usage={"prompt_tokens": 10, "completion_tokens": 5})
    )
    async with installation.client(era) as client:
        receipt = await chat(client, PROMPT)
    assert receipt.pop("call_id")
    assert receipt.pop("latency_ms") > 0
    assert receipt.pop("reason").endswith("fake/small is first of the simple tier")
    assert 0 <= receipt.pop("complexity_score") < 0.3
    assert receipt == {
        "status": "done",
        "content": "Paris",
        "model": "fake/small",
        "provider": "fake",
        "tier": "simple",
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "cost_usd": pytest.approx((10 * 1 + 5 * 2) / 1e6),
        "saved_usd": pytest.approx((10 * 99 + 5 * 198) / 1e6),
        "cached": False,
        "finish_reason": "stop",
    }


async def test_the_text_of_an_answer_is_what_the_model_wrote_and_nothing_else(
    installation: Installation, fake: FakeProvider
):
    fake.always("small", fake_provider.ok(content="Paris\n  is it."))
    async with installation.client() as client:
        assert text(await client.call_tool("chat", {"prompt": PROMPT})) == "Paris\n  is it."


async def test_every_parameter_reaches_the_provider(installation: Installation, fake: FakeProvider):
    async with installation.client() as client:
        await chat(
            client,
            "and now?",
            model="nameless",
            max_tokens=77,
            temperature=0.5,
            system_prompt="Be brief.",
            history=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
        )
    [sent] = fake.requests
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert sent.json["model"] == "unpriced"
    assert (sent.json["max_tokens"], sent.json["temperature"]) == (77, 0.5)
    assert [(turn["role"], turn["content"]) for turn in sent.json["messages"]] == [
        ("system", "Be brief."),
        ("user", "hi"),
        ("assistant", "ho"),
        ("user", "and now?"),
    ]


@pytest.mark.parametrize("tier", ["simple", "standard", "complex"])
async def test_a_caller_may_choose_the_tier(installation: Installation, tier: str):
    async with installation.client() as client:
        assert (await chat(client, tier=tier))["tier"] == tier


async def test_the_same_prompt_is_answered_from_the_cache_for_nothing(
    installation: Installation, fake: FakeProvider
):
    async with installation.client() as client:
        fresh = await chat(client, PROMPT)
        again = await chat(client, PROMPT)
        spent = await usage(client)
    assert len(fake.requests) == 1
    assert again["cached"]
    assert again["content"] == fresh["content"]
    assert again["call_id"] != fresh["call_id"]
    assert (again["cost_usd"], again["total_tokens"]) == (0, 0)
    assert again["saved_usd"] > fresh["saved_usd"] > 0
    assert (spent["calls"], spent["cached_calls"], spent["cost"]) == (2, 1, fresh["cost_usd"])


async def test_without_use_cache_the_answer_is_fresh_and_replaces_the_cached_one(
    installation: Installation, fake: FakeProvider
):
    fake.next("small", fake_provider.ok(content="old"), fake_provider.ok(content="new"))
    async with installation.client() as client:
        answers = [
            await chat(client, PROMPT),
            await chat(client, PROMPT, use_cache=False),
            await chat(client, PROMPT),
        ]
    assert [(answer["content"], answer["cached"]) for answer in answers] == [
        ("old", False),
        ("new", False),
        ("new", True),
    ]


async def test_a_fallback_shows_every_attempt(installation: Installation, fake: FakeProvider):
    fake.always("small", fake_provider.status(500))
    async with installation.client() as client:
        receipt = await chat(client, PROMPT)
    assert receipt["model"] == "fake/standard"
    assert (receipt["tier_chosen"], receipt["tier"]) == ("simple", "standard")
    assert "that failed, so fake/standard served" in receipt["reason"]
    assert [(tried["model"], tried["outcome"]) for tried in receipt["attempts"]] == [
        ("fake/small", "server_failed"),
        ("fake/standard", "ok"),
    ]


async def test_the_callers_own_fallback_models_replace_the_ladder(
    installation: Installation, fake: FakeProvider
):
    fake.always("small", fake_provider.status(500))
    async with installation.client() as client:
        receipt = await chat(client, PROMPT, fallback_models=["fake/large"])
    assert [tried["model"] for tried in receipt["attempts"]] == ["fake/small", "fake/large"]


async def test_an_unknown_price_is_null_with_a_note_and_not_zero(installation: Installation):
    async with installation.client() as client:
        receipt = await chat(client, model="nameless")
        spent = await usage(client)
    assert receipt["cost_usd"] is None
    assert receipt["saved_usd"] is None
    assert "usage_tracking.pricing" in receipt["cost_note"]
    assert spent["unpriced_calls"] == 1


async def test_a_price_cap_lowers_the_tier_and_says_so(installation: Installation):
    async with installation.client() as client:
        receipt = await chat(client, tier="complex", max_tokens=1000, max_cost_usd=0.01)
    assert receipt["model"] == "fake/small"
    assert "to stay under max_cost_usd" in receipt["reason"]


async def test_a_price_cap_that_no_model_keeps_refuses_the_call(
    installation: Installation, fake: FakeProvider
):
    async with installation.client() as client:
        said = refusal(await client.call_tool("chat", {"prompt": PROMPT, "max_cost_usd": 0}))
    assert "over the price cap" in said
    assert "max_cost_usd" in said
    assert not fake.requests


async def test_a_failure_names_each_model_and_its_reason(installation: Installation, fake: FakeProvider):
    for model in ("small", "standard", "large"):
        fake.always(model, fake_provider.rate_limited(retry_after=30))
    async with installation.client() as client:
        said = refusal(await client.call_tool("chat", {"prompt": PROMPT}))
        spent = await usage(client)
    assert all(model in said for model in ("fake/small", "fake/standard", "fake/large"))
    assert (spent["calls"], spent["failed_calls"]) == (1, 1)


async def test_a_key_that_a_provider_echoes_is_neither_shown_nor_stored(
    installation: Installation, fake: FakeProvider
):
    for model in ("small", "standard", "large"):
        fake.always(model, fake_provider.refusal(401, f"Incorrect API key provided: {KEY}"))
    async with installation.client() as client:
        said = refusal(await client.call_tool("chat", {"prompt": PROMPT}))
    assert KEY not in said
    assert KEY.encode() not in installation.stored()


async def test_prompts_are_not_stored(installation: Installation, fake: FakeProvider):
    for model in ("small", "standard", "large"):
        fake.next(model, fake_provider.status(500))
        fake.always(model, fake_provider.ok(content="yes"))
    question = "Is the heron in the north tower?"
    async with installation.client() as client:
        failed = await client.call_tool("chat", {"prompt": question})
        answered = await client.call_tool("chat", {"prompt": question})
    assert (failed.is_error, answered.is_error) == (True, False)
    assert b"yes" in installation.stored()
    assert b"heron" not in installation.stored()


async def test_a_missing_key_names_its_variable_and_where_it_is_set(installation: Installation):
    del installation.environ["FAKE_API_KEY"]
    async with installation.client() as client:
        said = refusal(await client.call_tool("chat", {"prompt": PROMPT}))
    assert "Set FAKE_API_KEY in the `env` of the tierwise entry in your host's MCP configuration" in said


async def test_identical_calls_at_once_share_one_request_and_the_first_pays(
    installation: Installation, fake: FakeProvider
):
    slow = Hanging()
    fake.always("small", slow)
    receipts: list[Json] = []

    async def ask(client: Client) -> None:
        receipts.append(await chat(client, PROMPT))

    async with installation.client() as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, client)
            await slow.arrived.wait()
            slow.released.set()
        spent = await usage(client)
    assert len(fake.requests) == 1
    assert len({receipt["call_id"] for receipt in receipts}) == 5
    assert sum(receipt["cost_usd"] > 0 for receipt in receipts) == 1
    assert (spent["calls"], spent["cached_calls"]) == (5, 4)


# An answer that takes longer than the caller can wait


@pytest.fixture
def impatient(installation: Installation) -> Installation:
    installation.configure({"server": {"answer_within": 0.1}})
    return installation


@pytest.mark.parametrize("era", ERAS)
async def test_a_long_answer_is_handed_back_as_running_and_fetched_later(
    impatient: Installation, fake: FakeProvider, era: Era
):
    slow = Hanging("first, ")
    fake.always("large", slow)
    async with impatient.client(era) as client:
        shown = await client.call_tool("chat", {"prompt": PROMPT, "tier": "complex"})
        running = structured(shown)
        still = await fetched(client, running["call_id"], lambda result: result["content"])
        slow.released.set()
        done = await finished(client, running["call_id"])
        spent = await usage(client)
    assert running["status"] == "running"
    assert still == {**running, "content": "first, "}
    assert f'chat_result(call_id="{running["call_id"]}")' in text(shown)
    assert done["status"] == "done"
    assert done["content"] == "first, the end"
    assert done["call_id"] == running["call_id"]
    assert done["cost_usd"] > 0
    assert spent["calls"] == 1


async def fetched(client: Client, call_id: str, enough: Callable[[Json], bool]) -> Json:
    while True:
        result = structured(await client.call_tool("chat_result", {"call_id": call_id}))
        if enough(result):
            return result


async def finished(client: Client, call_id: str) -> Json:
    return await fetched(client, call_id, lambda result: result["status"] == "done")


async def test_a_result_can_be_fetched_more_than_once(impatient: Installation, fake: FakeProvider):
    slow = Hanging()
    fake.always("small", slow)
    async with impatient.client() as client:
        running = await chat(client, PROMPT)
        slow.released.set()
        assert await finished(client, running["call_id"]) == await finished(client, running["call_id"])


async def test_a_running_call_that_fails_says_so_when_it_is_fetched(
    impatient: Installation, fake: FakeProvider
):
    impatient.configure({"litellm": {"timeout": 0.4}, "reliability": {"deadline": 0.5}})
    for model in ("small", "standard", "large"):
        fake.always(model, fake_provider.hang())
    async with impatient.client() as client:
        running = await chat(client, PROMPT)
        result = await client.call_tool("chat_result", {"call_id": running["call_id"]})
        while not result.is_error:
            result = await client.call_tool("chat_result", {"call_id": running["call_id"]})
    assert "reliability.deadline" in refusal(result)


async def test_a_call_id_that_nobody_knows_is_refused(demo: Installation):
    async with demo.client() as client:
        said = refusal(await client.call_tool("chat_result", {"call_id": "nope"}))
    assert said.startswith("There is no running call 'nope'")


# Progress and cancellation


@pytest.mark.parametrize("era", ERAS)
async def test_progress_carries_the_text_so_far(installation: Installation, fake: FakeProvider, era: Era):
    slow = Hanging("Once ", "upon ")
    fake.always("small", slow)
    told: list[tuple[float, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))
        slow.released.set()

    async with installation.client(era) as client:
        answer = await client.call_tool("chat", {"prompt": PROMPT}, progress_callback=on_progress)
    assert told[0][1] == "Once upon "
    assert told[0][0] > 0
    assert text(answer) == "Once upon the end"


async def test_of_a_very_long_text_so_far_progress_carries_the_end(
    installation: Installation, fake: FakeProvider
):
    slow = Hanging("Once ", *["upon a time " * 500] * 20)
    fake.always("small", slow)
    told: list[str | None] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)
        slow.released.set()

    async with installation.client() as client:
        answer = await client.call_tool("chat", {"prompt": PROMPT}, progress_callback=on_progress)
    assert told[-1] == f"… {text(answer).removesuffix('the end')[-50_000:]}"
    assert text(answer).startswith("Once upon ")


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cancels_closes_the_upstream_request_and_the_call_is_recorded(
    installation: Installation, fake: FakeProvider, era: Era
):
    slow = Hanging()
    fake.always("small", slow)
    async with installation.client(era) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chat, client, PROMPT)
            await slow.arrived.wait()
            tasks.cancel_scope.cancel()
        await slow.left.wait()
    spent = await installation.ledger()
    assert (spent["calls"], spent["cancelled_calls"]) == (1, 1)
    assert spent["cost"] > 0  # the provider has read the prompt


async def test_one_of_two_identical_calls_may_cancel_without_harm_to_the_other(
    installation: Installation, fake: FakeProvider
):
    slow = Hanging()
    fake.always("small", slow)
    receipts: list[Json] = []

    async def ask(client: Client) -> None:
        receipts.append(await chat(client, PROMPT))

    async with installation.client() as client, anyio.create_task_group() as tasks:
        leaving = anyio.CancelScope()

        async def ask_and_leave() -> None:
            with leaving:
                await chat(client, PROMPT)

        tasks.start_soon(ask_and_leave)
        await slow.arrived.wait()
        tasks.start_soon(ask, client)
        await anyio.wait_all_tasks_blocked()
        leaving.cancel()
        await anyio.wait_all_tasks_blocked()
        slow.released.set()
    assert [receipt["content"] for receipt in receipts] == ["the end"]


# What answers look like on the wire


async def schemas_of(client: Client) -> dict[str, Json]:
    return {tool.name: tool.output_schema or {} for tool in (await client.list_tools()).tools}


async def valid(client: Client, tool: str, **arguments: Any) -> Json:
    """The answer, checked against the schema that the tool declares."""
    result = structured(await client.call_tool(tool, arguments))
    schema = (await schemas_of(client))[tool]
    assert schema["properties"]
    jsonschema.validate(result, schema)
    return result


async def test_every_structured_answer_is_valid_under_the_schema_that_the_tool_declares(
    installation: Installation, fake: FakeProvider
):
    fake.always("standard", fake_provider.status(500))
    async with installation.client() as client:
        assert not (await valid(client, "chat", prompt=PROMPT))["cached"]
        assert (await valid(client, "chat", prompt=PROMPT))["cached"]
        assert (await valid(client, "chat", prompt=PROMPT, model="nameless"))["cost_usd"] is None
        assert (await valid(client, "chat", prompt=PROMPT, tier="standard"))["attempts"]
        for tool in ("usage_summary", "today_usage", "list_models"):
            await valid(client, tool)
        assert (await valid(client, "analyze_complexity", prompt=PROMPT))["candidates"]


async def test_the_answers_of_a_running_call_are_valid_too(impatient: Installation, fake: FakeProvider):
    slow = Hanging()
    fake.always("small", slow)
    async with impatient.client() as client:
        call_id = (await valid(client, "chat", prompt=PROMPT))["call_id"]
        assert (await valid(client, "chat_result", call_id=call_id))["status"] == "running"
        slow.released.set()
        await finished(client, call_id)
        assert (await valid(client, "chat_result", call_id=call_id))["status"] == "done"
