"""The fake provider, read by litellm and by hand: what it says must be what the real wires say."""

import json
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest

from tests import fake_provider
from tests.fake_provider import MP3, PNG, FakeProvider, Limits, Tokens, ToolCall, Upload
from tierwise.routing.providers.litellm import LiteLLMProvider, loading

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

Json = dict[str, Any]

MODELS = ["hosted_vllm/model-a", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-pro"]
CALLS = (
    ToolCall(id="call_1", name="weather", arguments={"city": "Köln", "days": 3}),
    ToolCall(id="call_2", name="time", arguments={}),
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture
async def litellm() -> AsyncIterator[Any]:
    yield loading().result()
    await LiteLLMProvider().aclose()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


def base(model: str, fake: FakeProvider) -> str:
    bases = {"anthropic": fake.anthropic_url, "gemini": fake.gemini_url}
    return bases.get(model.split("/")[0], fake.url)


async def ask(litellm: Any, fake: FakeProvider, model: str, **arguments: Any) -> Any:
    hello = [{"role": "user", "content": "hello"}]
    return await litellm.acompletion(
        model=model, messages=hello, api_base=base(model, fake), api_key="k", max_retries=0, **arguments
    )


@pytest.mark.parametrize("model", MODELS)
async def test_tool_calls_come_back_the_same_plain_and_streamed(
    fake: FakeProvider, litellm: Any, model: str
) -> None:
    fake.always(model.split("/")[1], fake_provider.ok(tool_calls=CALLS))
    plain = await ask(litellm, fake, model)
    chunks = [chunk async for chunk in await ask(litellm, fake, model, stream=True)]
    for response in (plain, litellm.stream_chunk_builder(chunks)):
        choice = response.choices[0]
        assert choice.finish_reason == "tool_calls"
        called = [
            (call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls
        ]
        assert called == [(call.name, call.arguments) for call in CALLS]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
async def test_thinking_stays_apart_from_the_answer(
    fake: FakeProvider, litellm: Any, model: str, streamed: bool
) -> None:
    fake.always(model.split("/")[1], fake_provider.ok(content="Blue.", reasoning="Physics."))
    response = await ask(litellm, fake, model, stream=streamed)
    if streamed:
        response = litellm.stream_chunk_builder([chunk async for chunk in response])
    message = response.choices[0].message
    assert (message.content, message.reasoning_content) == ("Blue.", "Physics.")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/chat/completions", ("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens")),
        ("/v1/messages", ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-tokens-remaining")),
    ],
)
async def test_what_is_left_of_the_allowance_is_in_the_providers_own_headers(
    fake: FakeProvider, http: aiohttp.ClientSession, path: str, names: tuple[str, str], streamed: bool
) -> None:
    fake.always("a", fake_provider.ok(limits=Limits(remaining_requests=7, remaining_tokens=800)))
    async with http.post(fake.root + path, json={"model": "a", "messages": [], "stream": streamed}) as answer:
        assert [answer.headers[name] for name in names] == ["7", "800"]


async def test_errors_have_each_wires_shape(fake: FakeProvider, http: aiohttp.ClientSession) -> None:
    async def error(path: str, behaviour: fake_provider.Behaviour) -> tuple[int, Json]:
        fake.next("a", behaviour)
        async with http.post(fake.root + path, json={"model": "a", "messages": []}) as answer:
            return answer.status, cast("Json", await answer.json())

    status, body = await error("/v1/messages", fake_provider.overloaded())
    assert (status, body["type"], body["error"]["type"]) == (529, "error", "overloaded_error")
    status, body = await error("/v1/chat/completions", fake_provider.overloaded())
    assert (status, body["error"]["type"]) == (503, "server_error")
    status, body = await error("/v1beta/models/a:generateContent", fake_provider.rate_limited(3))
    assert (status, body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert body["error"]["details"][0]["retryDelay"] == "3s"


async def test_anthropics_stream_opens_and_closes_every_block(
    fake: FakeProvider, http: aiohttp.ClientSession
) -> None:
    used = Tokens(input=30, output=9, cache_read=20, cache_write=5, reasoning=4)
    answer = fake_provider.ok(pieces=["It ", "is."], reasoning="Hm.", tool_calls=CALLS[:1], tokens=used)
    fake.always("a", answer)
    asked: Json = {"model": "a", "messages": [], "stream": True}
    async with http.post(f"{fake.root}/v1/messages", json=asked) as response:
        lines = (await response.text()).splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    kinds = [event["type"].removeprefix("content_block_") for event in events]
    block = ["start", "delta", "delta", "stop"]
    assert kinds == [
        *("message_start", "ping"),
        *block,
        *block,
        *("start", "delta", "delta", "delta", "stop"),
        *("message_delta", "message_stop"),
    ]
    assert events[0]["message"]["usage"] == {
        "input_tokens": 5,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 5,
        "output_tokens": 1,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    assert events[-2]["usage"]["output_tokens"] == 9


async def test_images_are_valid_and_as_many_as_asked_for(fake: FakeProvider, litellm: Any) -> None:
    made = await litellm.aimage_generation(
        model="openai/gpt-image-1", prompt="a fox", n=2, api_base=fake.url, api_key="k"
    )
    assert [image.b64_json for image in made.data] == [made.data[0].b64_json] * 2
    assert PNG.startswith(b"\x89PNG")
    assert made.usage.output_tokens == 544
    assert fake.requests[0].json == {"model": "gpt-image-1", "prompt": "a fox", "n": 2}


async def test_speech_is_sound_and_what_is_transcribed_is_recorded(fake: FakeProvider, litellm: Any) -> None:
    spoken = await litellm.aspeech(
        model="openai/tts-1", voice="alloy", input="hello", api_base=fake.url, api_key="k"
    )
    assert spoken.content == MP3
    heard = await litellm.atranscription(
        model="openai/gpt-4o-transcribe",
        file=("hello.mp3", MP3),
        language="en",
        api_base=fake.url,
        api_key="k",
    )
    assert heard.text == "words heard by gpt-4o-transcribe"
    assert heard.usage.input_tokens == 14
    sent = fake.requests[1]
    assert sent.path == "/v1/audio/transcriptions"
    assert sent.fields["language"] == "en"
    assert sent.fields["file"] == Upload("hello.mp3", "audio/mpeg", MP3)


async def test_models_are_listed_for_each_wire_and_every_request_is_recorded(
    fake: FakeProvider, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{fake.url}/models?limit=9") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == list(fake.models)
    async with http.get(f"{fake.gemini_url}/models") as answer:
        assert (await answer.json())["models"][0]["name"] == "models/fake-small"
    async with http.post(f"{fake.root}/nowhere", data=b"no json") as answer:
        assert answer.status == 404
    seen = [(sent.method, sent.path, sent.query) for sent in fake.requests]
    assert seen == [
        ("GET", "/v1/models", {"limit": "9"}),
        ("GET", "/v1beta/models", {}),
        ("POST", "/nowhere", {}),
    ]
