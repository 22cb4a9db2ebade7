"""Endpoints that are asked for their models: what they list, and what they may do instead."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self

import anyio
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.routing.bench import MARKS, chat, rules
from tierwise.routing.catalog import gateways, inventory
from tierwise.routing.catalog.listings import read_model_info, read_models
from tierwise.routing.catalog.models import Model
from tierwise.routing.engine import Engine, EngineSettings, open_engine
from tierwise.routing.errors import NoCandidate, UnknownModel
from tierwise.routing.money.pricing import FREE, Price, Rates
from tierwise.routing.request import Tier
from tierwise.routing.settings import (
    LiteLLMSettings,
    LocalSettings,
    ModelPrice,
    ProviderSettings,
    RoutingSettings,
)
from tierwise.storage.ports import Store

pytestmark = MARKS

Json = dict[str, Any]
Answer = Callable[[], web.StreamResponse]
TODAY = date(2026, 11, 21)


def info(name: Any, **model_info: Any) -> Json:
    """An entry of `GET /model/info`."""
    return {"model_name": name, "litellm_params": {"model": f"openai/{name}"}, "model_info": model_info}


def priced(name: str, usd_per_million: float, **model_info: Any) -> Json:
    rate = usd_per_million / 10**6
    return info(name, mode="chat", input_cost_per_token=rate, output_cost_per_token=2 * rate, **model_info)


def data(*entries: Any) -> Answer:
    return lambda: web.json_response({"data": list(entries)})


def names(*models: str) -> Answer:
    return data(*({"id": model, "object": "model"} for model in models))


def status(code: int, **headers: str) -> Answer:
    return lambda: web.json_response({"error": {"message": "no"}}, status=code, headers=headers)


def raw(body: bytes) -> Answer:
    return lambda: web.Response(body=body, content_type="application/json")


@dataclass
class Gateway:
    """An endpoint whose two lists can be set."""

    info: Answer = field(default_factory=lambda: status(404))
    models: Answer = field(default_factory=lambda: status(404))
    asked: list[web.Request] = field(default_factory=list[web.Request])
    silent: bool = False
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/model/info", self._answer)
        app.router.add_get("/v1/models", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.silent:
            await anyio.sleep_forever()
        return self.info() if request.path.endswith("info") else self.models()


@pytest.fixture
async def gateway() -> AsyncGenerator[Gateway]:
    async with Gateway() as gateway:
        yield gateway


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every listing is old at once."""
    for name in ("_JUST_NOW", "_LISTING_LIFETIME", "_FAULT_LIFETIME"):
        monkeypatch.setattr(inventory, name, 0.0)


@asynccontextmanager
async def asking(
    gateway: Gateway,
    store: Store,
    routing: RoutingSettings | None = None,
    environ: Mapping[str, str] | None = None,
    pricing: Mapping[str, ModelPrice] | None = None,
) -> AsyncGenerator[Engine]:
    """An engine that has `gateway` and, but for keys in `environ`, nothing else."""
    provider = ProviderSettings(api_base=gateway.url, discover=True)
    settings = EngineSettings(
        litellm=LiteLLMSettings(providers={"gateway": provider}),
        routing=routing or RoutingSettings(),
        pricing=pricing or {},
        local=LocalSettings(servers=(), embedded=False),
    )
    async with open_engine(settings, store, environ or {}) as engine:
        yield engine


async def found(engine: Engine) -> dict[str, Model]:
    return {model.id: model for model, _ in (await engine.catalog()).models()}


async def health(engine: Engine) -> tuple[int | None, str | None]:
    """How many models the gateway has, and what is wrong with it."""
    await engine.inventory.look_again()
    [gateway] = engine.inventory.gateways.health()
    return gateway.models, gateway.fault


# What is listed


async def test_the_models_of_a_proxy_have_its_prices_limits_and_abilities(gateway: Gateway, store: Store):
    limits = {"max_input_tokens": 32000, "max_output_tokens": 4096.0}
    abilities = {"supports_vision": True, "supports_reasoning": False, "supports_pdf_input": None}
    extra = {"cache_read_input_token_cost": 1e-7, "input_cost_per_token_above_128k_tokens": None}
    gateway.info = data(priced("quick", 1, **limits, **abilities, **extra), info("vectors", mode="embedding"))
    async with asking(gateway, store) as engine:
        models = await found(engine)
        assert (await engine.catalog()).resolve("quick") == models["gateway/quick"]  # the bare name will do
        assert await health(engine) == (1, None)
    assert models.keys() == {"gateway/quick"}
    quick = models["gateway/quick"]
    assert quick.price == Price(rates=Rates(input=1_000_000, output=2_000_000, cache_read=100_000))
    assert (quick.context_window, quick.max_output_tokens) == (32000, 4096)
    assert quick.capabilities == ("vision",)
    assert quick.warning(TODAY) is None
    assert len(gateway.asked) == 1


async def test_of_deployments_under_one_name_the_dearest_counts_with_the_smallest_limits(
    gateway: Gateway, store: Store
):
    gateway.info = data(
        priced("both", 1, max_input_tokens=1000, supports_vision=True, supports_reasoning=True),
        priced("both", 5, max_input_tokens=9000, supports_vision=True),
        priced("half", 1),
        info("half", mode="chat"),
    )
    async with asking(gateway, store) as engine:
        models = await found(engine)
    both, half = models["gateway/both"], models["gateway/half"]
    assert both.price == Price(rates=Rates(input=5_000_000, output=10_000_000))
    assert both.context_window == 1000
    assert both.capabilities == ("vision",)
    assert half.price is None
    assert half.price_note == "no price is known for gateway/half: set usage_tracking.pricing"


async def test_zero_is_a_price_only_where_it_is_meant(gateway: Gateway, store: Store):
    zeros = {"input_cost_per_token": 0, "output_cost_per_token": 0.0}
    overrides = ["input_cost_per_token", "output_cost_per_token"]
    gateway.info = data(
        info("meant", **zeros, pricing_overrides=overrides),
        info("at-home", **zeros, litellm_provider="ollama"),
        info("nobody-knows", **zeros, pricing_overrides=[]),
    )
    async with asking(gateway, store) as engine:
        prices = {name: model.price for name, model in (await found(engine)).items()}
    assert prices == {"gateway/meant": FREE, "gateway/at-home": FREE, "gateway/nobody-knows": None}


async def test_where_only_names_are_listed_the_price_map_tells_the_rest(gateway: Gateway, store: Store):
    gateway.info = status(403)
    gateway.models = names("claude-opus-5-5", "my-model", "text-embedding-3-small")
    async with asking(gateway, store) as engine:
        models = await found(engine)
    assert models.keys() == {"gateway/claude-opus-5-5", "gateway/my-model"}
    opus, mine = models["gateway/claude-opus-5-5"], models["gateway/my-model"]
    assert opus.price
    assert opus.can("vision")
    assert (mine.price, mine.capabilities) == (None, None)
    assert [request.path for request in gateway.asked] == ["/v1/model/info", "/v1/models"]


async def test_the_users_own_price_wins_over_the_proxys(gateway: Gateway, store: Store):
    gateway.info = data(priced("small", 1))
    async with asking(gateway, store, pricing={"gateway/small": ModelPrice(input=7, output=8)}) as engine:
        small = (await found(engine))["gateway/small"]
    assert small.price == Price(rates=Rates(input=7_000_000, output=8_000_000))


async def test_a_model_that_the_endpoint_does_not_list_is_marked(gateway: Gateway, store: Store):
    gateway.info = data(priced("small", 1))
    async with asking(gateway, store) as engine:
        plan = await engine.plan(chat(tier=None, model="gateway/smal"))
    assert plan.first.reason.endswith("not in gateway's own list, so perhaps retired")


# Which of them serve


async def test_without_rules_the_cheapest_serves_simple_prompts_and_the_dearest_complex_ones(
    gateway: Gateway, store: Store
):
    gateway.info = data(priced("b", 3), priced("c", 9), priced("a", 1), info("unknown", mode="chat"))
    async with asking(gateway, store) as engine:
        catalog = await engine.catalog()
    assert [[model.id for model in catalog.tiers[tier]] for tier in Tier] == [
        ["gateway/a"],
        ["gateway/b"],
        ["gateway/c"],
    ]
    assert catalog.source == "the models of gateway, by price"


async def test_of_a_market_with_many_models_none_is_chosen_unasked(gateway: Gateway, store: Store):
    gateway.info = data(*(priced(f"m-{number}", number + 1) for number in range(21)))
    async with asking(gateway, store) as engine:
        assert len(await found(engine)) == 21
        with pytest.raises(NoCandidate, match="gateway offers 21 models; name those of each tier"):
            await engine.start(chat())
        chosen = await engine.plan(chat(tier=None, model="gateway/m-3"))
        assert chosen.first.model.id == "gateway/m-3"


async def test_a_bare_name_means_the_provider_whose_key_is_there_whatever_endpoints_list(
    gateway: Gateway, store: Store
):
    gateway.info = data(priced("claude-opus-5-5", 1))
    async with asking(gateway, store) as engine:
        assert (await engine.catalog()).resolve("claude-opus-5-5").provider == "gateway"
    async with asking(gateway, store, environ={"ANTHROPIC_API_KEY": "sk"}) as engine:
        assert (await engine.catalog()).resolve("claude-opus-5-5").provider == "anthropic"


# When it is asked, and with what


async def test_nothing_is_asked_before_somebody_needs_the_models(gateway: Gateway, store: Store):
    async with asking(gateway, store) as engine:
        await anyio.wait_all_tasks_blocked()
        assert gateway.asked == []
        await engine.catalog()
        await engine.catalog()
        assert len(gateway.asked) == 2  # both lists, once


async def test_the_key_is_sent_to_the_endpoint_and_nowhere_else(gateway: Gateway, store: Store):
    async with Gateway() as elsewhere:
        gateway.info = status(307, Location=f"{elsewhere.url}/model/info")
        gateway.models = names("small")
        async with asking(gateway, store, environ={"GATEWAY_API_KEY": " sk-secret "}) as engine:
            assert await found(engine)
        assert [it.headers["Authorization"] for it in gateway.asked] == ["Bearer sk-secret"] * 2
        assert elsewhere.asked == []
    gateway.asked.clear()
    async with asking(gateway, store) as engine:
        await engine.catalog()
    assert not any("Authorization" in it.headers for it in gateway.asked)


async def test_old_listings_go_on_to_serve_while_new_ones_are_fetched(
    gateway: Gateway, store: Store, impatient: None
):
    gateway.info = data(priced("old", 1))
    async with asking(gateway, store) as engine:
        assert (await found(engine)).keys() == {"gateway/old"}
        gateway.info = data(priced("new", 1))
        assert (await found(engine)).keys() == {"gateway/old"}
        with anyio.fail_after(30):
            while "gateway/new" not in await found(engine):
                await anyio.wait_all_tasks_blocked()


async def test_whoever_asks_at_the_same_time_waits_for_the_same_answer(gateway: Gateway, store: Store):
    gateway.info = data(priced("small", 1))
    async with asking(gateway, store) as engine, anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(engine.catalog)
    assert len(gateway.asked) == 1


# What may go wrong


async def test_an_endpoint_that_is_down_is_not_replaced_by_demonstrations(store: Store, impatient: None):
    gateway = Gateway()
    async with gateway:
        pass  # its port is free again
    async with asking(gateway, store) as engine:
        with pytest.raises(NoCandidate, match="No model is configured: gateway cannot be reached; check"):
            await engine.start(chat())
        async with gateway:
            gateway.models = names("small")
            assert (await engine.plan(chat())).first.model.id == "gateway/small"
        assert await health(engine) == (1, "gateway cannot be reached; check that it runs, and its api_base.")
        assert (await engine.plan(chat())).first.model.id == "gateway/small"  # as it was when last heard of


async def test_rules_serve_without_the_endpoints_list(gateway: Gateway, store: Store):
    async with asking(gateway, store, rules(("gateway/a",), ("gateway/b",), ("gateway/c",))) as engine:
        assert (await engine.plan(chat())).first.model.id == "gateway/b"


async def test_a_bare_name_that_only_an_ill_endpoint_knows_is_refused_with_its_fault(
    gateway: Gateway, store: Store
):
    gateway.info = gateway.models = status(401)
    async with asking(gateway, store, rules(("a",), ("b",), ("c",))) as engine:
        with pytest.raises(UnknownModel, match=r"There is no model 'a'.* gateway answered 401 when asked"):
            await engine.catalog()


async def test_an_endpoint_that_never_answers_is_not_waited_for(
    gateway: Gateway, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gateways, "_PATIENCE", 0.2)
    gateway.silent = True
    async with asking(gateway, store, rules(("gateway/a",), ("gateway/b",), ("gateway/c",))) as engine:
        assert (await engine.plan(chat())).first.model.id == "gateway/b"
        assert await health(engine) == (None, "gateway did not answer within 0.2 s; check its api_base.")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (
            status(401),
            "answered 401 when asked for its models; check its api_base and whether it needs a key",
        ),
        (status(302, Location="http://127.0.0.1:9/"), "answered 302"),
        (status(500), "answered 500"),
        (raw(b""), "sent no list of models that can be read"),
        (raw(b"<html>It works!</html>"), "sent no list of models"),
        (raw(b"[" * 1_000_000), "sent no list of models"),
        (raw(b"\xff\xfe"), "sent no list of models"),
        (raw(json.dumps({"data": {"id": "x"}}).encode()), "sent no list of models"),
        (raw(json.dumps([1, 2]).encode()), "sent no list of models"),
        (raw(b'{"data": [' + b" " * 33_000_000), "sent no list of models"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
async def test_what_is_no_list_of_models_is_said_to_be_none(
    gateway: Gateway, store: Store, answer: Answer, fault: str
):
    gateway.info = gateway.models = answer
    async with asking(gateway, store) as engine:
        models, said = await health(engine)
    assert models is None
    assert said
    assert said.startswith(f"gateway {fault}")


@pytest.mark.parametrize(
    "entry",
    [
        None,
        "small",
        [],
        {},
        info(None),
        info(5),
        info(""),
        info("openai/*"),
        info("two\nlines"),
        info("x" * 300),
        info("vectors", mode="embedding"),
        {"model_name": "small"},
        {"model_name": "small", "model_info": "?"},
    ],
)
async def test_an_entry_that_is_no_chat_model_is_passed_over(gateway: Gateway, store: Store, entry: Any):
    gateway.info = data(entry, priced("good", 1))
    async with asking(gateway, store) as engine:
        assert (await found(engine)).keys() == {"gateway/good"}


@pytest.mark.parametrize(
    "nonsense", [-1, 1e9, float("nan"), float("inf"), 10**400, True, "0.1", None, [], {"a": 1}]
)
async def test_facts_that_cannot_be_are_left_out(gateway: Gateway, store: Store, nonsense: Any):
    facts = (
        "input_cost_per_token",
        "output_cost_per_token",
        "cache_read_input_token_cost",
        "max_input_tokens",
        "max_output_tokens",
        "deprecation_date",
        "pricing_overrides",
        "litellm_provider",
    )
    gateway.info = data(info("odd", **dict.fromkeys(facts, nonsense), supports_vision=str(nonsense)))
    async with asking(gateway, store) as engine:
        odd = (await found(engine))["gateway/odd"]
    limits = {odd.context_window, odd.max_output_tokens}
    assert limits == ({10**9} if nonsense == 1e9 else {None})
    assert (odd.price, odd.deprecation_date, odd.capabilities) == (None, None, None)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
trees = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(
    st.lists(st.fixed_dictionaries({}, optional={"model_name": scalars, "model_info": trees, "id": scalars}))
)
def test_any_json_is_read_or_refused(entries: list[Json]):
    body = json.dumps({"data": entries}).encode()
    for listing in (read_model_info(body), read_models(body)):
        assert all(name.isprintable() for name in listing.offers)


def test_only_an_endpoint_of_ones_own_can_be_asked():
    with pytest.raises(ValidationError, match="discover needs an api_base"):
        ProviderSettings(discover=True)
