"""A real LiteLLM proxy as the provider: its models, answers, errors and budgets."""

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp_types import TextResourceContents

import tierwise
from tests.real_proxy import LONG_ANSWER, MASTER_KEY, free_port, is_installed, running_proxy
from tests.server.harness import MARKS, Installation, chat, refusal, structured
from tierwise.routing.money.pricing import FREE

pytestmark = [
    *MARKS,
    pytest.mark.proxy,
    pytest.mark.skipif(not is_installed(), reason="no LiteLLM proxy is installed: make proxy"),
    pytest.mark.usefixtures("litellm_loaded"),
]

COST = 10 * 1000 + 20 * 2000
"""nano-USD of a mock answer of `quick`, whose usage is always 10 and 20 tokens."""
OFFERED = {
    *(
        "quick",
        "clever",
        "talkative",
        "own",
        "unpriced",
        "balanced",
        "limited",
        "broken",
        "overflowing",
        "replaced",
    ),
    *("unreachable", "capped", "metered", "penniless"),
}
"""The chat models in tests/proxy/config.yaml."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with running_proxy(tmp_path_factory.mktemp("proxy")) as url:
        yield url


def settings(proxy: str, tmp_path: Path, *models: str, **changes: Any) -> dict[str, Any]:
    """Settings whose tiers are `models` of the proxy, all of them in each."""
    ids = [f"gateway/{model}" for model in models]
    return {
        "litellm": {
            "max_retries": 0,
            "providers": {
                "gateway": {"api_base": f"{proxy}/v1", "api_key_env": "GATEWAY_API_KEY", "discover": True}
            },
        },
        "model_routing": {"rules": {tier: {"model": ids} for tier in tierwise.Tier}} if ids else {},
        "local": {"servers": [], "embedded": False},
        "data_dir": str(tmp_path / "data"),
        **changes,
    }


@asynccontextmanager
async def routing(
    proxy: str, tmp_path: Path, *models: str, key: str = MASTER_KEY
) -> AsyncGenerator[tierwise.Router]:
    config = settings(proxy, tmp_path, *models)
    with anyio.fail_after(60):
        async with tierwise.open(config, environ={"GATEWAY_API_KEY": key}) as router:
            yield router


async def failure(router: tierwise.Router, **options: Any) -> str:
    with pytest.raises(tierwise.AllCandidatesFailed) as caught:
        await router.chat("Hello", **options)
    return str(caught.value)


async def test_its_models_are_listed_with_its_prices_limits_and_health(proxy: str, tmp_path: Path):
    installation = Installation(tmp_path, settings(proxy, tmp_path, "quick"))
    installation.environ["GATEWAY_API_KEY"] = MASTER_KEY
    async with installation.client() as client:
        listed = structured(await client.call_tool("list_models"))
        models = {it["model"].removeprefix("gateway/"): it for it in listed["models"]}
        [health] = (await client.read_resource("health://providers")).contents
    assert models.keys() == OFFERED
    quick, clever, own = models["quick"], models["clever"], models["own"]
    assert (quick["input_usd_per_million"], quick["output_usd_per_million"]) == (1, 2)
    assert (quick["context_window"], quick["tiers"]) == (32000, ["simple", "standard", "complex"])
    assert "vision" not in quick["capabilities"]
    assert "vision" in clever["capabilities"]
    assert clever["context_window"] == 1_000_000
    assert models["balanced"]["input_usd_per_million"] == clever["input_usd_per_million"]
    assert (own["input_usd_per_million"], own["capabilities"]) == (0, None)
    assert models["unpriced"]["price_note"].startswith("no price is known for gateway/unpriced")
    assert {it["health"] for it in models.values()} == {"ready"}
    assert isinstance(health, TextResourceContents)
    [gateway] = json.loads(health.text)["gateways"]
    assert gateway.pop("asked_s_ago") >= 0
    endpoint = f"{proxy}/v1"
    assert gateway == {"provider": "gateway", "endpoint": endpoint, "models": len(OFFERED), "fault": None}


async def test_a_chat_is_answered_and_charged_at_the_proxys_price(proxy: str, tmp_path: Path):
    async with routing(proxy, tmp_path, "quick") as router:
        answer = await router.chat("Hello", system_prompt="Be brief", max_tokens=50)
        usage = await router.usage(days=1)
    assert (answer.content, answer.model, answer.provider) == ("a quick answer", "gateway/quick", "gateway")
    assert (answer.cost, answer.finish_reason) == (COST, "stop")
    assert usage.total_cost_usd == pytest.approx(tierwise.usd(COST))


async def test_the_providers_usual_name_and_address_will_do_as_well(proxy: str, tmp_path: Path):
    config = settings(proxy, tmp_path)
    config["litellm"]["providers"] = {"litellm_proxy": {"api_base": proxy, "discover": True}}
    environ = {"LITELLM_PROXY_API_KEY": MASTER_KEY}
    async with tierwise.open(config, environ=environ) as router:
        answer = await router.chat("Hello", model="quick")
    assert (answer.content, answer.model, answer.cost) == ("a quick answer", "litellm_proxy/quick", COST)


async def test_a_stream_comes_in_pieces(proxy: str, tmp_path: Path):
    async with routing(proxy, tmp_path, "talkative") as router:
        stream = router.stream("Hello")
        pieces = [piece async for piece in stream]
    assert len(pieces) > 1
    assert "".join(pieces) == stream.receipt.content == LONG_ANSWER
    assert stream.receipt.cost


async def test_what_costs_nothing_there_costs_nothing_here(proxy: str, tmp_path: Path):
    async with routing(proxy, tmp_path, "own") as router:
        plan = await router.analyze("Hello")
        answer = await router.chat("Hello")
    assert plan.candidates[0].model.price == FREE
    assert (answer.cost, answer.content) == (0, "mine")


@pytest.mark.parametrize(
    ("model", "outcome", "said"),
    [
        ("limited", "rate_limited", "gateway/limited is rate limited or out of quota (this is a mock"),
        (
            "broken",
            "server_failed",
            "gateway/broken failed on its side (this is a mock internal",
        ),
        ("unreachable", "server_failed", "gateway/unreachable failed on its side (Connection error.)"),
        ("overflowing", "context_window_exceeded", "is too long for gateway/overflowing"),
        ("nobody", "model_not_found", "gateway has no model nobody"),
        ("penniless", "quota_exhausted", "spent (Budget has been exceeded! Current cost: 0.02, Max budget"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_each_of_its_errors_is_ours_and_lets_another_model_serve(
    proxy: str, tmp_path: Path, model: str, outcome: str, said: str, streamed: bool
):
    async with routing(proxy, tmp_path, model, "clever") as router:
        told = await failure(router, fallback_models=[], use_cache=False)
        if streamed:
            stream = router.stream("Hello")
            assert "".join([piece async for piece in stream]) == "a clever answer"
            answer = stream.receipt
        else:
            answer = await router.chat("Hello")
    assert said in told
    assert "LiteLLM: model group" not in told
    assert answer.model == "gateway/clever"
    assert [attempt.outcome for attempt in answer.attempts] == [outcome, "ok"]


@pytest.mark.parametrize("model", ["capped", "metered"])
async def test_a_budget_of_the_proxy_that_is_spent_lets_another_model_serve(
    proxy: str, tmp_path: Path, model: str
):
    async with routing(proxy, tmp_path, model, "quick") as router:
        while True:  # it reckons up what an answer cost some time after it was sent
            answer = await router.chat("Hello", use_cache=False)
            if answer.model != f"gateway/{model}":
                break
        told = await failure(router, fallback_models=[], use_cache=False)
    assert answer.content == "a quick answer"
    assert [attempt.outcome for attempt in answer.attempts] == ["quota_exhausted", "ok"]
    assert f"gateway says that the budget or credit for {model} is spent (No deployments available" in told


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_that_the_proxy_replaced_by_itself_is_named(proxy: str, tmp_path: Path, streamed: bool):
    async with routing(proxy, tmp_path, "replaced") as router:
        if streamed:
            stream = router.stream("Hello")
            assert "".join([piece async for piece in stream]) == "a quick answer"
            answer = stream.receipt
        else:
            answer = await router.chat("Hello")
    assert (answer.content, answer.model) == ("a quick answer", "gateway/replaced")
    assert answer.reason.endswith("; gateway let quick answer in its place")
    [attempt] = answer.attempts
    assert attempt.cost_reported  # so the cost is that of `quick`
    assert answer.cost == 1000 * attempt.input_tokens + 2000 * attempt.output_tokens


async def test_a_wrong_key_is_told_where_the_models_are_and_when_one_is_called(proxy: str, tmp_path: Path):
    installation = Installation(tmp_path, settings(proxy, tmp_path, "quick"))
    installation.environ["GATEWAY_API_KEY"] = "sk-wrong-Distinctive9876543210"
    async with installation.client() as client:
        [quick] = structured(await client.call_tool("list_models"))["models"]
        said = refusal(await client.call_tool("chat", {"prompt": "Hello"}))
    assert quick["health"] == (
        "gateway answered 400 when asked for its models; check its api_base and the key in GATEWAY_API_KEY."
    )
    assert "gateway rejected its API key" in said
    assert "sk-wrong" not in said + str(quick)


async def test_a_proxy_that_is_down_is_told_and_serves_once_it_is_up(tmp_path: Path):
    (home := tmp_path / "home").mkdir()
    port = free_port()
    installation = Installation(tmp_path, settings(f"http://127.0.0.1:{port}", tmp_path, "quick"))
    installation.environ["GATEWAY_API_KEY"] = MASTER_KEY
    diagnosis = await installation.run("doctor", "--json")
    [found] = [it for it in json.loads(diagnosis.stdout)["findings"] if it["check"] == "gateway"]
    assert (found["status"], found["message"]) == ("warning", "gateway cannot be reached")
    assert found["fix"] == "Check that it runs, and its api_base."
    async with installation.client() as client:
        [quick] = structured(await client.call_tool("list_models"))["models"]
        assert quick["health"] == "gateway cannot be reached; check that it runs, and its api_base."
        assert "Connection refused" in refusal(await client.call_tool("chat", {"prompt": "Hello"}))
        with running_proxy(home, port):
            assert (await chat(client, "Hello"))["content"] == "a quick answer"
    async with installation.client() as client:
        [quick] = structured(await client.call_tool("list_models"))["models"]
    assert quick["health"] == "gateway cannot be reached; check that it runs, and its api_base."
