"""Conversations that the server keeps, so that callers send only their next turn."""

import anyio
import pytest

from tests import fake_provider
from tests.fake_provider import FakeProvider, ToolCall
from tests.server.harness import MARKS, Installation, Json, chat, refusal

pytestmark = MARKS

HARD = (
    "Prove that the halting problem is undecidable, then design a distributed ledger with proofs of safety."
)
EASY = "What is the capital of France?"


def said(fake: FakeProvider) -> list[tuple[str, str]]:
    return [(turn["role"], turn.get("content") or "") for turn in fake.requests[-1].json["messages"]]


async def test_the_next_turn_goes_with_those_before_it(installation: Installation, fake: FakeProvider):
    fake.always("small", fake_provider.ok(content="Paris"))
    async with installation.client() as client:
        await chat(client, EASY, conversation_id="c", system_prompt="Be brief.")
        await chat(client, "And of Norway?", conversation_id="c")
        assert said(fake) == [
            ("system", "Be brief."),
            ("user", EASY),
            ("assistant", "Paris"),
            ("user", "And of Norway?"),
        ]
        await chat(client, "And of Norway?", conversation_id="d")
        assert said(fake) == [("user", "And of Norway?")]


async def test_a_failed_turn_leaves_no_trace(installation: Installation, fake: FakeProvider):
    fake.next("small", fake_provider.status(400))
    async with installation.client() as client:
        refusal(await client.call_tool("chat", {"prompt": EASY, "conversation_id": "c"}))
        await chat(client, "What is the capital of Norway?", conversation_id="c")
    assert said(fake) == [("user", "What is the capital of Norway?")]


async def test_an_answer_from_the_cache_is_a_turn_as_well(installation: Installation, fake: FakeProvider):
    async with installation.client() as client:
        await chat(client, EASY)
        assert (await chat(client, EASY, conversation_id="c"))["cached"]
        await chat(client, "And of Norway?", conversation_id="c")
    assert [role for role, _ in said(fake)] == ["user", "assistant", "user"]


async def test_the_results_of_tools_are_all_that_is_new(installation: Installation, fake: FakeProvider):
    tools: list[Json] = [{"name": "weather", "parameters": {"type": "object", "properties": {}}}]
    call = ToolCall(id="call_a", name="weather")
    fake.next("small", fake_provider.ok(tool_calls=[call]), fake_provider.ok(content="Rain."))
    result = {"role": "tool", "tool_call_id": "call_a", "content": "rain"}
    async with installation.client() as client:
        await chat(client, EASY, conversation_id="c", tools=tools)
        await chat(client, "", conversation_id="c", tools=tools, history=[result], tier="simple")
    assert [role for role, _ in said(fake)] == ["user", "assistant", "tool"]


async def test_the_conversation_of_another_tenant_cannot_be_gone_on_with(
    installation: Installation, fake: FakeProvider
):
    async with installation.client() as client:
        await chat(client, EASY, conversation_id="c", tenant="acme")
        stolen = {"prompt": "What did I say?", "conversation_id": "c", "tenant": "other"}
        assert "that id is taken" in refusal(await client.call_tool("chat", stolen))
    assert len(fake.requests) == 1


async def test_it_rises_to_a_harder_tier_at_once_and_falls_only_after_three_easier_turns(
    installation: Installation, fake: FakeProvider
):
    async with installation.client() as client:
        tiers = [
            (await chat(client, prompt, conversation_id="c"))["tier"]
            for prompt in (EASY, HARD, EASY, EASY, EASY, EASY)
        ]
    assert tiers == ["simple", "complex", "complex", "complex", "complex", "standard"]


async def test_the_oldest_turns_are_dropped_beyond_the_limit(installation: Installation, fake: FakeProvider):
    installation.configure({"conversations": {"max_tokens": 100}})
    async with installation.client() as client:
        for number in range(8):
            await chat(client, f"Number {number}. " + "word " * 20, conversation_id="c", tier="simple")
    sent = said(fake)
    assert sent[0][0] == "user"
    assert "Number 7" in sent[-1][1]
    assert "Number 6" in sent[-3][1]
    assert not any("Number 0" in content for _, content in sent)


async def test_or_they_are_summed_up_by_the_simple_tier_which_the_ledger_shows(
    installation: Installation, fake: FakeProvider
):
    installation.configure({"conversations": {"max_tokens": 100, "overflow": "summarise"}})
    fake.always("small", fake_provider.ok(content="They counted."))
    async with installation.client() as client:
        for number in range(5):
            await chat(client, f"Number {number}. " + "word " * 20, conversation_id="c", tier="standard")
        groups = (await client.call_tool("usage_summary", {"group_by": "operation"})).structured_content
    assert said(fake)[0][0] == "system"
    assert said(fake)[0][1].endswith("They counted.")
    assert groups is not None
    assert {group["key"] for group in groups["groups"]} == {"chat", "summarise"}


async def test_without_a_summary_they_are_dropped(installation: Installation, fake: FakeProvider):
    installation.configure({"conversations": {"max_tokens": 100, "overflow": "summarise"}})
    fake.always("small", fake_provider.status(400))
    async with installation.client() as client:
        for number in range(5):
            await chat(client, f"Number {number}. " + "word " * 20, conversation_id="c", tier="standard")
    assert said(fake)[0][0] == "user"


@pytest.mark.parametrize(("storage", "lasts"), [("memory", False), ("database", True)])
async def test_only_in_the_database_it_outlives_the_server(
    installation: Installation, fake: FakeProvider, storage: str, lasts: bool
):
    private = "The password is swordfish-4711."
    installation.configure({"conversations": {"storage": storage}, "caching": {"enabled": False}})
    async with installation.client() as client:
        await chat(client, private, conversation_id="c", tier="simple")
        on_disk = b"".join(file.read_bytes() for file in installation.data.rglob("*") if file.is_file())
    async with installation.client() as client:
        await chat(client, "What did I say?", conversation_id="c", tier="simple")
    assert (private.encode() in on_disk) is lasts
    assert len(said(fake)) == (3 if lasts else 1)


async def test_turns_that_come_at_the_same_time_are_all_kept(installation: Installation, fake: FakeProvider):
    async with installation.client() as client:

        async def say(number: int) -> None:
            await chat(client, f"This is number {number}.", conversation_id="c", tier="simple")

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(say, number)
        await chat(client, "Which numbers?", conversation_id="c", tier="simple")
    told = " ".join(content for role, content in said(fake) if role == "user")
    assert all(f"number {number}." in told for number in range(5))


async def test_an_id_that_is_none_is_refused(installation: Installation):
    bad: Json = {"prompt": "x", "conversation_id": "  "}
    async with installation.client() as client:
        assert "`conversation_id` is empty" in refusal(await client.call_tool("chat", bad))
