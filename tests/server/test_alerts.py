"""Alerts that leave the process: to a webhook, to a command."""

import hashlib
import hmac
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from aiohttp import web

from tests.fake_provider import FakeProvider, ok
from tests.server.harness import MARKS, Installation, Json, chat
from tierwise.server.configuration import load_settings
from tierwise.server.errors import ConfigurationError
from tierwise.server.runtime import open_runtime

pytestmark = MARKS

SECRET = "a secret of the test"  # noqa: S105
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
HALVED = {"name": "team", "period": "day", "limit_usd": 40e-6, "thresholds": [50], "at_limit": "warn"}
"""Its threshold is crossed by one answer with `USAGE` from the small model, which costs $0.00002."""


@dataclass
class Webhook:
    """One that answers the first requests with the given statuses, then with 204."""

    statuses: list[int] = field(default_factory=list[int])
    bodies: list[bytes] = field(default_factory=list[bytes])
    signatures: list[str | None] = field(default_factory=list[str | None])
    hang: bool = False
    url: str = ""
    received: anyio.Event = field(default_factory=anyio.Event)
    """Set once a request was answered with success."""

    async def _post(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.signatures.append(request.headers.get("X-Tierwise-Signature"))
        if self.hang:
            await anyio.sleep_forever()
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        self.received.set()
        return web.Response(status=204)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator["Webhook"]:
        app = web.Application()
        app.router.add_post("/alerts", self._post)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/alerts"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def heard(self) -> Json:
        with anyio.fail_after(30):
            await self.received.wait()
        return json.loads(self.bodies[-1])


@pytest.fixture
def limited(installation: Installation, fake: FakeProvider) -> Installation:
    fake.always("small", ok(usage=USAGE))
    installation.configure({"budgets": [HALVED]})
    return installation


@pytest.mark.parametrize("statuses", [[], [500, 429]])
async def test_a_webhook_gets_a_signed_alert_once_and_again_only_after_a_failure(
    limited: Installation, statuses: list[int]
):
    async with Webhook(list(statuses)).listening() as webhook:
        limited.environ["ALERT_SECRET"] = SECRET
        limited.configure({"alerts": {"webhook": webhook.url, "webhook_secret_env": "ALERT_SECRET"}})
        async with limited.client() as client:
            for prompt in ("one", "two"):
                await chat(client, prompt, tier="simple", max_tokens=50)
            alert = await webhook.heard()
    assert len(webhook.bodies) == len(statuses) + 1
    assert len(set(webhook.bodies)) == 1
    signature = hmac.new(SECRET.encode(), webhook.bodies[0], hashlib.sha256).hexdigest()
    assert set(webhook.signatures) == {f"sha256={signature}"}
    assert (alert["event"], alert["budget"], alert["threshold_percent"]) == ("budget_threshold", "team", 50)
    assert (alert["spent_usd"], alert["limit_usd"]) == (pytest.approx(20e-6), pytest.approx(40e-6))
    assert alert["message"].startswith("The budget 'team'")


async def test_a_webhook_that_hangs_delays_no_call_and_no_shutdown(limited: Installation):
    async with Webhook(hang=True).listening() as webhook:
        limited.configure({"alerts": {"webhook": webhook.url}})
        with anyio.fail_after(9):  # less than the patience with one request to the webhook
            async with limited.client() as client:
                for prompt in ("one", "two", "three"):
                    assert (await chat(client, prompt, max_tokens=50))["content"]
    assert webhook.signatures == [None]


async def test_an_alert_is_on_stderr_and_given_to_the_command_without_a_shell(limited: Installation):
    script = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    target = limited.folder / "$(alert); it"
    limited.configure({"alerts": {"command": [sys.executable, "-c", script, str(target)]}})
    ended = await limited.run("chat", "Hello", "--max-tokens", "50")
    assert ended.returncode == 0
    assert b"WARNING" in ended.stderr
    assert b"has reached 50% of its limit" in ended.stderr
    assert json.loads(target.read_bytes())["budget"] == "team"


@pytest.mark.parametrize("command", [["/does/not/exist"], [sys.executable, "-c", "raise SystemExit(3)"]])
async def test_a_command_that_fails_is_told_of_on_stderr_and_fails_no_call(
    limited: Installation, command: list[str]
):
    limited.configure({"alerts": {"command": command}})
    ended = await limited.run("chat", "Hello", "--max-tokens", "50")
    assert ended.returncode == 0
    assert b"The command for alerts" in ended.stderr


async def test_a_secret_that_is_not_set_is_named_at_the_start(limited: Installation):
    limited.configure({"alerts": {"webhook": "http://127.0.0.1:9/", "webhook_secret_env": "ALERT_SECRET"}})
    with pytest.raises(ConfigurationError, match="ALERT_SECRET, which is not set"):
        async with open_runtime(load_settings(config=None, environ=limited.environ), limited.environ):
            pass


@pytest.mark.parametrize(
    ("alerts", "sentence"),
    [
        ({"webhook": "ftp://example.org"}, "alerts.webhook: it must be a URL that begins with http"),
        (
            {"webhook_secret_env": "sk-proj-Abc123Def456Ghi789"},
            "alerts.webhook_secret_env: it takes",
        ),
        ({"command": "notify-send hi"}, "alerts.command must be a list"),
    ],
)
def test_wrong_settings_for_alerts_are_named(demo: Installation, alerts: Json, sentence: str):
    demo.configure({"alerts": alerts})
    with pytest.raises(ConfigurationError) as raised:
        load_settings(config=None, environ=demo.environ)
    assert sentence in str(raised.value)
