"""What calls cost, against invoices worked out by hand: the usage as each provider sends it, over HTTP.

Rates are USD per million tokens, as price lists print them, so tokens times rate is in millionths of a
dollar: a thousand nano-USD.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.fake_provider import (
    AnthropicExchange,
    Behaviour,
    Exchange,
    FakeProvider,
    GeminiExchange,
    OpenAIExchange,
)
from tests.routing.bench import MARKS, litellm, rules, running
from tierwise.routing.money.pricing import cost
from tierwise.routing.request import Tier
from tierwise.routing.settings import ModelPrice, ProviderSettings
from tierwise.storage.ports import Store
from tierwise.storage.records import AttemptRecord

pytestmark = [
    *MARKS,
    # litellm holds `cost` for a number, and Perplexity sends an object.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

Json = dict[str, Any]
Wire = Callable[[Exchange, "Invoice"], tuple[Json, list[Json]]]
"""What an answer looks like: the whole one, and the events of a stream."""
ETERNITY = 2**52
KEYS = {"ANTHROPIC_API_KEY": "a-key", "GEMINI_API_KEY": "a-key"}


@dataclass(frozen=True, kw_only=True)
class Invoice:
    model: str
    usage: Json
    """As it is on the wire."""
    rates: Json | None = None
    """None leaves it to the installed price map, or to nobody."""
    micro_usd: float
    body: Json = field(default_factory=Json)
    """What else the answer says, beside its usage."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    reported: bool = False

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]


GPT = {
    "input": 5,
    "output": 30,
    "cache_read": 0.5,
    "above": {272_000: {"input": 10, "output": 45, "cache_read": 1}},
    "service_tiers": {
        "flex": {"input": 2.5, "output": 15, "cache_read": 0.25},
        "priority": {"input": 12.5, "output": 75, "cache_read": 1.25},
    },
}
CLAUDE = {
    "input": 2,
    "output": 10,
    "cache_read": 0.1,
    "cache_write": 2.5,
    "cache_write_1h": 4,
    "service_tiers": {"batch": {"input": 1, "output": 5}},
}
HAIKU = {
    "input": 0.1,
    "output": 0.5,
    "cache_read": 0.01,
    "above": {100_000: {"input": 0.5, "output": 2.5, "cache_read": 0.05}},
}
GEMINI_PRO = {
    "input": 1.25,
    "output": 10,
    "cache_read": 0.125,
    "above": {200_000: {"input": 2.5, "output": 15, "cache_read": 0.25}},
    "service_tiers": {"flex": {"input": 0.625, "output": 5}},
}
GPT_AUDIO = {"input": 2.5, "output": 10, "audio_input": 32, "audio_output": 64}
GROK = {"input": 1.25, "output": 2.5, "cache_read": 0.2}
DEEPSEEK = {"input": 0.28, "output": 0.42, "cache_read": 0.028}
SONAR = {"input": 1, "output": 1, "request": 0.005}
PLAIN = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


def openai_usage(prompt: int, completion: int, **details: Any) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **details,
    }


def claude_usage(plain: int, output: int, *, read: int = 0, written_5m: int = 0, written_1h: int = 0) -> Json:
    return {
        "input_tokens": plain,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": written_5m, "ephemeral_1h_input_tokens": written_1h},
        "output_tokens": output,
        "service_tier": "standard",
    }


def gemini_usage(prompt: int, candidates: int, **more: Any) -> Json:
    total = prompt + candidates + more.get("thoughtsTokenCount", 0)
    details = [{"modality": "TEXT", "tokenCount": prompt}]
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": total,
        "promptTokensDetails": details,
        **more,
    }


INVOICES = {
    "OpenAI: cached and reasoning": Invoice(
        model="openai/gpt-5.5",
        usage=openai_usage(
            2006,
            300,
            prompt_tokens_details={"cached_tokens": 1920, "audio_tokens": 0},
            completion_tokens_details={"reasoning_tokens": 128, "accepted_prediction_tokens": 0},
        ),
        rates=GPT,
        micro_usd=10_390,  # 86 * 5 + 1,920 * 0.5 + 300 * 30
    ),
    "OpenAI: above 272,000 prompt tokens": Invoice(
        model="openai/gpt-5.5",
        usage=openai_usage(300_000, 1000, prompt_tokens_details={"cached_tokens": 200_000}),
        rates=GPT,
        micro_usd=1_245_000,  # 100,000 * 10 + 200,000 * 1 + 1,000 * 45
    ),
    "OpenAI: flex": Invoice(
        model="openai/gpt-5.5",
        usage=PLAIN,
        body={"service_tier": "flex"},
        rates=GPT,
        micro_usd=5500,  # 1,000 * 2.5 + 200 * 15
    ),
    "OpenAI: priority": Invoice(
        model="openai/gpt-5.5",
        usage=PLAIN,
        body={"service_tier": "priority"},
        rates=GPT,
        micro_usd=27_500,  # 1,000 * 12.5 + 200 * 75
    ),
    "OpenAI: its standard service": Invoice(
        model="openai/gpt-5.5",
        usage=PLAIN,
        body={"service_tier": "default"},
        rates=GPT,
        micro_usd=11_000,  # 1,000 * 5 + 200 * 30
    ),
    "OpenAI: audio": Invoice(
        model="openai/gpt-audio",
        usage=openai_usage(
            500,
            250,
            prompt_tokens_details={"audio_tokens": 400, "text_tokens": 100, "cached_tokens": 0},
            completion_tokens_details={"audio_tokens": 200, "text_tokens": 50, "reasoning_tokens": 0},
        ),
        rates=GPT_AUDIO,
        micro_usd=26_350,  # 100 * 2.5 + 400 * 32 + 50 * 10 + 200 * 64
    ),
    "Anthropic: reading and writing a cache": Invoice(
        model="anthropic/claude-sonnet-5-5",
        usage=claude_usage(50, 100, read=2000, written_5m=1000),
        rates=CLAUDE,
        micro_usd=3800,  # 50 * 2 + 2,000 * 0.1 + 1,000 * 2.5 + 100 * 10
    ),
    "Anthropic: a cache for five minutes and one for an hour": Invoice(
        model="anthropic/claude-sonnet-5-5",
        usage=claude_usage(50, 100, written_5m=500, written_1h=1000),
        rates=CLAUDE,
        micro_usd=6350,  # 50 * 2 + 500 * 2.5 + 1,000 * 4 + 100 * 10
    ),
    "Anthropic: what is cached counts towards the long prompt": Invoice(
        model="anthropic/claude-haiku-5-5",
        usage=claude_usage(10_000, 100, read=95_000),
        rates=HAIKU,
        micro_usd=10_000,  # 10,000 * 0.5 + 95,000 * 0.05 + 100 * 2.5
    ),
    "Anthropic: batch": Invoice(
        model="anthropic/claude-sonnet-5-5",
        usage={**claude_usage(1000, 200), "service_tier": "batch"},
        rates=CLAUDE,
        micro_usd=2000,  # 1,000 * 1 + 200 * 5
    ),
    "Gemini: thoughts come on top of the candidates": Invoice(
        model="gemini/gemini-2.5-pro",
        usage=gemini_usage(1000, 200, thoughtsTokenCount=300),
        rates=GEMINI_PRO,
        micro_usd=6250,  # 1,000 * 1.25 + 500 * 10
    ),
    "Gemini: above 200,000 prompt tokens, partly cached": Invoice(
        model="gemini/gemini-2.5-pro",
        usage=gemini_usage(250_000, 1000, cachedContentTokenCount=100_000),
        rates=GEMINI_PRO,
        micro_usd=415_000,  # 150,000 * 2.5 + 100,000 * 0.25 + 1,000 * 15
    ),
    "Gemini: audio": Invoice(
        model="gemini/gemini-2.5-flash",
        usage=gemini_usage(
            1000,
            100,
            promptTokensDetails=[
                {"modality": "TEXT", "tokenCount": 100},
                {"modality": "AUDIO", "tokenCount": 900},
            ],
        ),
        rates={"input": 0.3, "output": 2.5, "audio_input": 1},
        micro_usd=1180,  # 100 * 0.3 + 900 * 1 + 100 * 2.5
    ),
    "Gemini: flex, in Vertex AI's words": Invoice(
        model="gemini/gemini-2.5-pro",
        usage=gemini_usage(1000, 200, trafficType="ON_DEMAND_FLEX"),
        rates=GEMINI_PRO,
        micro_usd=1625,  # 1,000 * 0.625 + 200 * 5
    ),
    "DeepSeek: cache hit": Invoice(
        model="deepseek/deepseek-chat",
        usage=openai_usage(
            1000,
            50,
            prompt_tokens_details={"cached_tokens": 900},
            prompt_cache_hit_tokens=900,
            prompt_cache_miss_tokens=100,
            completion_tokens_details={"reasoning_tokens": 20},
        ),
        rates=DEEPSEEK,
        micro_usd=74.2,  # 100 * 0.28 + 900 * 0.028 + 50 * 0.42
    ),
    "Mistral: cached": Invoice(
        model="mistral/mistral-large-latest",
        usage=openai_usage(1000, 200, num_cached_tokens=512),
        rates={"input": 0.5, "output": 1.5, "cache_read": 0.05},
        micro_usd=569.6,  # 488 * 0.5 + 512 * 0.05 + 200 * 1.5
    ),
    "Moonshot: cached": Invoice(
        model="moonshot/kimi-k2.6",
        usage=openai_usage(1000, 100, cached_tokens=768),
        rates={"input": 0.95, "output": 4, "cache_read": 0.16},
        micro_usd=743.28,  # 232 * 0.95 + 768 * 0.16 + 100 * 4
    ),
    "xAI: reasoning comes on top of the completion": Invoice(
        model="xai/grok-4.3",
        usage={
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 350,
            "prompt_tokens_details": {"text_tokens": 100, "cached_tokens": 64, "image_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 0},
        },
        rates=GROK,
        micro_usd=682.8,  # 36 * 1.25 + 64 * 0.2 + 250 * 2.5
    ),
    "xAI: its own figure, in ticks of 1e-10 USD": Invoice(
        model="xai/grok-4.3",
        usage={**PLAIN, "cost_in_usd_ticks": 37_756_000},
        rates=GROK,
        micro_usd=3775.6,
        reported=True,
    ),
    "OpenRouter: its own figure": Invoice(
        model="openrouter/anthropic/claude-haiku-5-5",
        usage={
            **PLAIN,
            "cost": 0.00014675,
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": 0.00014675},
        },
        rates={"input": 3, "output": 15},
        micro_usd=146.75,
        reported=True,
    ),
    "OpenRouter: its fee, and what the user's own key is charged": Invoice(
        model="openrouter/anthropic/claude-haiku-5-5",
        usage={
            **PLAIN,
            "cost": 0.0000075,
            "is_byok": True,
            "cost_details": {"upstream_inference_cost": 0.00015},
        },
        rates={"input": 3, "output": 15},
        micro_usd=157.5,  # 7.5 + 150
        reported=True,
    ),
    "OpenRouter: a free model that has no other price": Invoice(
        model="openrouter/vendor/model-x:free",
        usage={**PLAIN, "cost": 0, "is_byok": False, "cost_details": {"upstream_inference_cost": 0}},
        micro_usd=0,
        reported=True,
    ),
    "OpenRouter: writing to the cache, and no figure": Invoice(
        model="openrouter/anthropic/claude-haiku-5-5",
        usage=openai_usage(
            1000, 100, prompt_tokens_details={"cached_tokens": 200, "cache_write_tokens": 300}
        ),
        rates={"input": 1, "output": 5, "cache_read": 0.1, "cache_write": 1.25},
        micro_usd=1395,  # 500 * 1 + 200 * 0.1 + 300 * 1.25 + 100 * 5
    ),
    "Perplexity: its own figure, with the search": Invoice(
        model="perplexity/sonar",
        usage={
            **PLAIN,
            "search_context_size": "low",
            "cost": {
                "input_tokens_cost": 0.001,
                "output_tokens_cost": 0.0002,
                "request_cost": 0.005,
                "total_cost": 0.0062,
            },
        },
        rates=SONAR,
        micro_usd=6200,
        reported=True,
    ),
    "Perplexity: the request itself, and no figure": Invoice(
        model="perplexity/sonar",
        usage=PLAIN,
        rates=SONAR,
        micro_usd=6200,  # 5,000 + 1,000 * 1 + 200 * 1
    ),
    "LiteLLM proxy: its own figure": Invoice(
        model="litellm_proxy/team-model",
        usage=PLAIN,
        headers={"x-litellm-response-cost": "0.00234"},
        rates={"input": 1, "output": 2},
        micro_usd=2340,
        reported=True,
    ),
    "a LiteLLM proxy that knows no price says 0": Invoice(
        model="litellm_proxy/team-model",
        usage=PLAIN,
        headers={"x-litellm-response-cost": "0.0"},
        rates={"input": 1, "output": 2},
        micro_usd=1400,  # 1,000 * 1 + 200 * 2
    ),
    "a gateway that the settings name, with its own figure": Invoice(
        model="gateway/team-model", usage={**PLAIN, "cost": 0.5}, micro_usd=500_000, reported=True
    ),
    "a gateway that knows no price says 0": Invoice(
        model="gateway/team-model",
        usage={**PLAIN, "cost": 0.0},
        rates={"input": 1, "output": 2},
        micro_usd=1400,  # 1,000 * 1 + 200 * 2
    ),
    "Groq: cached and reasoning": Invoice(
        model="groq/openai/gpt-oss-20b",
        usage={
            "queue_time": 0.03,
            "prompt_time": 0.001,
            "completion_time": 0.2,
            "total_time": 0.21,
            **openai_usage(
                100,
                50,
                prompt_tokens_details={"cached_tokens": 40},
                completion_tokens_details={"reasoning_tokens": 10},
            ),
        },
        body={"service_tier": "on_demand"},
        rates={"input": 0.075, "output": 0.3, "cache_read": 0.0375},
        micro_usd=21,  # 60 * 0.075 + 40 * 0.0375 + 50 * 0.3
    ),
    "a local server is free": Invoice(model="lm_studio/qwen", usage=PLAIN, micro_usd=0),
}


def billing(invoice: Invoice) -> Behaviour:
    """An answer over the wire on which it is asked for, byte for byte as that provider would give it."""

    async def answer(exchange: Exchange) -> web.StreamResponse:
        wire = _WIRES[type(exchange)]
        if not exchange.streams:
            return web.json_response(wire(exchange, invoice)[0], headers=invoice.headers)
        exchange.events.headers.update(invoice.headers)
        for event in wire(exchange, invoice)[1]:
            await exchange.event(event, event.get("type"))
        if isinstance(exchange, OpenAIExchange):
            await exchange.event("[DONE]")
        return exchange.events

    return answer


def openai_wire(exchange: Exchange, invoice: Invoice) -> tuple[Json, list[Json]]:
    usage: Json = {"usage": invoice.usage} if invoice.usage else {}
    head: Json = {"id": "chatcmpl-1", "created": 1, "model": exchange.model, **invoice.body}
    said: Json = {"role": "assistant", "content": "Paris."}
    choice: Json = {"index": 0, "message": said, "finish_reason": "stop"}
    head["object"] = "chat.completion.chunk"
    parts: tuple[list[Json], ...] = (
        [{"index": 0, "delta": said, "finish_reason": None}],
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    )
    events = [{**head, "choices": part} for part in parts]
    last: list[Json] = [{**head, "choices": [], **usage}] if usage else []
    return {**head, "object": "chat.completion", "choices": [choice], **usage}, [*events, *last]


def anthropic_wire(exchange: Exchange, invoice: Invoice) -> tuple[Json, list[Json]]:
    text = {"type": "text", "text": "Paris."}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": exchange.model}
    stop: Json = {"stop_reason": "end_turn", "stop_sequence": None}
    usage = {"usage": invoice.usage} if invoice.usage else {}
    begun = {"usage": {**invoice.usage, "output_tokens": 1}} if usage else {}
    written = {"usage": {"output_tokens": invoice.usage["output_tokens"]}} if usage else {}
    return {**head, "content": [text], **stop, **usage}, [
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, **begun}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Paris."}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, **written},
        {"type": "message_stop"},
    ]


def gemini_wire(exchange: Exchange, invoice: Invoice) -> tuple[Json, list[Json]]:
    content = {"role": "model", "parts": [{"text": "Paris."}]}
    usage = {"usageMetadata": invoice.usage} if invoice.usage else {}
    candidate = {"content": content, "index": 0, "finishReason": "STOP"}
    whole = {"candidates": [candidate], "modelVersion": exchange.model, "responseId": "r", **usage}
    return whole, [whole]


_WIRES: dict[type[Exchange], Wire] = {
    OpenAIExchange: openai_wire,
    AnthropicExchange: anthropic_wire,
    GeminiExchange: gemini_wire,
}


async def billed(fake: FakeProvider, store: Store, invoice: Invoice, *, streamed: bool) -> AttemptRecord:
    """The row that the ledger keeps of a call that is billed like that."""
    fake.always(invoice.model.removeprefix(f"{invoice.provider}/"), billing(invoice))
    pricing = {invoice.model: ModelPrice(**invoice.rates)} if invoice.rates else {}
    bases = {"anthropic": fake.anthropic_url, "gemini": fake.gemini_url}
    providers = {invoice.provider: ProviderSettings(api_base=bases.get(invoice.provider, fake.url))}
    settings = {"litellm": litellm(fake, providers=providers), "routing": rules((invoice.model,), (), ())}
    async with running(fake, store, KEYS, pricing=pricing, **settings) as bench:
        receipt = await bench.ask(tier=Tier.SIMPLE, watched=streamed)
        [[call]] = [calls async for calls in store.export_calls(start=0, end=ETERNITY)]
        price = (await bench.engine.catalog()).resolve(invoice.model).price
    [attempt] = call.attempts
    assert receipt.cost == attempt.cost_nano_usd
    [request] = fake.requests
    assert streamed == (request.json.get("stream", False) or "streamGenerateContent" in request.path)
    if price and not attempt.cost_reported:
        assert cost(attempt, price, attempt.ended_at) == receipt.cost, "the ledger tells too little"
    return attempt


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("name", INVOICES)
async def test_a_call_costs_what_the_invoice_says(
    fake: FakeProvider, store: Store, name: str, streamed: bool
) -> None:
    invoice = INVOICES[name]
    attempt = await billed(fake, store, invoice, streamed=streamed)
    assert attempt.cost_nano_usd == round(invoice.micro_usd * 1000)
    assert (attempt.cost_reported, attempt.estimated) == (invoice.reported, False)
    assert attempt.cost_note is None


ABSURD = [-0.01, float("nan"), float("inf"), 10_001, 10**400, True, "free", "", [1], {}, {"total_cost": -1}]


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
@pytest.mark.parametrize("said", ABSURD, ids=lambda said: str(said)[:20])
async def test_an_absurd_figure_of_a_provider_is_not_believed(
    fake: FakeProvider, store: Store, said: object, streamed: bool
) -> None:
    rates = {"input": 1, "output": 2}
    invoice = Invoice(model="gateway/m", usage={**PLAIN, "cost": said}, rates=rates, micro_usd=1400)
    attempt = await billed(fake, store, invoice, streamed=streamed)
    assert (attempt.cost_nano_usd, attempt.cost_reported) == (1_400_000, False)


@pytest.mark.parametrize("said", ["-0.01", "nan", "inf", "10001", "None", "", "9" * 5000])
async def test_an_absurd_header_of_a_proxy_is_not_believed(
    fake: FakeProvider, store: Store, said: str
) -> None:
    invoice = Invoice(
        model="litellm_proxy/m",
        usage=PLAIN,
        headers={"x-litellm-response-cost": said},
        rates={"input": 1, "output": 2},
        micro_usd=1400,
    )
    attempt = await billed(fake, store, invoice, streamed=False)
    assert (attempt.cost_nano_usd, attempt.cost_reported) == (1_400_000, False)


async def test_parts_that_come_to_more_than_the_whole_are_cut_off(fake: FakeProvider, store: Store) -> None:
    details = {"cached_tokens": 800, "audio_tokens": 900, "image_tokens": 10**9, "cache_write_tokens": -5}
    usage = openai_usage(1000, 200, prompt_tokens_details=details)
    rates = {"input": 1, "output": 2, "cache_read": 0.5, "audio_input": 10}
    invoice = Invoice(model="gateway/m", usage=usage, rates=rates, micro_usd=2800)
    attempt = await billed(fake, store, invoice, streamed=False)
    assert attempt.cost_nano_usd == 2_800_000  # 800 * 0.5 + 200 * 10 + 200 * 2
    assert (attempt.cache_read_tokens, attempt.audio_input_tokens, attempt.image_input_tokens) == (
        800,
        200,
        0,
    )


COUNTED = [
    *(
        (model, streamed)
        for model in (
            "openai/gpt-5.5",
            "deepseek/deepseek-chat",
            "mistral/mistral-large-latest",
            "moonshot/kimi-k2.6",
            "xai/grok-4.3",
            "openrouter/anthropic/claude-haiku-5-5",
            "perplexity/sonar",
            "groq/openai/gpt-oss-20b",
            "litellm_proxy/team-model",
            "gateway/team-model",
        )
        for streamed in (False, True)
    ),
    # litellm cannot read a plain answer of these two without a usage; they always send one.
    ("anthropic/claude-sonnet-5-5", True),
    ("gemini/gemini-2.5-pro", True),
]


@pytest.mark.parametrize(("model", "streamed"), COUNTED)
async def test_usage_that_a_provider_does_not_report_is_counted_and_said_to_be(
    fake: FakeProvider, store: Store, model: str, streamed: bool
) -> None:
    rates = {"input": 1, "output": 2}
    invoice = Invoice(model=model, usage={}, body={"service_tier": "on_demand"}, rates=rates, micro_usd=0)
    attempt = await billed(fake, store, invoice, streamed=streamed)
    assert (attempt.estimated, attempt.cost_note) == (True, "token counts estimated")
    assert 5 < attempt.input_tokens < 30  # "What is the capital of France?"
    assert 1 <= attempt.output_tokens < 5  # "Paris."
    assert attempt.cost_nano_usd == 1000 * (attempt.input_tokens + 2 * attempt.output_tokens)


ASKED = [model for model, streamed in COUNTED if streamed and not model.startswith(("anthropic", "gemini"))]
TOLD_UNASKED = ("mistral", "perplexity")


@pytest.mark.parametrize("model", ASKED)
async def test_a_stream_is_asked_for_its_usage(fake: FakeProvider, store: Store, model: str) -> None:
    invoice = Invoice(model=model, usage=PLAIN, rates={"input": 1, "output": 2}, micro_usd=1400)
    await billed(fake, store, invoice, streamed=True)
    asked = fake.requests[0].json.get("stream_options")
    assert asked == (None if model.startswith(TOLD_UNASKED) else {"include_usage": True})
