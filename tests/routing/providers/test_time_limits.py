"""How long a provider may take to connect, to begin and to go on; and what it says of its rate limits."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import anyio
import pytest

from tests.fake_provider import (
    Behaviour,
    Exchange,
    FakeProvider,
    Limits,
    hang,
    ok,
    rate_limited,
    slow_drip,
    web,
)
from tests.routing.bench import MARKS, PATIENCE
from tierwise.routing.errors import ConnectionFailed, RateLimited, UpstreamError, UpstreamTimeout
from tierwise.routing.providers.base import Completion, Quota, RateStatus, UpstreamCall
from tierwise.routing.providers.litellm import LiteLLMProvider
from tierwise.routing.request import Message, Payload

pytestmark = MARKS

WIRES = {
    "openai": ("openai", "gpt-4o-mini"),
    "compatible": ("mine", "model"),
    "anthropic": ("anthropic", "claude-haiku-4-5"),
    "gemini": ("gemini", "gemini-2.5-flash"),
}
STREAMED = [False, True]


def a_call(wire: str, api_base: str, **limits: float) -> UpstreamCall:
    provider, model = WIRES[wire]
    call = UpstreamCall(
        provider=provider,
        model=model,
        payload=Payload(messages=(Message("user", "Why is the sky blue?"),)),
        api_base=api_base,
        api_key="sk-test",
        timeout=PATIENCE,
    )
    return replace(call, **limits)


def base_of(wire: str, fake: FakeProvider) -> str:
    return {"anthropic": fake.anthropic_url, "gemini": fake.gemini_url}.get(wire, fake.url)


async def complete(provider: LiteLLMProvider, call: UpstreamCall, streamed: bool) -> Completion:
    pieces: list[str] = []
    return await provider.complete(call, pieces.append if streamed else None)


async def failure(provider: LiteLLMProvider, call: UpstreamCall, streamed: bool) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await complete(provider, call, streamed)
    return caught.value


# Connecting


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a host that answers to nobody who wants to connect: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}/v1"


@pytest.mark.parametrize("streamed", STREAMED)
@pytest.mark.parametrize("wire", WIRES)
async def test_a_host_that_does_not_let_us_connect_is_left_before_the_attempt_is_over(
    provider: LiteLLMProvider, silent: str, wire: str, streamed: bool
) -> None:
    call = a_call(wire, f"http://{silent}", connect_timeout=0.3)
    error = await failure(provider, call, streamed)
    assert type(error) is ConnectionFailed
    assert "it was not there within 0.3 s" in str(error)


async def test_a_host_that_does_not_agree_on_tls_is_left_as_well(provider: LiteLLMProvider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        call = a_call("compatible", f"https://127.0.0.1:{listener.getsockname()[1]}/v1", connect_timeout=0.3)
        assert type(await failure(provider, call, streamed=False)) is ConnectionFailed


async def test_the_time_to_connect_does_not_bound_the_answer(
    provider: LiteLLMProvider, fake: FakeProvider
) -> None:
    fake.always("model", slow_drip(0.1, chunks=5))
    call = a_call("compatible", fake.url, connect_timeout=0.2)
    assert (await complete(provider, call, streamed=True)).content.endswith("piece 4 ")


# Beginning, and going on


async def test_an_answer_that_does_not_begin_ends_after_the_time_for_its_first_token(
    provider: LiteLLMProvider, fake: FakeProvider
) -> None:
    fake.always("model", hang())
    error = await failure(provider, a_call("compatible", fake.url, first_token_timeout=0.3), streamed=True)
    assert type(error) is UpstreamTimeout
    assert "did not begin to answer within 0.3 s" in str(error)
    assert "reliability.first_token_timeout" in str(error)
    with anyio.fail_after(PATIENCE):
        await fake.disconnected.acquire()


async def opened_and_silent(exchange: Exchange) -> web.StreamResponse:
    await exchange.delta("")
    return await hang()(exchange)


async def pausing(exchange: Exchange) -> web.StreamResponse:
    await exchange.delta("Because ")
    return await hang()(exchange)


async def test_the_headers_of_a_stream_are_no_first_token(
    provider: LiteLLMProvider, fake: FakeProvider
) -> None:
    fake.always("model", opened_and_silent)
    call = a_call("compatible", fake.url, first_token_timeout=0.3, between_tokens_timeout=PATIENCE)
    assert "did not begin" in str(await failure(provider, call, streamed=True))


@pytest.mark.parametrize("wire", WIRES)
async def test_an_answer_that_pauses_for_too_long_ends(
    provider: LiteLLMProvider, fake: FakeProvider, wire: str
) -> None:
    _, model = WIRES[wire]
    fake.always(model, pausing)
    call = a_call(wire, base_of(wire, fake), first_token_timeout=PATIENCE, between_tokens_timeout=0.3)
    error = await failure(provider, call, streamed=True)
    assert type(error) is UpstreamTimeout
    assert "paused for over 0.3 s" in str(error)
    with anyio.fail_after(PATIENCE):
        await fake.disconnected.acquire()


@pytest.mark.parametrize(
    "behaviour",
    [ok(pieces=["one ", "two ", "three"], drip=0.15), ok(reasoning="Hm.", pieces=["one"], drip=0.15)],
    ids=["text", "thought"],
)
async def test_an_answer_that_takes_long_but_goes_on_is_waited_for(
    provider: LiteLLMProvider, fake: FakeProvider, behaviour: Behaviour
) -> None:
    fake.always("model", behaviour)
    call = a_call("compatible", fake.url, first_token_timeout=PATIENCE, between_tokens_timeout=0.4)
    assert (await complete(provider, call, streamed=True)).content.startswith("one")


async def test_a_plain_answer_has_no_tokens_to_wait_for(
    provider: LiteLLMProvider, fake: FakeProvider
) -> None:
    async def late(exchange: Exchange) -> web.StreamResponse:
        await anyio.sleep(0.3)
        return await ok()(exchange)

    fake.always("model", late)
    call = a_call("compatible", fake.url, first_token_timeout=0.05, between_tokens_timeout=0.05)
    assert (await complete(provider, call, streamed=False)).content


# Rate limits

LIMITS = Limits(requests=60, remaining_requests=7, tokens=1000, remaining_tokens=300, reset=30)
TOLD = RateStatus(
    requests=Quota(remaining=7, limit=60, reset=30), tokens=Quota(remaining=300, limit=1000, reset=30)
)


def whole_seconds(status: RateStatus | None) -> RateStatus:
    """With resets that come as a moment rounded, because time passes while they are read."""
    assert status
    quotas = [
        quota and Quota(remaining=quota.remaining, limit=quota.limit, reset=round(quota.reset or 0, -1))
        for quota in (status.requests, status.tokens)
    ]
    return RateStatus(requests=quotas[0], tokens=quotas[1])


@pytest.mark.parametrize("streamed", STREAMED)
@pytest.mark.parametrize("wire", ["openai", "compatible", "anthropic"])
async def test_an_answer_brings_what_the_provider_says_of_its_limits(
    provider: LiteLLMProvider, fake: FakeProvider, wire: str, streamed: bool
) -> None:
    fake.always(WIRES[wire][1], ok(limits=LIMITS))
    answer = await complete(provider, a_call(wire, base_of(wire, fake)), streamed)
    assert whole_seconds(answer.rate) == TOLD


@pytest.mark.parametrize("streamed", STREAMED)
@pytest.mark.parametrize("wire", ["openai", "compatible", "anthropic"])
async def test_so_does_a_refusal(
    provider: LiteLLMProvider, fake: FakeProvider, wire: str, streamed: bool
) -> None:
    fake.always(WIRES[wire][1], rate_limited(3, LIMITS))
    error = await failure(provider, a_call(wire, base_of(wire, fake)), streamed)
    assert (type(error), error.retry_after) == (RateLimited, 3)
    assert whole_seconds(error.rate) == TOLD


async def test_a_provider_that_says_nothing_of_limits_brings_nothing(
    provider: LiteLLMProvider, fake: FakeProvider
) -> None:
    assert (await complete(provider, a_call("compatible", fake.url), streamed=False)).rate is None
