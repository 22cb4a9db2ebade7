"""Answers that keep to a JSON Schema, whether or not the model has a mode for it."""

import json

import pytest

from tests import fake_provider
from tests.fake_provider import FakeProvider
from tests.server.harness import MARKS, Installation, Json, chat, refusal

pytestmark = MARKS

SCHEMA: Json = {
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADA = {"name": "Ada", "age": 36}
GOOD = fake_provider.ok(content=json.dumps(ADA))
BAD = fake_provider.ok(content='{"name": "Ada"}')


async def test_a_model_without_a_mode_for_it_is_told_the_schema(
    installation: Installation, fake: FakeProvider
):
    fake.always("small", GOOD)
    async with installation.client() as client:
        receipt = await chat(client, system_prompt="Be brief.", response_schema=SCHEMA)
    assert receipt["structured"] == ADA
    assert json.loads(receipt["content"]) == ADA
    system = fake.requests[0].json["messages"][0]
    assert system["content"].startswith("Be brief.")
    assert json.dumps(SCHEMA) in system["content"]
    assert "response_format" not in fake.requests[0].json


async def test_openai_gets_it_in_its_own_mode(everywhere: Installation, fake: FakeProvider):
    fake.always("gpt-5-mini", GOOD)
    async with everywhere.client() as client:
        receipt = await chat(client, model="openai", response_schema=SCHEMA)
        await chat(client, model="openai", response_schema={"type": "object", "required": ["age"]})
    assert receipt["structured"] == ADA
    strict, loose = (request.json["response_format"]["json_schema"] for request in fake.requests)
    assert strict["schema"]["required"] == ["name", "age"]
    assert (strict["strict"], loose["strict"]) == (True, False)
    assert [turn["role"] for turn in fake.requests[0].json["messages"]] == ["user"]


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
async def test_the_others_get_it_in_theirs(everywhere: Installation, fake: FakeProvider, wire: str):
    model = {"anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}[wire]
    fake.always(model, GOOD)
    async with everywhere.client() as client:
        receipt = await chat(client, model=wire, response_schema=SCHEMA)
    assert receipt["structured"] == ADA
    sent = fake.requests[0].json
    told = sent.get("output_format") or sent.get("output_config") or sent.get("generationConfig")
    assert "age" in json.dumps(told)


async def test_a_code_fence_around_it_does_no_harm(installation: Installation, fake: FakeProvider):
    fake.always("small", fake_provider.ok(content=f"```json\n{json.dumps(ADA)}\n```"))
    async with installation.client() as client:
        assert (await chat(client, response_schema=SCHEMA))["structured"] == ADA


async def test_an_unfit_answer_is_sent_back_once_with_what_is_wrong(
    installation: Installation, fake: FakeProvider
):
    fake.next("small", BAD, GOOD)
    async with installation.client() as client:
        receipt = await chat(client, response_schema=SCHEMA)
    assert receipt["structured"] == ADA
    assert receipt["model"] == "fake/small"
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["format_mismatch", "ok"]
    assert receipt["cost_usd"] == pytest.approx(sum(it["cost_usd"] for it in receipt["attempts"]))
    *_, answer, complaint = fake.requests[1].json["messages"]
    assert (answer["role"], answer["content"]) == ("assistant", '{"name": "Ada"}')
    assert "'age' is a required property" in complaint["content"]


async def test_after_the_second_unfit_answer_the_next_tier_is_asked(
    installation: Installation, fake: FakeProvider
):
    fake.always("small", BAD)
    fake.always("standard", GOOD)
    async with installation.client() as client:
        receipt = await chat(client, "What is 2 + 2?", response_schema=SCHEMA)
    assert (receipt["model"], receipt["tier_chosen"], receipt["tier"]) == (
        "fake/standard",
        "simple",
        "standard",
    )
    outcomes = [(attempt["model"], attempt["outcome"]) for attempt in receipt["attempts"]]
    assert outcomes == [
        ("fake/small", "format_mismatch"),
        ("fake/small", "format_mismatch"),
        ("fake/standard", "ok"),
    ]


async def test_after_one_more_tier_the_errors_and_the_raw_text_are_told_and_all_is_charged(
    installation: Installation, fake: FakeProvider
):
    for model in ("small", "standard", "large"):
        fake.always(model, BAD)
    async with installation.client() as client:
        result = await client.call_tool("chat", {"prompt": "What is 2 + 2?", "response_schema": SCHEMA})
        spent = (await client.call_tool("today_usage")).structured_content
    assert [request.json["model"] for request in fake.requests] == ["small", "small", "standard", "standard"]
    assert "'age' is a required property" in refusal(result)
    assert '{"name": "Ada"}' in refusal(result)
    assert spent is not None
    assert spent["cost"] > 0


async def test_an_answer_that_was_cut_off_says_what_helps(installation: Installation, fake: FakeProvider):
    fake.always("small", fake_provider.ok(content='{"name": "A', finish_reason="length"))
    async with installation.client() as client:
        result = await client.call_tool(
            "chat", {"prompt": "x", "response_schema": SCHEMA, "model": "fake/small", "fallback_models": []}
        )
    assert "raise max_tokens" in refusal(result)


async def test_a_kept_answer_serves_only_the_same_schema(installation: Installation, fake: FakeProvider):
    fake.always("small", GOOD)
    async with installation.client() as client:
        first = await chat(client, response_schema=SCHEMA)
        again = await chat(client, response_schema=SCHEMA)
        other = await chat(client, response_schema={"type": "object"})
    assert (first["cached"], again["cached"], other["cached"]) == (False, True, False)
    assert again["structured"] == ADA


async def test_a_pattern_that_would_run_for_years_is_given_up(installation: Installation, fake: FakeProvider):
    schema = {"type": "string", "pattern": "^(a+)+$"}
    fake.always("small", fake_provider.ok(content=json.dumps("a" * 60 + "!")))
    async with installation.client() as client:
        arguments: Json = {"model": "fake/small", "fallback_models": [], "response_schema": schema}
        result = await client.call_tool("chat", {"prompt": "x", **arguments})
    assert "does not match" in refusal(result)


def nested(levels: int) -> Json:
    schema: Json = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


UNUSABLE: dict[str, tuple[object, str]] = {
    "not JSON": ("{", "response_schema is not JSON"),
    "no object": ("[]", "must be a JSON Schema"),
    "empty": ({}, "must be a JSON Schema"),
    "no schema": ({"type": 5}, "it is no JSON Schema, at $.type"),
    "recursive": ({"properties": {"child": {"$ref": "#"}}}, "it is recursive"),
    "recursive in two steps": (
        {
            "$ref": "#/$defs/a",
            "$defs": {
                "a": {"properties": {"b": {"$ref": "#/$defs/b"}}},
                "b": {"items": {"$ref": "#/$defs/a"}},
            },
        },
        "it is recursive",
    ),
    "a reference to nothing": ({"$ref": "#/$defs/a"}, "'#/$defs/a' leads nowhere"),
    "a reference into the network": ({"$ref": "http://127.0.0.1/schema.json"}, "leads nowhere inside it"),
    "huge": ({"enum": ["x" * 70_000]}, "larger than 64 KB"),
    "deep": (nested(100), "nested more than 64 deep"),
}


@pytest.mark.parametrize(("schema", "complaint"), UNUSABLE.values(), ids=UNUSABLE)
async def test_a_schema_that_cannot_be_used_is_refused_before_anything_is_spent(
    installation: Installation, fake: FakeProvider, schema: object, complaint: str
):
    async with installation.client() as client:
        result = await client.call_tool("chat", {"prompt": "x", "response_schema": schema})
    assert complaint in refusal(result)
    assert not fake.requests


async def test_two_uses_of_one_definition_are_no_recursion(installation: Installation, fake: FakeProvider):
    part = {"$ref": "#/$defs/name"}
    schema = {"properties": {"a": part, "b": part}, "$defs": {"name": {"type": "string"}}}
    fake.always("small", fake_provider.ok(content='{"a": "x", "b": "y"}'))
    async with installation.client() as client:
        assert (await chat(client, response_schema=schema))["structured"] == {"a": "x", "b": "y"}
