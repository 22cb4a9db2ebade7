"""The dashboard over HTTP: who gets what, and what its data say."""

import base64
import hashlib
import json
import re
import signal
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp_types import TextResourceContents

from tests.server.books import record
from tests.server.dashboard.conftest import dashboard_of
from tests.server.harness import MARKS, Installation, Json, structured
from tests.storage.samples import attempt, call
from tierwise.server.dashboard.data import MOST_CHOICES
from tierwise.server.dashboard.over_time import MOST_PARTS

pytestmark = MARKS

TOKEN = "Canary-token.of_the~tests+0123456789"  # noqa: S105


@asynccontextmanager
async def serving(installation: Installation, transport: str = "http") -> AsyncGenerator[str]:
    """The address of a server without a path."""
    async with installation.process("serve", "--transport", transport, "--port", "0") as server:
        line = await server.logged("Serving MCP at http://")
        yield line[line.index("http://") :].rpartition("/")[0]


async def get(url: str, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(timeout=20) as client:
        return await client.get(url, headers=headers)


async def data(url: str, **query: str) -> Json:
    async with httpx2.AsyncClient(timeout=20) as client:
        answer = await client.get(f"{url}/dashboard/data", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def fill(installation: Installation, *names: str, **changes: Any) -> None:
    """A call of now for each model, the first of them the most expensive."""
    now = time.time_ns() // 1_000_000
    for cost, name in enumerate(reversed(names), start=1):
        tried = attempt(started_at=now, cost_nano_usd=cost * 10**7, model=name)
        await record(installation, call(name, tried, started_at=now, model=name, **changes))


# Who gets what


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_the_page_is_open_and_its_data_want_the_token(demo: Installation, transport: str):
    demo.environ["TIERWISE_SERVER_TOKEN"] = TOKEN
    await fill(demo, "secret-model")
    async with serving(demo, transport) as url:
        page = await get(f"{url}/dashboard")
        assert page.status_code == 200
        assert "secret-model" not in page.text
        refused = await get(f"{url}/dashboard/data")
        assert refused.status_code == 401
        assert "secret-model" not in refused.text
        answer = await get(f"{url}/dashboard/data", Authorization=f"Bearer {TOKEN}")
        assert answer.json()["models"][0]["key"] == "secret-model"
        assert answer.headers["cache-control"] == "no-store"


async def test_on_loopback_no_token_is_needed_but_pages_of_others_stay_out(demo: Installation):
    async with serving(demo) as url:
        assert (await data(url))["summary"]["total_calls"] == 0
        for path in ("/dashboard", "/dashboard/data"):
            assert (await get(url + path, Host="evil.example")).status_code == 421
            assert (await get(url + path, Origin="http://evil.example")).status_code == 403
            answer = await get(url + path)
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_the_policy_knows_each_script_and_style_and_nothing_else(demo: Installation):
    async with serving(demo) as url:
        page = await get(f"{url}/dashboard")
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    for kind in ("script", "style"):
        inline = re.findall(rf"<{kind}>(.*?)</{kind}>", page.text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline]
        [allowed] = re.findall(rf"{kind}-src ([^;]*)", policy)
        assert allowed.split() == [f"'sha256-{digest}'" for digest in digests]
    body = re.sub(r"<(script|style)>.*?</\1>", "", page.text, flags=re.DOTALL)
    assert re.findall(r"""<script|<style|\son\w+=|\sstyle=|(?:src|href)=["'](?!data:|#)""", body) == []


def test_the_vendored_library_is_the_one_that_was_pinned():
    folder = Path(str(files("tierwise.server") / "dashboard" / "vendor"))
    pinned = (folder / "SHA256SUMS").read_text().splitlines()
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del found["SHA256SUMS"]
    assert sorted(f"{digest}  {name}" for name, digest in found.items()) == sorted(pinned)


# The command


async def test_the_command_serves_nothing_but_the_dashboard_until_it_is_interrupted(demo: Installation):
    async with demo.process("dashboard", "--no-open") as server:
        address, _, token = (await server.read()).decode().strip().partition("#token=")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/dashboard", address)
        assert len(token) > 40
        assert (await get(address)).status_code == 200
        bearer = {"Authorization": f"Bearer {token}"}
        assert (await get(f"{address}/data", Authorization=f"Bearer {token}x")).status_code == 401
        assert (await get(f"{address}/data", **bearer)).status_code == 200
        assert (await get(address.replace("dashboard", "mcp"), **bearer)).status_code == 404
        server.child.send_signal(signal.SIGINT)
        assert await server.ended(within=8) == 0
        assert token not in server.stderr


async def test_each_run_has_a_token_of_its_own_whatever_the_settings_say(demo: Installation):
    demo.environ["TIERWISE_SERVER_TOKEN"] = TOKEN
    seen: list[str] = []
    for _ in range(2):
        async with dashboard_of(demo) as url:
            seen.append(url.partition("#token=")[2])
    assert len({*seen, TOKEN}) == 3


async def test_it_opens_the_browser_that_the_environment_names(demo: Installation):
    script = demo.folder / "browser"
    script.write_text('#!/bin/sh\necho "$1" > "$HOME/opened"\n')
    script.chmod(0o755)
    demo.environ["BROWSER"] = f"{script} %s"
    async with demo.process("dashboard") as server:
        url = (await server.read()).decode().strip()
        await server.logged("Whoever has this address")
        async with httpx2.AsyncClient() as client:
            await client.get(url)
        server.child.send_signal(signal.SIGINT)
        assert await server.ended(within=8) == 0
    assert (demo.folder / "opened").read_text().strip() == url


async def test_a_port_that_is_taken_ends_the_command_with_an_error(demo: Installation):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await demo.run("dashboard", "--no-open", "--port", port)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"Error: Cannot listen on 127.0.0.1, port {port}: ".encode())


# What the data say


async def test_the_data_are_those_of_the_tools_and_resources(demo: Installation):
    demo.configure({"budgets": [{"name": "all", "period": "month", "limit_usd": 1}]})
    await fill(demo, "large", "small", tier="complex")
    async with serving(demo) as url, demo.client() as client:
        found = await data(url, days="7", tier="complex")
        asked = {"days": 7, "filters": {"tier": "complex"}}
        told = structured(await client.call_tool("usage_summary", asked))
        resources: Json = {}
        for uri in ("usage://savings/7", "usage://budget/all", "health://providers"):
            [contents] = (await client.read_resource(uri)).contents
            assert isinstance(contents, TextResourceContents)
            resources[uri] = json.loads(contents.text)
    assert found["summary"] == told
    assert found["savings"] == resources["usage://savings/7"]
    assert found["budgets"] == resources["usage://budget/all"]["budgets"]
    assert found["health"] == resources["health://providers"]
    assert sum(found["over_time"]["cost"]) == pytest.approx(told["total_cost_usd"])
    assert len(found["over_time"]["starts"]) == 7


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"days": "x"}, "`days` must be a whole number."),
        ({"days": "0"}, "`days` must be at least 1."),
        ({"end": "tomorrow"}, "`end` must be a date from 1970 on"),
        ({"days": "3", "start": "2026-01-01"}, "`days` and `start` contradict each other"),
        ({"colour": "red"}, "`filters` has 'colour', which is none of provider, model,"),
        ({"tenant": "half \\ud800"}, None),
    ],
)
async def test_a_wrong_query_is_answered_with_a_sentence(
    demo: Installation, query: dict[str, str], sentence: str | None
):
    async with serving(demo) as url, httpx2.AsyncClient() as client:
        answer = await client.get(f"{url}/dashboard/data", params=query)
    if sentence is None:
        assert answer.json()["summary"]["total_calls"] == 0
    else:
        assert answer.status_code == 400
        assert answer.json()["error"].startswith(sentence)


async def test_many_models_and_many_values_are_kept_short_and_add_up(demo: Installation):
    names = [f"model-{number:03}" for number in range(MOST_CHOICES + 5)]
    await fill(demo, *names)
    async with serving(demo) as url:
        found = await data(url, days="1")
    parts = found["over_time"]["by_model"]
    assert [part["name"] for part in parts] == [*names[:MOST_PARTS], None]
    together = sum(cost for part in parts for cost in part["cost"])
    assert together == pytest.approx(found["summary"]["total_cost_usd"])
    assert found["choices"]["model"] == {"values": names[:MOST_CHOICES], "left_out": 5}
    assert len(found["models"]) == MOST_CHOICES
    assert len(found["recent_calls"]) == 25


async def test_long_periods_come_by_month_and_single_days_by_hour(demo: Installation):
    async with serving(demo) as url:
        year, day = await data(url, days="365"), await data(url, days="1")
    assert (year["over_time"]["granularity"], day["over_time"]["granularity"]) == ("monthly", "hourly")
    assert 12 <= len(year["over_time"]["starts"]) <= 13
    assert 1 <= len(day["over_time"]["starts"]) <= 25


async def test_latencies_leave_out_what_failed_and_count_the_cache_apart(demo: Installation):
    now = time.time_ns() // 1_000_000
    calls = [
        call(f"ok-{number}", attempt(), started_at=now, latency_ms=float(number)) for number in range(1, 21)
    ]
    failed = call("failed", started_at=now, latency_ms=9000.0, status="failed", error="Timeout")
    cached = call("cached", started_at=now, latency_ms=0.5, cached=True)
    await record(demo, *calls, failed, cached)
    async with serving(demo) as url:
        latencies = (await data(url))["latencies"]
    assert latencies == [
        {"model": "small", "calls": 20, "p50_ms": 10.0, "p95_ms": 19.0},
        {"model": None, "calls": 1, "p50_ms": 0.5, "p95_ms": 0.5},
    ]


async def test_settings_that_name_no_model_hide_the_health_and_not_the_usage(demo: Installation):
    await fill(demo, "small")
    demo.configure({"model_routing": {"rules": {"simple": {"model": "no such model"}}}})
    async with serving(demo) as url:
        found = await data(url)
    assert found["health"] is None
    assert "no such model" in found["health_problem"]
    assert found["summary"]["total_calls"] == 1
