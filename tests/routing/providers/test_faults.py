"""Providers that lie, flood, hang or redirect: over every wire the call ends with an error that says why."""

import json
import math
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests import fake_provider
from tests.fake_provider import Behaviour, Exchange, FakeProvider, ToolCall, faults
from tests.routing.providers.wires import MARKS, PROMPT, WIRES, Wire, call_over, complete, failure, make_call
from tierwise.routing import errors
from tierwise.routing.catalog.ladders import KNOWN_PROVIDERS, LOCAL_PROVIDERS
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.litellm import LiteLLMProvider

pytestmark = MARKS

Kinds = frozenset[type[UpstreamError]]

BROKEN: Kinds = frozenset({errors.BadResponse})
CUT_SHORT: Kinds = frozenset({errors.BadResponse, errors.ConnectionFailed})
"""litellm takes whatever Gemini's stream has brought for an answer, so there its end is missed."""

SHAPES: dict[str, tuple[Behaviour, Kinds]] = {
    "a page of HTML": (faults.sends(b"<html>Welcome!</html>", "text/html"), CUT_SHORT),
    "an event that breaks off": (fake_provider.garbage(), CUT_SHORT),
    "JSON that breaks off": (faults.sends(b'{"choices": [{"mess'), CUT_SHORT),
    "nothing": (faults.sends(b""), CUT_SHORT),
    "an array": (faults.sends(b"[]"), CUT_SHORT),
    "null": (faults.sends(b"null"), CUT_SHORT),
    "a string": (faults.sends(b'"hello"'), CUT_SHORT),
    "a number": (faults.sends(b"42"), CUT_SHORT),
    "200,000 brackets": (faults.sends(b"[" * 200_000), CUT_SHORT),
    "events of another protocol": (faults.foreign_events(), BROKEN),
    "no choices at all": (faults.holding(...), BROKEN),
    "choices null": (faults.holding(None), BROKEN),
    "choices empty": (faults.holding([]), BROKEN),
    "choices an object": (faults.holding({}), BROKEN),
    "choices a string": (faults.holding("text"), BROKEN),
    "choices a number": (faults.holding(42), BROKEN),
    "a choice that is null": (faults.holding([None]), BROKEN),
    "a choice that is an array": (faults.holding([[]]), BROKEN),
    "a choice that is empty": (faults.holding([{}]), BROKEN),
    "bytes that are not UTF-8": (faults.invalid_utf8(), BROKEN),
    "NaN for a count": (faults.wrong_usage(math.nan), BROKEN),
    "infinity for a count": (faults.wrong_usage(math.inf), BROKEN),
    "a word for a count": (faults.wrong_usage("many"), BROKEN),
    "a list for a count": (faults.wrong_usage([1]), BROKEN),
    "a fraction for a count": (faults.wrong_usage(1.5), BROKEN),
    "gzip that breaks off": (faults.cut_packed(), CUT_SHORT),
    "no HTTP": (faults.no_http(), BROKEN),
    "a huge header": (faults.huge_header(), BROKEN),
    "endless headers": (faults.endless_headers(), BROKEN),
}
FLOODS: dict[str, Behaviour] = {
    "500 MB": faults.huge(500),
    "500 MB, announced": faults.huge(500, announced=True),
    "an endless stream": faults.endless_stream(),
    "an endless event": faults.endless_event(),
    "an endless line": faults.endless_event(b""),
    "a bomb in gzip": faults.bomb("gzip"),
    "gzip with an endless end": faults.endless_packed(),
    "a bomb in deflate": faults.bomb("deflate"),
    "something in br": faults.bomb("br"),
    "something in zstd": faults.bomb("zstd"),
}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Wire:
    return WIRES[request.param]


@pytest.fixture
def call(wire: Wire, fake: FakeProvider) -> UpstreamCall:
    return call_over(wire, fake)


@pytest.fixture
async def elsewhere() -> AsyncIterator[FakeProvider]:
    """Another host."""
    async with FakeProvider() as elsewhere:
        yield elsewhere


@pytest.fixture
async def redirecting(elsewhere: FakeProvider) -> AsyncIterator[str]:
    """The address of a server that points elsewhere whatever it is asked."""

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": elsewhere.root + request.path})

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", redirect)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
async def test_an_answer_that_is_none_is_a_clear_error_after_one_request(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, shape: str, streamed: bool
) -> None:
    behaviour, expected = SHAPES[shape]
    fake.always(call.model, behaviour)
    error = await failure(provider, call, streamed)
    assert type(error) in expected
    assert len(fake.requests) == 1
    assert call.model in str(error)
    assert "api_base" in str(error)
    assert "Traceback" not in str(error)


@pytest.mark.parametrize("streamed", [False, True])
async def test_broken_arguments_of_a_tool_call_are_not_mended(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    broken = ToolCall(name="weather", arguments='{"city": ')
    fake.always(call.model, fake_provider.ok(tool_calls=[broken]))
    answer = await complete(provider, call, streamed)
    (called,) = answer.tool_calls
    assert called.name == "weather"
    assert called.arguments in (broken.text, json.dumps(broken.text))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "calls",
    ["weather", 42, {}, [None], [[]], [{}], [{"function": None}], [{"function": {"arguments": "{}"}}]],
    ids=repr,
)
@pytest.mark.parametrize("wire", ["compatible", "openai"])
async def test_tool_calls_that_are_none_are_no_answer(
    provider: LiteLLMProvider, fake: FakeProvider, wire: str, calls: Any, streamed: bool
) -> None:
    said = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "finish_reason": "tool_calls", "delta" if streamed else "message": said}
    call = call_over(WIRES[wire], fake)
    fake.always(call.model, faults.holding([choice]))
    assert type(await failure(provider, call, streamed)) is errors.BadResponse


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_is_refused_and_not_asked_for_again(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, flood: str, streamed: bool
) -> None:
    fake.always(call.model, FLOODS[flood])
    error = await failure(provider, call, streamed)
    assert type(error) is errors.UnsafeResponse
    assert not error.retryable
    assert len(fake.requests) == 1
    assert call.model in str(error)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("code", "expected"), [(500, errors.ServerFailed), (429, errors.RateLimited)])
async def test_a_failure_that_goes_on_and_on_is_still_that_failure(
    provider: LiteLLMProvider,
    fake: FakeProvider,
    call: UpstreamCall,
    code: int,
    expected: type[UpstreamError],
    streamed: bool,
) -> None:
    fake.always(call.model, faults.huge_error(500, code))
    error = await failure(provider, call, streamed)
    assert type(error) is expected
    assert len(str(error)) <= 300


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_beginning_of_a_long_failure_says_what_it_is(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    told = "This model's maximum context length is 10 tokens. You sent: " + "word " * 200_000
    fake.always(call.model, fake_provider.refusal(400, told))
    assert type(await failure(provider, call, streamed)) is errors.ContextWindowExceeded


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", [faults.slow_headers(), faults.slow_body()], ids=["headers", "body"])
async def test_an_answer_that_trickles_ends_with_the_time_limit(
    provider: LiteLLMProvider, fake: FakeProvider, wire: Wire, fault: Behaviour, streamed: bool
) -> None:
    call = call_over(wire, fake, timeout=0.5)
    fake.always(call.model, fault)
    assert type(await failure(provider, call, streamed)) is errors.UpstreamTimeout
    with anyio.fail_after(10):
        await fake.disconnected.acquire()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_long_text_that_is_whole_is_refused_where_no_model_writes_as_much(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    words = [f"{n} " * 20_000 for n in range(100, 170)]
    fake.always(call.model, fake_provider.ok(pieces=words))
    assert type(await failure(provider, call, streamed)) is errors.UnsafeResponse
    fake.always(call.model, fake_provider.ok(pieces=words[:20]))
    assert (await complete(provider, call, streamed)).content == "".join(words[:20])


async def test_a_stream_of_many_pieces_keeps_its_text_and_its_usage(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall
) -> None:
    used = fake_provider.Tokens(input=40, output=5000)
    fake.always(call.model, fake_provider.ok(pieces=[f"{n} " for n in range(5000)], tokens=used))
    answer = await complete(provider, call, streamed=True)
    assert answer.content == "".join(f"{n} " for n in range(5000))
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (40, 5000)


# What looks odd and is right


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [faults.packed(), faults.mistyped("text/plain"), faults.mistyped("application/octet-stream")],
    ids=["gzip", "text/plain", "octets"],
)
async def test_a_right_answer_is_taken_however_it_is_packed_or_called(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, behaviour: Behaviour, streamed: bool
) -> None:
    fake.always(call.model, behaviour)
    answer = await complete(provider, call, streamed)
    assert answer.content == f"answer from {call.model}: {PROMPT}"
    assert fake.requests[0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
async def test_events_may_come_a_byte_at_a_time(
    provider: LiteLLMProvider, fake: FakeProvider, separator: bytes
) -> None:
    async def trickle(exchange: Exchange) -> web.StreamResponse:
        for text in ("It ", "is ", "blue."):
            for byte in b": a comment\n\ndata: " + json.dumps(exchange.sample(text)).encode() + b"\n\n":
                await exchange.write(bytes([byte]).replace(b"\n", separator))
        tokens = exchange.tokens("")
        await exchange.end(fake_provider.Answer(pieces=(), finish_reason="stop", tokens=tokens))
        return exchange.events

    fake.always("model-a", trickle)
    assert (await complete(provider, call_over(WIRES["compatible"], fake), streamed=True)).content == (
        "It is blue."
    )


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("number", [-5, 10**30, 0])
async def test_counts_that_no_model_can_have_are_not_believed(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, number: int, streamed: bool
) -> None:
    fake.always(call.model, faults.wrong_usage(number))
    usage = (await complete(provider, call, streamed)).usage
    assert 5 < usage.input_tokens < 40
    assert 0 < usage.output_tokens < 40


async def test_fewer_tokens_than_the_text_can_have_are_not_believed(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall
) -> None:
    lie = fake_provider.Tokens(input=20, output=2)
    fake.always(call.model, fake_provider.ok(content="word " * 500, tokens=lie))
    usage = (await complete(provider, call, streamed=False)).usage
    assert usage.estimated
    assert usage.output_tokens > 400


# Redirects and proxies


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_nothing_is_sent_to_where_it_points(
    provider: LiteLLMProvider,
    fake: FakeProvider,
    elsewhere: FakeProvider,
    wire: Wire,
    code: int,
    streamed: bool,
) -> None:
    fake.always(wire.model, faults.redirects(f"{elsewhere.root}{wire.path}", code))
    error = await failure(provider, call_over(wire, fake), streamed)
    assert type(error) is errors.UnsafeResponse
    assert f"redirects to 127.0.0.1:{elsewhere.port}" in str(error)
    assert elsewhere.requests == []
    assert len(fake.requests) == 1


async def test_a_redirect_within_the_same_host_is_refused_as_well(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall
) -> None:
    fake.always(call.model, faults.redirects("/somewhere/else"))
    assert type(await failure(provider, call, streamed=False)) is errors.UnsafeResponse
    assert len(fake.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", sorted(set(KNOWN_PROVIDERS) | LOCAL_PROVIDERS))
async def test_no_provider_that_we_know_follows_a_redirect_with_its_key(
    provider: LiteLLMProvider, redirecting: str, elsewhere: FakeProvider, name: str, streamed: bool
) -> None:
    call = make_call(redirecting, provider=name)
    assert type(await failure(provider, call, streamed)) is errors.UnsafeResponse
    assert elsewhere.requests == []


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_request_that_was_reset_is_not_sent_again_behind_our_back(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    fake.always(call.model, faults.resets())
    assert type(await failure(provider, call, streamed)) is errors.ConnectionFailed
    assert len(fake.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_proxy_in_the_environment_carries_the_calls(
    provider: LiteLLMProvider,
    fake: FakeProvider,
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    streamed: bool,
) -> None:
    monkeypatch.setenv("http_proxy", fake.root)
    base = wire.base(fake).replace(fake.root, "http://upstream.invalid")
    call = make_call(base, provider=wire.provider, model=wire.model)
    assert (await complete(provider, call, streamed)).content == f"answer from {wire.model}: {PROMPT}"
    assert fake.requests[0].headers["Host"] == "upstream.invalid"
