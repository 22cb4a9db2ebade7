"""The adapter over the wires of OpenAI, Anthropic and Gemini, plain and streamed."""

from dataclasses import replace

import pytest

from tests import fake_provider
from tests.fake_provider import Behaviour, FakeProvider, Limits, Tokens
from tests.routing.providers.wires import KEY, MARKS, PROMPT, WIRES, Wire, call_over, complete, failure
from tierwise.routing import errors
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.litellm import LiteLLMProvider
from tierwise.routing.request import Message, Payload
from tierwise.storage.records import Usage

pytestmark = MARKS


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Wire:
    return WIRES[request.param]


@pytest.fixture
def call(wire: Wire, fake: FakeProvider) -> UpstreamCall:
    return call_over(wire, fake)


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_answer_comes_whole_with_its_finish_reason(
    provider: LiteLLMProvider, call: UpstreamCall, streamed: bool
) -> None:
    answer = await complete(provider, call, streamed)
    assert answer.content == f"answer from {call.model}: {PROMPT}"
    assert answer.finish_reason == "stop"
    assert not answer.usage.estimated


async def test_the_request_goes_where_the_wire_has_it_with_the_key_in_one_header(
    provider: LiteLLMProvider, fake: FakeProvider, wire: Wire, call: UpstreamCall
) -> None:
    await provider.complete(call)
    (sent,) = fake.requests
    assert sent.path == wire.path
    assert [name for name, value in sent.headers.items() if KEY in value] == [wire.key_header]
    assert KEY not in str((sent.path, sent.query, sent.json))


async def test_the_system_prompt_the_history_and_the_parameters_are_sent_as_each_wire_has_them(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall
) -> None:
    turns = (
        Message("system", "Be brief."),
        Message("user", "Hi."),
        Message("assistant", "Hello."),
        Message("user", PROMPT),
    )
    payload = Payload(messages=turns, temperature=0.5)
    await provider.complete(replace(call, payload=payload, max_tokens=50))
    sent = fake.requests[0].json
    if call.provider == "anthropic":
        assert sent["system"] == [{"type": "text", "text": "Be brief."}]
        assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]
        assert (sent["max_tokens"], sent["temperature"]) == (50, 0.5)
    elif call.provider == "gemini":
        assert sent["system_instruction"] == {"parts": [{"text": "Be brief."}]}
        assert [turn["role"] for turn in sent["contents"]] == ["user", "model", "user"]
        assert sent["generationConfig"]["max_output_tokens"] == 50
        assert sent["generationConfig"]["temperature"] == 0.5
    else:
        assert [turn["role"] for turn in sent["messages"]] == ["system", "user", "assistant", "user"]
        assert (sent["max_tokens"], sent["temperature"]) == (50, 0.5)


@pytest.mark.parametrize("streamed", [False, True])
async def test_usage_has_its_cached_and_reasoning_parts(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    written = 200 if call.provider == "anthropic" else 0
    used = Tokens(input=1500, output=300, cache_read=1000, cache_write=written, reasoning=250)
    fake.always(call.model, fake_provider.ok(tokens=used, reasoning="Physics, then."))
    answer = await complete(provider, call, streamed)
    assert answer.usage == Usage(
        input_tokens=1500,
        output_tokens=300,
        cache_read_tokens=1000,
        cache_write_tokens=written,
        reasoning_tokens=250,
    )
    assert "Physics" not in answer.content


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_is_cut_off_says_so(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    fake.always(call.model, fake_provider.ok(content="It is", finish_reason="length"))
    answer = await complete(provider, call, streamed)
    assert (answer.content, answer.finish_reason) == ("It is", "length")


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_the_provider_stops_by_its_policy_says_so(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    fake.always(call.model, fake_provider.ok(content="It is", finish_reason="content_filter"))
    if call.provider == "gemini" and not streamed:  # litellm drops what was said before
        assert type(await failure(provider, call, streamed)) is errors.ContentRefused
    else:
        assert (await complete(provider, call, streamed)).finish_reason == "content_filter"


@pytest.mark.parametrize("streamed", [False, True])
async def test_usage_that_is_not_reported_is_counted_here(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    fake.always(call.model, fake_provider.no_usage())
    if call.provider in ("anthropic", "gemini") and not streamed:  # litellm takes no answer without
        assert type(await failure(provider, call, streamed)) is errors.BadResponse
        return
    answer = await complete(provider, call, streamed)
    assert answer.content == f"answer from {call.model}: {PROMPT}"
    assert answer.usage.estimated
    assert 5 < answer.usage.input_tokens < 40


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (fake_provider.refusal(400, "temperature must be at most 2"), errors.RequestRejected),
        (fake_provider.refusal(400, "prompt is too long: 9 tokens > 8"), errors.ContextWindowExceeded),
        (fake_provider.refusal(400, "API key not valid."), errors.AuthenticationFailed),
        (fake_provider.status(401), errors.AuthenticationFailed),
        (fake_provider.status(403), errors.AuthenticationFailed),
        (fake_provider.status(404), errors.ModelNotFound),
        (fake_provider.status(408), errors.UpstreamTimeout),
        (fake_provider.status(413), errors.ContextWindowExceeded),
        (fake_provider.status(422), errors.RequestRejected),
        (fake_provider.rate_limited(3, Limits(remaining_requests=0)), errors.RateLimited),
        (fake_provider.status(500), errors.ServerFailed),
        (fake_provider.status(502, "<html>Bad gateway</html>"), errors.ServerFailed),
        (fake_provider.overloaded(), errors.ServerFailed),
        (fake_provider.status(504), errors.UpstreamTimeout),
        (fake_provider.blocked(), errors.ContentRefused),
        (fake_provider.empty(), errors.BadResponse),
        (fake_provider.refuse(), errors.ConnectionFailed),
    ],
)
async def test_each_fault_is_the_same_error_over_each_wire_after_one_request(
    provider: LiteLLMProvider,
    fake: FakeProvider,
    call: UpstreamCall,
    behaviour: Behaviour,
    expected: type[UpstreamError],
    streamed: bool,
) -> None:
    fake.always(call.model, behaviour)
    error = await failure(provider, call, streamed)
    assert type(error) is expected
    assert len(fake.requests) == 1
    assert call.provider in str(error)


@pytest.mark.parametrize("streamed", [False, True])
async def test_when_to_come_back_after_a_rate_limit_is_what_the_provider_said(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    fake.always(call.model, fake_provider.rate_limited(3))
    assert (await failure(provider, call, streamed)).retry_after == 3


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (fake_provider.cut_mid_stream(3), {errors.ConnectionFailed}),
        (fake_provider.cut_mid_stream(3, politely=True), {errors.ConnectionFailed}),
        (fake_provider.fails_mid_stream(1), {errors.ServerFailed}),
    ],
    ids=["reset", "ended early", "error in the stream"],
)
async def test_a_stream_that_breaks_off_is_never_a_short_answer(
    provider: LiteLLMProvider,
    fake: FakeProvider,
    call: UpstreamCall,
    behaviour: Behaviour,
    expected: set[type[UpstreamError]],
) -> None:
    fake.always(call.model, behaviour)
    error = await failure(provider, call, streamed=True)
    assert type(error) in expected
    assert len(fake.requests) == 1
