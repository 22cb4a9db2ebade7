import anyio
import pytest

from tests import fake_provider
from tests.fake_provider import Behaviour, Exchange, FakeProvider, OpenAIExchange
from tests.routing.providers.wires import KEY, MARKS, PROMPT, complete, failure, make_call
from tierwise.routing import errors
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.litellm import LiteLLMProvider
from tierwise.routing.request import Message
from tierwise.storage.records import Usage

pytestmark = MARKS

ROUTES = {"a server that litellm does not know": ("mine", "model-a"), "openai": ("openai", "gpt-4o-mini")}


@pytest.fixture(params=ROUTES)
def call(request: pytest.FixtureRequest, fake: FakeProvider) -> UpstreamCall:
    provider, model = ROUTES[request.param]
    return make_call(fake.url, provider=provider, model=model)


# Answers


async def test_the_upstream_gets_the_conversation_the_parameters_and_the_key(
    provider: LiteLLMProvider, fake: FakeProvider
) -> None:
    messages = (Message("system", "Be brief."), Message("user", PROMPT))
    await provider.complete(make_call(fake.url, messages=messages, max_tokens=50, temperature=0.5))
    sent = fake.requests[0]
    assert sent.json["model"] == "model-a"
    assert sent.json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": PROMPT},
    ]
    assert (sent.json["max_tokens"], sent.json["temperature"]) == (50, 0.5)
    assert sent.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("name", ["mine", "ollama", "vllm", "lm_studio", "openai", "litellm_proxy"])
async def test_a_server_without_a_key_answers_and_never_sees_the_key_of_another(
    provider: LiteLLMProvider, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for model in ("model-a", "gpt-4o-mini"):
        answer = await provider.complete(make_call(fake.url, provider=name, model=model, api_key=None))
        assert answer.content == f"answer from {model}: {PROMPT}"
    assert all(KEY not in str(request.headers) for request in fake.requests)


async def test_parameters_that_the_caller_left_out_are_left_to_the_provider(
    provider: LiteLLMProvider, fake: FakeProvider
) -> None:
    await provider.complete(make_call(fake.url))
    assert fake.requests[0].json.keys() == {"model", "messages"}


async def test_a_streamed_answer_arrives_in_pieces_and_equals_the_plain_one(
    provider: LiteLLMProvider, call: UpstreamCall
) -> None:
    pieces: list[str] = []
    streamed = await provider.complete(call, pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == streamed.content == f"answer from {call.model}: {PROMPT}"
    assert streamed == await provider.complete(call)


@pytest.mark.parametrize("streamed", [False, True])
async def test_usage_is_what_the_provider_reports_with_its_parts(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    reported = {
        "prompt_tokens": 1200,
        "completion_tokens": 300,
        "total_tokens": 1500,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 250},
    }
    fake.always(call.model, fake_provider.ok(usage=reported))
    answer = await complete(provider, call, streamed)
    assert answer.usage == Usage(
        input_tokens=1200, output_tokens=300, cache_read_tokens=1000, reasoning_tokens=250
    )


@pytest.mark.parametrize("streamed", [False, True])
async def test_usage_that_is_not_reported_is_counted_here_and_said_to_be(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    fake.always(call.model, fake_provider.no_usage())
    usage = (await complete(provider, call, streamed)).usage
    assert usage.estimated
    assert 5 < usage.input_tokens < 40
    assert 5 < usage.output_tokens < 40


@pytest.mark.parametrize("absurd", [-5, 10**12, 10**30])
async def test_token_counts_that_no_model_can_have_are_not_believed(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, absurd: int
) -> None:
    fake.always(call.model, fake_provider.ok(usage={"completion_tokens": absurd}))
    usage = (await provider.complete(call)).usage
    assert usage.estimated
    assert 5 < usage.output_tokens < 40


async def test_usage_in_a_last_chunk_that_also_finishes_is_not_lost(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall
) -> None:
    async def finish_with_usage(exchange: Exchange) -> fake_provider.web.StreamResponse:
        assert isinstance(exchange, OpenAIExchange)
        await exchange.delta("It scatters.")
        last = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
        await exchange.chunk(choices=[last], usage={"prompt_tokens": 50, "completion_tokens": 60})
        await exchange.event("[DONE]")
        return exchange.events

    fake.always(call.model, finish_with_usage)
    answer = await complete(provider, call, streamed=True)
    assert answer.usage == Usage(input_tokens=50, output_tokens=60)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [
        fake_provider.ok(content="Rayleigh scattering.", reasoning="The user wants physics."),
        fake_provider.ok(content="<think>The user wants physics.</think>\n\nRayleigh scattering."),
    ],
    ids=["in its own field", "in a think block"],
)
async def test_thinking_never_gets_into_the_answer(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, behaviour: Behaviour, streamed: bool
) -> None:
    fake.always(call.model, behaviour)
    assert (await complete(provider, call, streamed)).content == "Rayleigh scattering."


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_cut_by_its_length_says_so_even_when_it_is_empty(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    fake.always(call.model, fake_provider.ok(content="", finish_reason="length"))
    answer = await complete(provider, call, streamed)
    assert (answer.content, answer.finish_reason) == ("", "length")


# Failures


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (fake_provider.rate_limited(3), errors.RateLimited),
        (fake_provider.status(500), errors.ServerFailed),
        (fake_provider.status(502, "<html>Bad gateway</html>"), errors.ServerFailed),
        (fake_provider.status(503), errors.ServerFailed),
        (fake_provider.status(529), errors.ServerFailed),
        (fake_provider.status(408), errors.UpstreamTimeout),
        (fake_provider.status(401), errors.AuthenticationFailed),
        (fake_provider.status(402), errors.QuotaExhausted),
        (fake_provider.status(403), errors.AuthenticationFailed),
        (fake_provider.status(404), errors.ModelNotFound),
        (fake_provider.status(400), errors.RequestRejected),
        (fake_provider.status(422), errors.RequestRejected),
        (fake_provider.refusal(400, "maximum context length is 8192 tokens"), errors.ContextWindowExceeded),
        (fake_provider.refusal(400, "prompt is too long: 9 tokens > 8"), errors.ContextWindowExceeded),
        (fake_provider.refusal(400, "rejected by our safety system"), errors.ContentRefused),
        (fake_provider.refusal(403, "flagged by moderation"), errors.ContentRefused),
        (fake_provider.refusal(400, "API key not valid."), errors.AuthenticationFailed),
        (fake_provider.refusal(400, "gpt-9 is not a valid model ID"), errors.ModelNotFound),
        (fake_provider.refusal(422, "Budget has been exceeded! Current cost: 2"), errors.QuotaExhausted),
        (fake_provider.refusal(400, "ExceededBudget: User over budget"), errors.QuotaExhausted),
        (fake_provider.refusal(429, "crossed budget: Exceeded budget for"), errors.QuotaExhausted),
        (fake_provider.refusal(429, "code: insufficient_quota"), errors.QuotaExhausted),
        (fake_provider.refusal(400, "Your credit balance is too low"), errors.QuotaExhausted),
        (fake_provider.refusal(400, "No connected db."), errors.AuthenticationFailed),
        (fake_provider.refusal(400, "Invalid model name passed in model=x"), errors.ModelNotFound),
        (fake_provider.ok(content="", finish_reason="content_filter"), errors.ContentRefused),
        (fake_provider.empty(), errors.BadResponse),
        (fake_provider.garbage(), errors.BadResponse),
        (fake_provider.status(200, {"hello": 1}), errors.BadResponse),
        (fake_provider.status(200, {"id": "x", "choices": []}), errors.BadResponse),
        (fake_provider.refuse(), errors.ConnectionFailed),
    ],
)
async def test_each_fault_is_its_own_error_after_one_request(
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
    assert call.model in str(error)
    assert call.provider in str(error)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_port_on_which_nothing_listens_is_a_failed_connection(
    provider: LiteLLMProvider, fake: FakeProvider, streamed: bool
) -> None:
    error = await failure(provider, make_call(fake.refused_url), streamed)
    assert type(error) is errors.ConnectionFailed
    assert "Connection refused" in str(error)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (fake_provider.cut_mid_stream(0), {errors.ConnectionFailed}),
        (fake_provider.cut_mid_stream(3), {errors.ConnectionFailed}),
        (fake_provider.cut_mid_stream(3, politely=True), {errors.ConnectionFailed}),
        (fake_provider.cut_mid_stream(0, politely=True), {errors.BadResponse, errors.ConnectionFailed}),
        (fake_provider.fails_mid_stream(1), {errors.BadResponse, errors.ServerFailed}),
    ],
    ids=["reset at once", "reset", "ended early", "ended at once", "error in the stream"],
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
    assert error.retryable
    assert len(fake.requests) == 1


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "behaviour",
    [fake_provider.hang(), fake_provider.slow_drip(delay=0.05, chunks=1000)],
    ids=["hangs", "drips"],
)
async def test_the_time_limit_covers_the_whole_attempt_and_ends_the_upstream_request(
    provider: LiteLLMProvider, fake: FakeProvider, behaviour: Behaviour, streamed: bool
) -> None:
    fake.always("model-a", behaviour if streamed else fake_provider.hang())
    await provider.complete(make_call(fake.url, model="warm-up"))
    error = await failure(provider, make_call(fake.url, timeout=0.3), streamed)
    assert type(error) is errors.UpstreamTimeout
    assert "0.3 s" in str(error)
    with anyio.fail_after(10):
        await fake.disconnected.acquire()


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_the_task_closes_the_upstream_request(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall, streamed: bool
) -> None:
    started = anyio.Event()

    async def report_and_drip(exchange: Exchange) -> fake_provider.web.StreamResponse:
        started.set()
        behave = fake_provider.slow_drip(delay=0.01, chunks=100_000) if streamed else fake_provider.hang()
        return await behave(exchange)

    fake.always(call.model, report_and_drip)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(complete, provider, call, streamed)
            await started.wait()
            tasks.cancel_scope.cancel()
        await fake.disconnected.acquire()
    assert fake.open_requests == 0


async def test_the_next_call_works_after_a_failure_and_after_closing(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall
) -> None:
    fake.next(call.model, fake_provider.status(500))
    assert type(await failure(provider, call, streamed=False)) is errors.ServerFailed
    assert await provider.complete(call)
    await provider.aclose()
    await provider.aclose()
    assert await provider.complete(call)


async def test_no_message_shows_a_key_or_the_prompt(
    provider: LiteLLMProvider, fake: FakeProvider, call: UpstreamCall
) -> None:
    for code in (400, 401, 404, 429, 500):
        for echo in (
            f"Incorrect API key provided: {KEY}.",
            "Bearer abcdef123456 is wrong",
            f"Bad input: {PROMPT}",
        ):
            fake.always(call.model, fake_provider.refusal(code, echo))
            text = str(await failure(provider, call, streamed=False))
            assert KEY not in text
            assert "abcdef123456" not in text
            assert "sky" not in text
            assert len(text) <= 300
