"""How the providers fare, as resources, tools and `tierwise doctor` tell it."""

import json
from subprocess import CompletedProcess

import pytest
from mcp.client import Client
from mcp_types import TextResourceContents

from tests.fake_provider import FakeProvider, status
from tests.server.harness import (
    KEY,
    KEY_VARIABLE,
    MARKS,
    Installation,
    Json,
    chat,
    refusal,
    structured,
)

pytestmark = MARKS

ONE_FAILURE: Json = {"reliability": {"breaker": {"failures": 1}}}


@pytest.fixture
def broken(installation: Installation, fake: FakeProvider) -> Installation:
    """An installation whose breakers open at the first failure, and whose small model fails."""
    installation.configure(ONE_FAILURE)
    fake.always("small", status(500))
    return installation


async def health(client: Client) -> dict[str, Json]:
    """Each model's health."""
    [contents] = (await client.read_resource("health://providers", cache_mode="bypass")).contents
    assert isinstance(contents, TextResourceContents)
    assert KEY not in contents.text
    return {item["model"]: item for item in json.loads(contents.text)["deployments"]}


async def listed(client: Client) -> dict[str, Json]:
    models = structured(await client.call_tool("list_models", {}))["models"]
    return {item["model"]: item for item in models}


# The resource and the tools


async def test_a_model_that_nobody_has_asked_is_closed_and_has_no_traffic(installation: Installation):
    async with installation.client() as client:
        small = (await health(client))["fake/small"]
        assert small == {
            "model": "fake/small",
            "provider": "fake",
            "endpoint": small["endpoint"],
            "state": "closed",
            "failures_in_a_row": 0,
        }
        assert "traffic" not in (await listed(client))["fake/small"]


async def test_health_and_the_list_of_models_tell_what_calls_have_met(broken: Installation):
    async with broken.client() as client:
        await chat(client, "Hello")
        await chat(client, "Hello again")
        fares = await health(client)
        small, standard = fares["fake/small"], fares["fake/standard"]
        assert (small["state"], small["failures_in_a_row"]) == ("open", 1)
        assert 0 < small["retry_in_s"] <= 60
        assert small["note"].startswith("breaker open after 1 failure, tried again in ")
        assert (small["traffic"]["attempts"], small["traffic"]["failovers"]) == (1, 1)
        assert (small["traffic"]["success_rate"], small["traffic"]["last_error"]) == (
            0,
            "an error of its server",
        )
        assert "p50_ms" not in small["traffic"]
        assert (standard["state"], standard["traffic"]["attempts"]) == ("closed", 2)
        assert standard["traffic"]["success_rate"] == 1
        assert 0 < standard["traffic"]["p50_ms"] <= standard["traffic"]["p95_ms"]
        models = await listed(client)
        assert models["fake/small"]["health"].startswith("breaker open after 1 failure, tried again in ")
        assert models["fake/standard"]["health"] == "ready"
        assert models["fake/standard"]["traffic"] == standard["traffic"]


async def test_what_was_learned_outlives_the_server(broken: Installation):
    async with broken.client() as client:
        await chat(client, "Hello")
    async with broken.client() as client:
        small = (await health(client))["fake/small"]
        assert (small["state"], small["traffic"]["attempts"]) == ("open", 1)
        answer = await chat(client, "Hello again")
        assert (answer["model"], answer.get("attempts")) == ("fake/standard", None)


async def test_analyze_shows_the_models_that_chat_will_leave_alone(broken: Installation):
    async with broken.client() as client:
        await chat(client, "Hello")
        analysis = structured(await client.call_tool("analyze_complexity", {"prompt": "Hello there"}))
        [left_out] = analysis["excluded"]
        assert (left_out["model"], left_out["tier"]) == ("fake/small", "simple")
        assert left_out["reason"].startswith("breaker open after 1 failure, tried again in ")
        answer = await chat(client, "Hello there")
    assert answer["model"] == analysis["selected_model"] == "fake/standard"
    assert answer["reason"] == analysis["reason"]


async def test_when_every_model_is_left_alone_chat_says_when_to_come_back(
    broken: Installation, fake: FakeProvider
):
    for model in ("standard", "large"):
        fake.always(model, status(500))
    async with broken.client() as client:
        first = refusal(await client.call_tool("chat", {"prompt": "Hello"}))
        assert first.endswith("Try again in 60 s.")
        again = refusal(await client.call_tool("chat", {"prompt": "Hello"}))
        assert "No model can serve this call (fake/small: breaker open after 1 failure" in again
        assert "Try again in " in again
    assert len(fake.requests) == 3


async def test_a_call_may_choose_its_strategy(installation: Installation):
    rule = {"model": ["fake/large", "fake/small"]}
    installation.configure({"model_routing": {"rules": {"simple": rule}}})
    async with installation.client() as client:
        assert (await chat(client, "Hello"))["model"] == "fake/large"
        answer = await chat(client, "Hello", strategy="least_cost")
        assert answer["model"] == "fake/small"
        assert answer["reason"].endswith("fake/small is first of the simple tier by cost")
        wrong = refusal(await client.call_tool("chat", {"prompt": "Hello", "strategy": "cheapest"}))
        assert "'least_cost', 'least_latency', 'round_robin', 'random' or 'cascade'" in wrong


# tierwise doctor


def diagnosed(ended: CompletedProcess[bytes], code: int) -> dict[str, list[Json]]:
    """The findings of `doctor --json` by what they are about."""
    assert ended.returncode == code, ended.stderr.decode()
    assert KEY.encode() not in ended.stdout + ended.stderr
    diagnosis = json.loads(ended.stdout)
    assert diagnosis["ok"] == (code == 0)
    found: dict[str, list[Json]] = {}
    for item in diagnosis["findings"]:
        found.setdefault(item["check"], []).append(item)
    return found


async def test_doctor_finds_nothing_wrong_where_nothing_is(installation: Installation):
    found = diagnosed(await installation.run("doctor", "--json"), 0)
    assert {item["status"] for items in found.values() for item in items} == {"ok"}
    assert found["settings"][0]["message"] == f"read from {installation.config}"
    assert "tierwise.db can be written and has 0." in found["database"][0]["message"]
    assert (
        found["keys"][0]["message"]
        == f"{KEY_VARIABLE} is set, for fake/small, fake/standard, fake/large, unpriced"
    )
    assert found["fake/small"][0]["message"] == "the endpoint answers; no calls of late"


async def test_doctor_prints_a_line_for_each_check(installation: Installation):
    ended = await installation.run("doctor")
    assert ended.returncode == 0
    for check in (b"settings", b"database", b"keys", b"fake/large"):
        assert check in ended.stdout


async def test_doctor_tells_of_failures_and_breakers_of_other_processes(broken: Installation):
    async with broken.client() as client:
        await chat(client, "Hello")
    found = diagnosed(await broken.run("doctor", "--json"), 0)
    [small] = found["fake/small"]
    assert small["status"] == "warning"
    # Its endpoint lists its models, so it may be tried at once.
    assert small["message"] == (
        "tried again after 1 failure; 1 attempt within the hour, 0% answered,"
        " last failure: an error of its server"
    )
    assert small["fix"] == "It is tried again by itself; until then other models serve."
    assert "simple tier" not in found


async def test_doctor_names_the_key_that_is_missing_and_fails_where_nobody_can_serve(
    installation: Installation,
):
    del installation.environ[KEY_VARIABLE]
    found = diagnosed(await installation.run("doctor", "--json"), 1)
    [keys] = found["keys"]
    assert keys["status"] == "warning"
    assert keys["message"].startswith(f"{KEY_VARIABLE} is not set: needed by fake/small")
    assert keys["fix"].startswith(f"Set {KEY_VARIABLE} in the `env`")
    assert [found[f"{tier} tier"][0]["status"] for tier in ("simple", "standard", "complex")] == ["error"] * 3


@pytest.mark.parametrize("alone", [True, False])
async def test_doctor_finds_an_endpoint_that_does_not_answer_and_says_whether_that_leaves_a_tier_alone(
    installation: Installation, fake: FakeProvider, alone: bool
):
    gone = {"api_base": fake.refused_url}
    models = ["gone/model"] if alone else ["gone/model", "fake/small"]
    installation.configure({"litellm": {"providers": {"gone": gone}}})
    installation.configure({"model_routing": {"rules": {"complex": {"model": models}}}})
    found = diagnosed(await installation.run("doctor", "--json"), 1 if alone else 0)
    [model] = found["gone/model"]
    assert (model["status"], model["message"]) == (
        "warning",
        f"{gone['api_base']}: no connection; no calls of late",
    )
    assert model["fix"] == (
        f"Start the server at {gone['api_base']}, or correct litellm.providers.gone.api_base."
    )
    assert ("complex tier" in found) == alone


async def test_doctor_warns_of_a_tier_that_only_a_higher_one_can_serve(
    installation: Installation, fake: FakeProvider
):
    installation.configure({"litellm": {"providers": {"gone": {"api_base": fake.refused_url}}}})
    installation.configure({"model_routing": {"rules": {"simple": {"model": "gone/model"}}}})
    found = diagnosed(await installation.run("doctor", "--json"), 0)
    [simple] = found["simple tier"]
    assert (simple["status"], simple["message"]) == (
        "warning",
        "only models of a higher tier can serve it: fake/standard",
    )


@pytest.mark.parametrize(
    "text",
    ['{"reliability": {"breaker": {"failure": 3}}}', "{", '{"model_routing": {"rules": {"simple": 1}}}'],
)
async def test_doctor_tells_of_settings_that_cannot_be_read_as_of_any_other_fault(
    installation: Installation, text: str
):
    installation.config.write_text(text)
    found = diagnosed(await installation.run("doctor", "--json"), 1)
    [settings] = found["settings"]
    assert (list(found), settings["status"]) == (["settings"], "error")
    assert str(installation.config) in settings["message"]


async def test_doctor_tells_of_a_model_that_there_is_not(installation: Installation):
    installation.configure({"model_routing": {"rules": {"simple": {"model": "no-such-model"}}}})
    found = diagnosed(await installation.run("doctor", "--json"), 1)
    assert "There is no model 'no-such-model'" in found["settings"][0]["message"]


async def test_doctor_tells_of_a_database_that_cannot_be_used(installation: Installation):
    installation.data.write_text("a file where the folder should be")
    found = diagnosed(await installation.run("doctor", "--json"), 1)
    [database] = found["database"]
    assert (database["status"], "tierwise.db" in database["message"]) == ("error", True)


async def test_doctor_says_that_no_model_is_called_where_there_is_none(demo: Installation):
    found = diagnosed(await demo.run("doctor", "--json"), 0)
    [keys] = found["keys"]
    assert (keys["status"], "no model is called" in keys["message"]) == ("warning", True)


# Settings


async def test_the_settings_of_breakers_are_read_from_variables_too(
    installation: Installation, fake: FakeProvider
):
    fake.always("small", status(500))
    installation.environ |= {
        "TIERWISE_RELIABILITY__BREAKER__FAILURES": "1",
        "TIERWISE_RELIABILITY__BREAKER__COOLDOWN": "5000",
    }
    async with installation.client() as client:
        await chat(client, "Hello")
        assert 4000 < (await health(client))["fake/small"]["retry_in_s"] <= 5000
