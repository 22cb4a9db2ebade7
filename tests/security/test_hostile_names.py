"""Names, ids and labels are text and nothing else: no SQL, no path, no shell, no command to a terminal."""

import json
import os
import pty
import re
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from tests import fake_provider
from tests.fake_provider import FakeProvider
from tests.server.books import ledger, record
from tests.server.harness import COMMAND, MARKS, Installation, Json, chat, connect, text
from tests.storage.samples import MIDNIGHT, NOON, attempt, budget, call, outcome, reservation
from tierwise.server.plain import visible, visible_json
from tierwise.storage.budgets import BudgetScope
from tierwise.storage.records import Dimension
from tierwise.storage.sqlite.store import open_store

pytestmark = MARKS

ESCAPES = "\x1b]0;pwned\x07\x1b[31mred\x9b2Jnel\x85\rover\x7f\u202etxt.exe\u2066"
HOSTILE = {
    "quotes": """'; DROP TABLE calls; --""",
    "double quotes": '" OR ""="',
    "null": "a\0b",
    "path": "../../../../etc/passwd",
    "file URI": "file:///etc/passwd",
    "shell": "$(touch pwned) `touch pwned`; touch pwned | touch pwned",
    "newlines": "one\nERROR tierwise: two\r\nthree",
    "bidi": "abc\u202ecba\u2069",
    "escapes": ESCAPES,
    "wildcards": "%_*?[a-z]",
    "format": "{0} {prompt} %s %(x)s ${HOME} {{}}",
    "markup": "[bold red]x[/] [link=http://evil.example]y[/link]",
    "formula": "=cmd|' /C calc'!A0",
    "a megabyte": "x" * 10**6,
    "marks": "e" + "\u0301" * 1000,
    "empty": "",
    "blank": " \u00a0\u3000",
}

Arguments = dict[str, Any]


def arguments_with(name: str) -> Sequence[tuple[str, Arguments]]:
    """Calls that carry the name wherever a caller may put one."""
    return [
        *(("chat", {"prompt": "Hi", it: name}) for it in ("operation", "tenant", "agent", "model", "tier")),
        ("chat", {"prompt": "Hi", "metadata": {name: name}}),
        ("chat", {"prompt": "Hi", "fallback_models": [name]}),
        ("chat", {"prompt": "Hi", name: name}),
        ("chat", {"prompt": "Hi", "history": [{"role": name, "content": name}]}),
        ("chat_result", {"call_id": name}),
        ("rate_answer", {"call_id": name, "verdict": "good", "note": name}),
        ("usage_summary", {"group_by": name}),
        *(("usage_summary", {"filters": {it: name}}) for it in (*Dimension, name)),
        *(("usage_summary", {it: name}) for it in ("start", "end", "days")),
        ("set_budget", {"name": name, "period": "day", "limit_usd": 1}),
        ("set_budget", {"name": "b", "period": "day", "limit_usd": 1, "scope": "tenant", "value": name}),
        ("set_budget", {"name": "b", "period": name, "limit_usd": 1, "scope": name}),
        ("budget_status", {"scope": name}),
        ("budget_status", {"scope": f"tenant:{name}"}),
        ("compare_models", {"prompt": "Hi", "models": [name, "demo/small"]}),
        ("estimate_cost", {"prompt": "Hi", "models": [name]}),
        (name, {}),
    ]


@pytest.mark.parametrize("name", HOSTILE.values(), ids=list(HOSTILE))
async def test_every_tool_takes_a_hostile_name_for_a_name_or_refuses_it_in_a_sentence(
    demo: Installation, name: str
):
    demo.configure({"server": {"toolset": "full"}})
    async with demo.server() as server, connect(server) as client:
        for tool, arguments in arguments_with(name):
            said = await answer(client, tool, arguments)
            assert len(said) < 3000, (tool, said[:300])
            assert "Traceback" not in said
            assert "tierwise itself failed" not in said, tool
        assert (await chat(client))["model"] == "demo/small"
    assert sound(demo.data / "tierwise.db")
    assert not list(demo.folder.rglob("pwned"))
    assert {path.name for path in demo.folder.iterdir()} <= {"data", "settings.json"}


async def answer(client: Client, tool: str, arguments: Arguments) -> str:
    try:
        result = await client.call_tool(tool, arguments)
    except MCPError as error:
        unexpected = f"Traceback: {error.error.code}"  # which no caller is meant to see
        return error.error.message if error.error.code == INVALID_PARAMS else unexpected
    return text(result) if result.is_error else ""


def sound(path: Path) -> bool:
    with sqlite3.connect(path) as connection:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        [[verdict]] = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return verdict == "ok" and {"calls", "attempts", "usage", "budgets", "answers", "outcomes"} <= tables


FAMILIES = (
    "usage://summary/",
    "usage://timeseries/",
    "usage://savings/",
    "usage://export/",
    "usage://budget/",
)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=list(HOSTILE))
async def test_a_hostile_address_of_a_resource_is_no_path_and_no_query(demo: Installation, name: str):
    async with demo.client() as client:
        for uri in [
            name,
            *(f"{family}{rest}" for family in FAMILIES for rest in (name, f"{name}/1", f"csv/{name}")),
        ]:
            with pytest.raises(MCPError) as raised:
                await client.read_resource(uri)
            assert raised.value.error.code == INVALID_PARAMS
            assert len(raised.value.error.message) < 1000
    assert not (demo.data / "exports").exists()


@pytest.mark.parametrize("name", ["overall\0", "TENANT", "tenant:", "all/../overall", "tenant%00:x"])
async def test_a_scope_of_budgets_that_is_none_is_refused(demo: Installation, name: str):
    async with demo.client() as client:
        with pytest.raises(MCPError, match="There is no budget scope"):
            await client.read_resource(f"usage://budget/{name}")


ANY = st.text(st.characters(), max_size=200) | st.sampled_from([it[:2000] for it in HOSTILE.values()])


@given(name=ANY, other=ANY)
@settings(deadline=None, max_examples=50)
async def test_the_store_hands_back_any_text_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, name: str, other: str
):
    stored, also = (it.encode("utf-8", "replace").decode() for it in (name, other))
    path = tmp_path_factory.mktemp("store") / "tierwise.db"
    labels: Json = {"operation": name, "tenant": name, "agent": other, "model": name, "provider": other}
    kept = call(
        name,
        attempt(model=name, provider=other, outcome="ok", error=name, cost_note=other),
        **labels,
        tier=name,
        error=other,
        finish_reason=name,
        metadata={name: other},
    )
    async with open_store(path, max_cache_bytes=10_000) as store:
        await store.set_budget(
            budget(name, scope=BudgetScope.TENANT, scope_value=other), period_start=MIDNIGHT
        )
        assert await store.reserve(reservation(name, 10, name), now=NOON) == ()
        await store.record(kept)
        await store.add_outcome(outcome(name, note=other))
        [found] = [it async for batch in store.export_calls(start=0, end=2**52) for it in batch]
        assert (found.call_id, found.agent) == (stored, also)
        without_end = {it.replace("\0", "\ufffd") for it in (name, other)}  # see storage/sqlite/metadata.py
        assert {*found.metadata, *found.metadata.values()} == without_end
        filters = {dimension: getattr(kept, dimension) for dimension in Dimension}
        [row] = await store.usage(start=0, end=2**52, group_by=list(Dimension), filters=filters)
        assert (row.calls, row.key) == (1, tuple(getattr(found, dimension) for dimension in Dimension))
        assert [it.name for it in await store.budgets()] == [stored]
        assert (await store.budget_spent(name, MIDNIGHT, now=NOON)).spent_nano_usd == 700
        assert await store.delete_budget(name)
    assert sound(path)


# What a terminal is shown

ACTING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@settings(deadline=None)
@given(st.text(st.characters()) | st.text(st.sampled_from(ESCAPES + "\r\n\t")))
def test_visible_text_cannot_act_and_plain_text_stays_as_it_is(any_text: str):
    shown = visible(any_text)
    assert not ACTING.search(shown.replace("\r\n", "\n"))
    shown.encode()
    assert visible(shown) == shown
    if any_text.isprintable():
        assert shown == any_text


@settings(deadline=None)
@given(st.recursive(st.none() | ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_visible_json_means_the_same(value: Any):
    shown = visible_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert not ACTING.search(shown)
    assert json.loads(shown) == value


@pytest.fixture
async def named(installation: Installation, fake: FakeProvider) -> Installation:
    """Its ledger and budgets are full of names that would act on a terminal, and so is every answer."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    labels: Json = {"operation": ESCAPES, "tenant": ESCAPES, "agent": f"[bold]{ESCAPES}", "tier": ESCAPES}
    hostile = attempt(model=ESCAPES, provider=ESCAPES)
    await record(
        installation,
        call(f"c{ESCAPES}", hostile, started_at=now, metadata={ESCAPES: ESCAPES}, model=ESCAPES, **labels),
    )
    async with ledger(installation) as store:
        tenants = budget(ESCAPES, scope=BudgetScope.TENANT, scope_value=f"[link=x]{ESCAPES}")
        await store.set_budget(tenants, period_start=now // 900_000 * 900_000)
    fake.always("small", fake_provider.ok(content=f"answer {ESCAPES}\nsecond line"))
    fake.always("large", fake_provider.refusal(500, f"failed {ESCAPES}"))
    return installation


SHOWN = [
    ("chat", "Hello"),
    ("chat", "Hello", "--json"),
    ("chat", "Hello", "--tier", "complex"),
    ("chat", "Hello", "--model", ESCAPES),
    ("usage",),
    ("usage", "--json"),
    *(("usage", "--group-by", dimension) for dimension in Dimension),
    ("usage", "--compared-to", ESCAPES),
    ("budget", "list"),
    ("budget", "list", "--json"),
    ("budget", "list", ESCAPES),
    ("budget", "remove", ESCAPES),
    ("models",),
    ("doctor",),
    ("--config", ESCAPES, "doctor"),
    ("analyze", "Hello"),
    ("export",),
    ("export", "--format", "json"),
    ("export", "--format", "jsonl"),
    ("export", "--aggregate", "tenant"),
    ("outcomes", "export"),
    ("reprice", "--since", "2020-01-01"),
    ("check",),
    (ESCAPES,),
    ("import", ESCAPES),
    ("--config", ESCAPES, "models"),
]


@pytest.mark.parametrize("arguments", SHOWN, ids=lambda arguments: " ".join(map(ascii, arguments))[:50])
async def test_no_command_lets_a_name_act_on_the_terminal(named: Installation, arguments: tuple[str, ...]):
    shown = (await in_terminal(named, *arguments)).decode()
    # What the terminal is asked for by rich itself: colours, the cursor, clearing a line.
    ours = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[\d?[AGKJ]|\r")
    assert not ACTING.search(ours.sub("", shown.replace("\r\n", "\n"))), shown
    assert "pwned\x07" not in shown
    assert "\x1b[31mred" not in shown


async def in_terminal(installation: Installation, *arguments: str) -> bytes:
    """What the command writes to a terminal, on both streams."""
    terminal, side = pty.openpty()
    environ = {**installation.variables, "TERM": "xterm-256color", "COLUMNS": "200"}
    shown = b""

    def read() -> bytes:
        with suppress(OSError):  # EIO: the other side is closed
            return os.read(terminal, 65536)
        return b""

    with anyio.fail_after(60):
        async with await anyio.open_process(
            [*COMMAND, *arguments], stdin=side, stdout=side, stderr=side, env=environ, cwd=installation.folder
        ):
            os.close(side)
            while piece := await anyio.to_thread.run_sync(read):
                shown += piece
    os.close(terminal)
    return shown


async def test_a_program_gets_an_answer_as_it_is(named: Installation):
    ended = await named.run("chat", "Hello")
    assert ended.stdout.decode() == f"answer {ESCAPES}\nsecond line\n"


async def test_a_record_in_the_log_cannot_be_forged(installation: Installation, fake: FakeProvider):
    # The judge's model id comes from the settings; what is logged of its failure stays one record.
    forged = "fake/x\nCRITICAL tierwise: pwned \x1b[31m"
    installation.configure(
        {
            "model_routing": {
                "strategy": "cascade",
                "cascade": {"judge_model": forged, "min_mean_logprob": None},
            }
        }
    )
    fake.always("x\nCRITICAL tierwise: pwned \x1b[31m", fake_provider.status(500))
    ended = await installation.run("chat", "Hello", "--tier", "simple")
    lines = ended.stderr.decode().splitlines()
    assert any("The judge model" in line for line in lines)
    assert not any(line.startswith("CRITICAL") for line in lines)
    assert b"\x1b" not in ended.stderr
