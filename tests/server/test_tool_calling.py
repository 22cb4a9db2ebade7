"""Tools in one shape for every provider: offered, called, checked, and their results handed back."""

import json
from typing import Any

import pytest

from tests import fake_provider
from tests.fake_provider import FakeProvider, ToolCall
from tests.server.harness import MARKS, Installation, Json, chat, refusal

pytestmark = MARKS

WEATHER: Json = {
    "name": "weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TIME: Json = {"name": "time", "parameters": {"type": "object", "properties": {}}}
BOTH = (
    ToolCall(id="call_a", name="weather", arguments={"city": "Oslo"}),
    ToolCall(id="call_b", name="time", arguments={}),
)
CALLED: list[Json] = [
    {"id": "call_a", "name": "weather", "arguments": {"city": "Oslo"}},
    {"id": "call_b", "name": "time", "arguments": {}},
]
RESULTS: list[Json] = [
    {"role": "user", "content": "How is it in Oslo?"},
    {"role": "assistant", "content": "", "tool_calls": CALLED},
    {"role": "tool", "tool_call_id": "call_a", "content": "rain"},
    {"role": "tool", "tool_call_id": "call_b", "content": "noon"},
]
WIRES = ("openai", "anthropic", "gemini")


MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}


@pytest.mark.parametrize("wire", WIRES)
async def test_the_calls_of_every_provider_have_one_shape(
    everywhere: Installation, fake: FakeProvider, wire: str
):
    fake.always(MODELS[wire], fake_provider.ok(tool_calls=BOTH))
    async with everywhere.client() as client:
        receipt = await chat(client, "How is it in Oslo?", model=wire, tools=[WEATHER, TIME])
    assert receipt["finish_reason"] == "tool_calls"
    called = receipt["tool_calls"]
    assert [(it["name"], it["arguments"]) for it in called] == [
        (it["name"], it["arguments"]) for it in CALLED
    ]
    assert len({it["id"] for it in called}) == 2
    assert receipt["cost_usd"] > 0


async def sent(installation: Installation, fake: FakeProvider, model: str, **arguments: Any) -> Json:
    async with installation.client() as client:
        await chat(client, model=model, tools=[WEATHER, TIME], **arguments)
    return fake.requests[-1].json


async def test_results_go_back_as_openai_wants_them(everywhere: Installation, fake: FakeProvider):
    wire = await sent(everywhere, fake, "openai", prompt="", history=RESULTS)
    assert [turn["role"] for turn in wire["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in wire["messages"][1]["tool_calls"]] == ["call_a", "call_b"]
    assert [turn["tool_call_id"] for turn in wire["messages"][2:]] == ["call_a", "call_b"]
    assert wire["tools"][0]["function"]["parameters"] == WEATHER["parameters"]


async def test_results_go_back_as_anthropic_wants_them(everywhere: Installation, fake: FakeProvider):
    wire = await sent(everywhere, fake, "anthropic", prompt="", history=RESULTS)
    asked, called, answered = wire["messages"]
    assert (asked["role"], called["role"], answered["role"]) == ("user", "assistant", "user")
    used = [block for block in called["content"] if block["type"] == "tool_use"]
    assert [(block["id"], block["name"], block["input"]) for block in used] == [
        ("call_a", "weather", {"city": "Oslo"}),
        ("call_b", "time", {}),
    ]
    assert [(block["type"], block["tool_use_id"]) for block in answered["content"]] == [
        ("tool_result", "call_a"),
        ("tool_result", "call_b"),
    ]
    assert {tool["name"] for tool in wire["tools"]} == {"weather", "time"}


async def test_results_go_back_as_gemini_wants_them(everywhere: Installation, fake: FakeProvider):
    wire = await sent(everywhere, fake, "gemini", prompt="", history=RESULTS)
    _, called, answered = wire["contents"]
    calls = [_either(part, "functionCall", "function_call") for part in called["parts"]]
    results = [_either(part, "functionResponse", "function_response") for part in answered["parts"]]
    assert [call["name"] for call in calls] == ["weather", "time"]
    assert [result["name"] for result in results] == ["weather", "time"]


def _either(part: Json, *names: str) -> Json:
    return next(part[name] for name in names if name in part)


async def test_the_choice_of_a_tool_reaches_the_provider(everywhere: Installation, fake: FakeProvider):
    fake.always("gpt-5-mini", fake_provider.ok(tool_calls=BOTH[:1]))
    fake.always("claude-haiku-4-5", fake_provider.ok(tool_calls=BOTH[:1]))
    wire = await sent(everywhere, fake, "openai", tool_choice="weather")
    assert wire["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    wire = await sent(everywhere, fake, "anthropic", tool_choice="required")
    assert wire["tool_choice"]["type"] == "any"


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": WEATHER},
        {"name": "weather", "inputSchema": WEATHER["parameters"]},
        {"name": "weather", "description": "…", "input_schema": WEATHER["parameters"]},
    ],
    ids=["OpenAI's", "MCP's", "Anthropic's"],
)
async def test_the_ways_in_which_agents_write_a_tool_down_are_understood(
    installation: Installation, fake: FakeProvider, tool: Json
):
    async with installation.client() as client:
        await chat(client, tools=[tool])
    [offered] = fake.requests[-1].json["tools"]
    assert offered["function"]["name"] == "weather"
    assert offered["function"]["parameters"]["required"] == ["city"]


WRONG = {
    "no JSON": (ToolCall(name="weather", arguments="{city"), "it is not JSON"),
    "a missing argument": (ToolCall(name="weather", arguments={}), "'city' is a required property"),
    "an unknown tool": (ToolCall(name="launch", arguments={}), "there is no tool 'launch'"),
}


@pytest.mark.parametrize("watched", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize(("call", "complaint"), WRONG.values(), ids=WRONG)
async def test_a_call_that_does_not_fit_its_schema_is_sent_back_once(
    installation: Installation, fake: FakeProvider, call: ToolCall, complaint: str, watched: bool
):
    async def ignore(progress: float, total: float | None, message: str | None) -> None: ...

    fake.next("small", fake_provider.ok(tool_calls=[call]), fake_provider.ok(tool_calls=BOTH[:1]))
    async with installation.client() as client:
        result = await client.call_tool(
            "chat",
            {"prompt": "Hello", "tools": [WEATHER, TIME]},
            progress_callback=ignore if watched else None,
        )
    receipt = result.structured_content
    assert receipt is not None
    assert receipt["tool_calls"] == CALLED[:1]
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["format_mismatch", "ok"]
    told = fake.requests[-1].json["messages"][-1]
    assert told["role"] == "tool"
    assert complaint in told["content"]


async def test_an_answer_that_calls_a_tool_is_not_kept_for_another_call(
    installation: Installation, fake: FakeProvider
):
    fake.always("small", fake_provider.ok(tool_calls=BOTH[:1]))
    async with installation.client() as client:
        for _ in range(2):
            assert not (await chat(client, tools=[WEATHER]))["cached"]


async def test_text_and_calls_in_one_answer_are_both_told(installation: Installation, fake: FakeProvider):
    fake.always("small", fake_provider.ok(content="Let me look.", tool_calls=BOTH[:1]))
    async with installation.client() as client:
        result = await client.call_tool("chat", {"prompt": "Hello", "tools": [WEATHER]})
    assert result.structured_content is not None
    assert result.structured_content["content"] == "Let me look."
    [block] = result.content
    assert json.loads(getattr(block, "text"))["tool_calls"] == CALLED[:1]  # noqa: B009


async def test_a_model_that_cannot_call_tools_is_left_out(everywhere: Installation, fake: FakeProvider):
    models = ["openai/gpt-3.5-turbo-16k", "gemini"]
    everywhere.configure({"model_routing": {"rules": {"simple": {"model": models}}}})
    async with everywhere.client() as client:
        receipt = await chat(client, tools=[WEATHER], tier="simple")
        alone = await client.call_tool(
            "chat", {"prompt": "Hello", "tools": [WEATHER], "model": models[0], "fallback_models": []}
        )
    assert receipt["provider"] == "gemini"
    assert "gpt-3.5-turbo-16k: cannot call tools" in refusal(alone)


RESULT = {"role": "tool", "tool_call_id": "call_a", "content": "rain"}
BAD: dict[str, tuple[Json, str]] = {
    "two tools of one name": ({"tools": [WEATHER, WEATHER]}, "Two tools have the name 'weather'"),
    "a name that no provider takes": ({"tools": [{"name": "a b"}]}, "`tools[0].name`"),
    "a schema that is none": (
        {"tools": [{"name": "a", "parameters": {"type": "banana"}}]},
        "it is no JSON Schema",
    ),
    "a schema that is recursive": (
        {"tools": [{"name": "a", "parameters": {"properties": {"b": {"$ref": "#"}}}}]},
        "it is recursive",
    ),
    "a choice without tools": ({"tool_choice": "required"}, "tool_choice needs tools"),
    "a choice of no tool": ({"tools": [TIME], "tool_choice": "weather"}, "none of these: auto, none"),
    "a result without a call": ({"history": [RESULT]}, "no such call stands before it"),
    "a result of another call": (
        {"history": [{"role": "assistant", "tool_calls": CALLED[1:]}, RESULT]},
        "no such call",
    ),
    "a call without a result": (
        {"history": [{"role": "assistant", "tool_calls": CALLED}, RESULT]},
        "The tool call 'call_b' has no result",
    ),
    "two calls with one id": (
        {"history": [{"role": "assistant", "tool_calls": [CALLED[0], CALLED[0]]}, RESULT]},
        "two tool calls with the same id",
    ),
    "calls of a user": ({"history": [{"role": "user", "content": "x", "tool_calls": CALLED}]}, "assistant"),
    "no prompt, and nothing that could stand for it": ({"prompt": " "}, "`prompt` is empty"),
}


@pytest.mark.parametrize(("arguments", "complaint"), BAD.values(), ids=BAD)
async def test_what_does_not_fit_together_is_told_and_costs_nothing(
    installation: Installation, fake: FakeProvider, arguments: Json, complaint: str
):
    async with installation.client() as client:
        result = await client.call_tool("chat", {"prompt": "Hello", **arguments})
    assert complaint in refusal(result)
    assert not fake.requests
