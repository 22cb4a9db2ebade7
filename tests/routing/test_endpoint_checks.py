"""Endpoints are looked after while nobody calls them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from aiohttp import web

from tests.fake_provider import FakeProvider, status
from tests.routing.bench import MARKS, PATIENCE, Bench, chat, litellm, only, running
from tierwise.routing.catalog.plain_http import get
from tierwise.routing.reliability_settings import BreakerSettings, HealthSettings, ReliabilitySettings
from tierwise.routing.settings import ModelPrice, ProviderSettings
from tierwise.storage.ports import Store

pytestmark = MARKS

NOTHING = ModelPrice(input=0, output=0)


class ModelsServer:
    """Lists models, with a status, and remembers what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.location: str | None = None
        self.asked: list[web.Request] = []
        self.hangs = False
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.hangs:
            await anyio.sleep_forever()
        headers = {"Location": self.location} if self.location else None
        return web.json_response({"data": []}, status=self.status, headers=headers)


@asynccontextmanager
async def listening() -> AsyncGenerator[ModelsServer]:
    server, app = ModelsServer(), web.Application()
    app.router.add_get("/v1/models", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncGenerator[ModelsServer]:
    async with listening() as server:
        yield server


@asynccontextmanager
async def looked_after(
    fake: FakeProvider,
    store: Store,
    url: str,
    *,
    price: ModelPrice = NOTHING,
    health: HealthSettings = HealthSettings(checks="off"),  # noqa: B008  frozen
    failures: int = 2,
    key: str | None = None,
) -> AsyncGenerator[Bench]:
    """An engine whose standard tier is `own/model` at `url`, then `fake/peer`."""
    own = ProviderSettings(api_base=url, api_key_env="OWN_KEY" if key else None)
    providers = {"own": own, "fake": ProviderSettings(api_base=fake.url)}
    async with running(
        fake,
        store,
        {"OWN_KEY": key} if key else {},
        litellm=litellm(fake, providers=providers, max_retries=0),
        routing=only("own/model", "fake/peer"),
        pricing={"own/model": price, "fake/peer": ModelPrice(input=1, output=1)},
        reliability=ReliabilitySettings(breaker=BreakerSettings(failures=failures), health=health),
    ) as bench:
        await bench.engine.catalog()
        yield bench


async def state(bench: Bench) -> dict[str, str]:
    return {item.model.id: item.reason for item in (await bench.engine.plan(chat())).excluded}


async def test_an_endpoint_that_does_not_answer_is_left_alone_before_any_call_has_run_into_it(
    fake: FakeProvider, store: Store
) -> None:
    async with looked_after(fake, store, fake.refused_url) as bench:
        for _ in range(2):
            assert await state(bench) == {}
            await bench.engine.checks.check_all(paid=False)
        assert await state(bench) == {"own/model": "breaker open after 2 failures, tried again in 60 s"}
        await bench.engine.checks.check_all(paid=False)  # of no use while it is open
        [known] = await store.breakers()
        assert (known.failures, known.error) == (2, "connection_failed")
        assert (await bench.ask()).model == "fake/peer"


@pytest.mark.parametrize(
    ("code", "noted"), [(500, True), (503, True), (401, False), (404, False), (429, False)]
)
async def test_a_server_that_says_no_is_there_and_one_with_an_error_of_its_own_is_not(
    fake: FakeProvider, store: Store, server: ModelsServer, code: int, noted: bool
) -> None:
    server.status = code
    async with looked_after(fake, store, server.url) as bench:
        await bench.engine.checks.check_all(paid=False)
        assert [known.error for known in await store.breakers()] == (["server_failed"] if noted else [])
        assert (bench.engine.checks.results[server.url].error is None) == (not noted)


async def test_an_endpoint_that_answers_again_is_tried_before_its_cool_down_is_over(
    fake: FakeProvider, store: Store
) -> None:
    async with looked_after(fake, store, fake.url, failures=1) as bench:
        fake.next("model", status(500))
        await bench.ask()
        assert list(await state(bench)) == ["own/model"]
        await bench.engine.checks.check_all(paid=False)
        plan = await bench.engine.plan(chat())
        assert plan.first.reason == "first of the standard tier; tried again after 1 failure"
        assert (await bench.ask(prompt="again")).model == "own/model"
    assert await store.breakers() == []


async def test_a_check_that_goes_well_does_not_make_failed_calls_unhappened(
    fake: FakeProvider, store: Store
) -> None:
    async with looked_after(fake, store, fake.url, failures=2) as bench:
        fake.always("model", status(500))
        await bench.ask()
        await bench.engine.checks.check_all(paid=False)
        await bench.ask(prompt="again")
        assert list(await state(bench)) == ["own/model"]


async def test_models_that_cost_something_are_checked_only_where_that_is_asked_for_and_with_their_key(
    fake: FakeProvider, store: Store, server: ModelsServer
) -> None:
    paid = ModelPrice(input=1, output=1)
    async with looked_after(fake, store, server.url, price=paid, key="sk-own-Distinctive1") as bench:
        await bench.engine.checks.check_all(paid=False)
        assert server.asked == []
        await bench.engine.checks.check_all(paid=True)
        [asked] = server.asked
        assert asked.headers["Authorization"] == "Bearer sk-own-Distinctive1"
        assert asked.path == "/v1/models"


async def test_a_key_does_not_follow_a_redirect(
    fake: FakeProvider, store: Store, server: ModelsServer
) -> None:
    async with listening() as elsewhere:
        server.status, server.location = 302, f"{elsewhere.url}/models"
        async with looked_after(fake, store, server.url, key="sk-own-Distinctive1") as bench:
            await bench.engine.checks.check_all(paid=True)
        assert (len(server.asked), elsewhere.asked) == (1, [])


async def test_checks_are_made_regularly_in_the_background(
    fake: FakeProvider, store: Store, server: ModelsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    asleep, awake = anyio.Semaphore(0), anyio.Semaphore(0)

    async def until(deadline: float) -> None:
        slept.append(deadline - anyio.current_time())
        asleep.release()
        await awake.acquire()

    monkeypatch.setattr("tierwise.routing.reliability.endpoint_checks.anyio.sleep_until", until)
    health = HealthSettings(interval=30)
    with anyio.fail_after(PATIENCE):
        async with looked_after(fake, store, server.url, health=health) as bench:
            for number in range(3):
                await asleep.acquire()
                assert len(server.asked) == number
                awake.release()
            await asleep.acquire()
            assert bench.engine.checks.results[server.url].error is None
    assert all(29 < seconds <= 30 for seconds in slept)


async def test_nothing_is_looked_up_for_the_checks_sake(fake: FakeProvider, store: Store) -> None:
    async with running(fake, store) as bench:
        await bench.engine.checks.check_all(paid=True)
        assert bench.engine.checks.results == {}
        await bench.engine.catalog()
        await bench.engine.checks.check_all(paid=True)
        assert list(bench.engine.checks.results) == [fake.url]


async def test_an_endpoint_that_hangs_is_given_up_after_some_seconds(
    fake: FakeProvider, store: Store, server: ModelsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tierwise.routing.reliability.endpoint_checks._PATIENCE", 0.1)
    server.hangs = True
    async with looked_after(fake, store, server.url) as bench:
        await bench.engine.checks.check_all(paid=False)
    [known] = await store.breakers()
    assert known.error == "timeout"


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 2"])
async def test_what_does_not_speak_http_is_no_answer(reply: bytes) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(ValueError, match="not an answer"):
            await get(f"http://127.0.0.1:{port}/v1/models")
