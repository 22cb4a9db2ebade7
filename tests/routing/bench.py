"""An engine on a real store, whose models are those of the fake provider."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from aiohttp import web

from tests.fake_provider import Behaviour, Exchange, FakeProvider, ok
from tierwise.routing.calls import Call, Receipt
from tierwise.routing.engine import Engine, open_engine
from tierwise.routing.engine_settings import EngineSettings
from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.settings import (
    LiteLLMSettings,
    LocalSettings,
    ModelPrice,
    ProviderSettings,
    RoutingSettings,
    TierRule,
    TierRules,
)
from tierwise.storage.errors import TierwiseError
from tierwise.storage.ports import Store
from tierwise.storage.records import CallRecord

MARKS = [
    pytest.mark.anyio,
    # litellm silences these on import, which pytest undoes for each test: its types, its streams
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly` qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning"),
]

PROMPT = "What is the capital of France?"
PRICES = {
    "fake/small": ModelPrice(input=1, output=2),
    "fake/standard": ModelPrice(input=10, output=20),
    "fake/peer": ModelPrice(input=10, output=20),
    "fake/large": ModelPrice(input=100, output=200),
}
PATIENCE = 60
"""Seconds within which anything that a test waits for must happen."""


def rules(
    simple: tuple[str, ...] = ("fake/small",),
    standard: tuple[str, ...] = ("fake/standard", "fake/peer"),
    complex_: tuple[str, ...] = ("fake/large",),
) -> RoutingSettings:
    """Rules with these models; a tier with none gets no rule."""
    simple_rule, standard_rule, complex_rule = (
        TierRule(model=models) if models else None for models in (simple, standard, complex_)
    )
    return RoutingSettings(rules=TierRules(simple=simple_rule, standard=standard_rule, complex=complex_rule))


def only(*models: str) -> RoutingSettings:
    """Rules by which a standard call tries `models` and nothing else."""
    return rules((), models, ())


def litellm(fake: FakeProvider, **changes: Any) -> LiteLLMSettings:
    values: dict[str, Any] = {
        "providers": {"fake": ProviderSettings(api_base=fake.url, models={"tiny": "small"})},
        "max_retries": 2,
        "retry_delay": 0.01,
        "timeout": PATIENCE,
    }
    return LiteLLMSettings(**values | changes)


def engine_settings(fake: FakeProvider, **changes: Any) -> EngineSettings:
    settings = EngineSettings(
        litellm=litellm(fake),
        routing=rules(),
        pricing=PRICES,
        local=LocalSettings(servers=(), embedded=False),
    )
    return replace(settings, **changes)


@dataclass(frozen=True)
class Bench:
    """A running engine and what it has written down."""

    engine: Engine
    fake: FakeProvider
    records: list[CallRecord] = field(default_factory=list[CallRecord])

    @property
    def upstream(self) -> list[str]:
        """The model of each request that the provider got."""
        return [request.json["model"] for request in self.fake.requests]

    async def start(self, *, watched: bool = False, **request: Any) -> Call:
        return await self.engine.start(chat(**request), watched=watched)

    async def ask(self, *, watched: bool = False, **request: Any) -> Receipt:
        return await answer_of(await self.start(watched=watched, **request))

    async def queued(self, count: int) -> None:
        """Wait until so many requests wait for their turn."""
        with anyio.fail_after(PATIENCE):
            while self.engine.queue.waiting < count:  # noqa: ASYNC110  there is no event for it
                await anyio.sleep(0.005)

    async def failure(self, *, watched: bool = False, **request: Any) -> TierwiseError:
        with pytest.raises(TierwiseError) as caught:
            await self.ask(watched=watched, **request)
        return caught.value


def chat(prompt: str = PROMPT, tier: Tier | None = Tier.STANDARD, **request: Any) -> ChatRequest:
    return ChatRequest(prompt=prompt, tier=tier, **request)


async def answer_of(call: Call) -> Receipt:
    assert await call.wait(PATIENCE), "the call does not end"
    return call.receipt()


@asynccontextmanager
async def running(
    fake: FakeProvider, store: Store, environ: Mapping[str, str] | None = None, **changes: Any
) -> AsyncGenerator[Bench]:
    """An engine with `engine_settings(fake)`, some of them changed."""
    async with open_engine(engine_settings(fake, **changes), store, environ or {}) as engine:
        bench = Bench(engine, fake)
        engine.listeners.append(bench.records.append)
        yield bench


class Gate:
    """A behaviour that says when its request has come, and goes on when it is let."""

    def __init__(self, then: Behaviour | None = None) -> None:
        self.arrived = anyio.Event()
        self.opened = anyio.Event()
        self._then = then or ok()

    async def __call__(self, exchange: Exchange) -> web.StreamResponse:
        self.arrived.set()
        await self.opened.wait()
        return await self._then(exchange)

    async def reached(self) -> None:
        with anyio.fail_after(PATIENCE):
            await self.arrived.wait()
