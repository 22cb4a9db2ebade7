"""What the tools look like, and what they say to arguments that do not fit."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from tests.server.harness import ERAS, MARKS, VERSIONS, Era, Installation, Json, refusal, structured, text

pytestmark = MARKS

TOOLS = [
    "chat", "chat_result", "analyze_complexity", "usage_summary", "today_usage", "list_models", "rate_answer",
]  # fmt: skip


@pytest.mark.parametrize("era", ERAS)
async def test_both_eras_see_the_same_tools_within_8_kilobytes(demo: Installation, era: Era):
    async with demo.client(era) as client:
        assert client.protocol_version == VERSIONS[era]
        listed = await client.list_tools()
    assert [tool.name for tool in listed.tools] == TOOLS
    assert len(listed.model_dump_json(by_alias=True, exclude_unset=True)) <= 8192


async def test_every_tool_and_every_parameter_is_described(demo: Installation):
    async with demo.client() as client:
        listed = await client.list_tools()
    for tool in listed.tools:
        assert tool.title
        assert tool.description
        assert tool.annotations
        assert tool.output_schema
        for name, schema in tool.input_schema.get("properties", {}).items():
            assert schema.get("description"), f"{tool.name}.{name}"


async def test_the_schemas_are_valid_and_hold_no_references(demo: Installation):
    async with demo.client() as client:
        listed = await client.list_tools()
    for tool in listed.tools:
        for schema in (tool.input_schema, tool.output_schema):
            assert schema
            jsonschema.Draft202012Validator.check_schema(schema)
            assert "$ref" not in json.dumps(schema)


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_a_protocol_error_that_names_the_known_ones(demo: Installation, era: Era):
    async with demo.client(era) as client:
        with pytest.raises(MCPError, match=r"^There is no tool 'chatt'\. Known: chat, ") as raised:
            await client.call_tool("chatt", {"prompt": "hi"})
    assert raised.value.code == INVALID_PARAMS


WRONG: dict[str, tuple[Json, str]] = {
    "nothing": ({}, "`prompt` is missing."),
    "an empty prompt": ({"prompt": ""}, "`prompt` is empty; say what the model should answer."),
    "a blank prompt": ({"prompt": " \n\t"}, "`prompt` is empty; say what the model should answer."),
    "no text": ({"prompt": 5}, "`prompt` must be text."),
    "null": ({"prompt": None}, "`prompt` must be text."),
    "a list": ({"prompt": ["hi"]}, "`prompt` must be text."),
    "a null byte": (
        {"prompt": "a\0b"},
        "`prompt` holds a null byte, which no model accepts; take it out.",
    ),
    "a null byte in the system prompt": (
        {"prompt": "hi", "system_prompt": "\0"},
        "`system_prompt` holds a null byte, which no model accepts; take it out.",
    ),
    "a misspelt argument": (
        {"prompt": "hi", "max_token": 5},
        "`max_token` is not an argument of chat; did you mean `max_tokens`?",
    ),
    "half of a surrogate pair": (
        {"prompt": "\ud800"},
        "`prompt` holds half of a surrogate pair, which is no character; take it out.",
    ),
    "an unknown tier": (
        {"prompt": "hi", "tier": "hard"},
        "`tier` must be 'simple', 'standard' or 'complex'.",
    ),
    "an unknown model": ({"prompt": "hi", "model": "parrot-7b"}, "There is no model 'parrot-7b'"),
    "an empty model": ({"prompt": "hi", "model": ""}, "`model` is empty."),
    "an unknown fallback": ({"prompt": "hi", "fallback_models": ["nope"]}, "There is no model 'nope'"),
    "model and tier": (
        {"prompt": "hi", "model": "demo/small", "tier": "simple"},
        "`model` and `tier` contradict each other: give one of them.",
    ),
    "negative tokens": ({"prompt": "hi", "max_tokens": -5}, "`max_tokens` must be at least 1."),
    "half a token": ({"prompt": "hi", "max_tokens": 1.5}, "`max_tokens` must be a whole number."),
    "too hot": ({"prompt": "hi", "temperature": 9}, "`temperature` must be at most 2."),
    "a negative cap": ({"prompt": "hi", "max_cost_usd": -1}, "`max_cost_usd` must be at least 0."),
    "no boolean": ({"prompt": "hi", "use_cache": "maybe"}, "`use_cache` must be true or false."),
    "a history that is none": ({"prompt": "hi", "history": "before"}, "`history` must be a list."),
    "an unknown role": (
        {"prompt": "hi", "history": [{"role": "wizard", "content": "abracadabra"}]},
        "`history[0].role` must be 'user', 'assistant', 'system' or 'tool'.",
    ),
    "a turn without content": (
        {"prompt": "hi", "history": [{"role": "user"}]},
        "`history[0]` has no content.",
    ),
    "metadata that is no object": ({"prompt": "hi", "metadata": [1]}, "`metadata` must be an object."),
    "metadata that is a book": (
        {"prompt": "hi", "metadata": {"book": "x" * 5000}},
        "`metadata` is too large; keep it under 4,000 characters.",
    ),
    "many mistakes": (
        {"prompt": 1, "tier": 2, "history": 3, "model": 4},
        "`prompt` must be text. `model` must be text (and 2 more).",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_chat_that_does_not_fit_is_told_what_is_wrong(demo: Installation, name: str):
    arguments, sentence = WRONG[name]
    async with demo.client() as client:
        said = refusal(await client.call_tool("chat", arguments))
        assert (await usage(client))["calls"] == 0
    assert said.startswith(sentence)


async def usage(client: Client) -> Json:
    return structured(await client.call_tool("today_usage"))


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("analyze_complexity", {"prompt": ""}, "`prompt` is empty; say what the model should answer."),
        ("analyze_complexity", {"prompt": "x", "tier": "simple"}, "`tier` is not an argument of analyze_"),
        ("chat_result", {}, "`call_id` is missing."),
        ("chat_result", {"call_id": "x", "wait_s": -1}, "`wait_s` must be at least 0."),
        ("usage_summary", {"days": 0}, "`days` must be at least 1."),
        ("usage_summary", {"days": "a week"}, "`days` must be a whole number."),
        ("usage_summary", {"days": 1e9}, "`days` must be at most 3,660."),
        ("today_usage", {"day": 1}, "`day` is not an argument of today_usage; known: none."),
        (
            "list_models",
            {"provider": "x"},
            "`provider` is not an argument of list_models; known: task, budget.",
        ),
    ],
)
async def test_the_other_tools_say_what_is_wrong_too(
    demo: Installation, tool: str, arguments: Json, sentence: str
):
    async with demo.client() as client:
        assert refusal(await client.call_tool(tool, arguments)).startswith(sentence)


async def test_ten_megabytes_of_prompt_are_refused_with_the_limit(demo: Installation):
    async with demo.client() as client:
        said = refusal(await client.call_tool("chat", {"prompt": "x" * 10_000_000}))
    assert said == ("`prompt` has 10,000,000 characters, more than any model reads; send at most 8,000,000.")


async def test_a_prompt_of_a_megabyte_is_analysed(demo: Installation):
    async with demo.client() as client:
        assert structured(await client.call_tool("analyze_complexity", {"prompt": "why? " * 200_000}))["tier"]


# Whatever the arguments are, the answer is one, or a few sentences

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", ""])
NEARLY_RIGHT = {
    "prompt": st.text(max_size=50),
    "model": st.sampled_from(["demo/small", "nope", "a/b", "/", "openai/"]),
    "tier": st.sampled_from(["simple", "complex", "hard"]),
    "max_tokens": st.integers(-2, 10**8),
    "temperature": st.floats(-1, 3),
    "history": st.lists(st.fixed_dictionaries({"role": ROLES, "content": st.text(max_size=20)}), max_size=2),
    "metadata": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    "fallback_models": st.lists(st.sampled_from(["demo/large", "nope"]), max_size=2),
    "max_cost_usd": st.floats(-1, 1),
    "call_id": st.text(max_size=9),
    "days": st.integers(-1, 4000),
}
ARGUMENTS = st.dictionaries(st.text(max_size=9), ANYTHING, max_size=2) | st.fixed_dictionaries(
    {}, optional={name: values | ANYTHING for name, values in NEARLY_RIGHT.items()}
)


@pytest.fixture
async def client(demo: Installation) -> AsyncIterator[Client]:
    async with demo.client() as client:
        yield client


@given(tool=st.sampled_from(TOOLS), arguments=ARGUMENTS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_the_arguments_are_the_answer_is_one_or_a_few_sentences(
    client: Client, tool: str, arguments: dict[str, Any]
):
    result = await client.call_tool(tool, arguments)
    result.model_dump_json()
    said = text(result)
    if result.is_error:
        assert 1 <= len(re.findall(r"[.?](?=\s|$)", said)) <= 3, said
        assert not re.search("Traceback|pydantic|Error executing|validation error", said), said
