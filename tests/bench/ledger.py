"""What a ledger costs as it grows: `make bench ARGS=ledger`, 10,000 to 10 million calls.

Times are those of the tools' handlers, from checked arguments to the result as it is sent, and of `record`
from the caller's side, in Berlin, where days begin at other hours than the roll-up's. The file lies in the
page cache. It takes 2.4 GB in the folder for temporary files (TMPDIR), and some minutes.
"""

import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from tests.bench.timing import repeated
from tests.bench.traffic import MODELS, TENANTS, fill, same_as_recorded
from tests.storage.samples import attempt, call
from tierwise.server.configuration import load_settings
from tierwise.server.runtime import open_runtime
from tierwise.server.settings import database_path
from tierwise.server.tools.base import Tool, ToolContext
from tierwise.server.tools.usage import TODAY_USAGE, USAGE_SUMMARY
from tierwise.storage.ports import Store

SIZES = (10**4, 10**5, 10**6, 10**7)
QUICK_SIZES = SIZES[:2]
_BYTES = 300
"""Room on the disk for a call, the log beside the file included."""
_ZONE = "Europe/Berlin"
_PROJECT = {"metadata.project": "p3"}
_TENANT = {"tenant": TENANTS[3]}


@dataclass(frozen=True)
class Question:
    """A call of a tool, and how often to make it."""

    name: str
    goal: str
    times: int
    tool: Tool[Any]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """What a measurement gave, and for a time what of it was computing."""

    value: float
    computed: float | None = None

    def told(self, before: "Figure | None") -> str:
        """With its growth, that of computing where that is known."""
        steady = self.value if self.computed is None else self.computed
        more = [] if self.computed is None else [f"{self.computed:.2f}"]
        if before:
            more.append(f"×{steady / (before.value if before.computed is None else before.computed):.2f}")  # noqa: RUF001
        return f"{self.value:.2f}" + (f" ({', '.join(more)})" if more else "")


QUESTIONS = (
    Question("`usage_summary(30)`, ms", "10", 50, USAGE_SUMMARY, {"days": 30}),
    Question("the same by tenant, ms", "", 50, USAGE_SUMMARY, {"days": 30, "group_by": "tenant"}),
    Question("the same by day, ms", "", 20, USAGE_SUMMARY, {"days": 30, "group_by": "day"}),
    Question("`today_usage`, ms", "10", 50, TODAY_USAGE, {}),
    Question(
        "30 days of one project of 20, by tenant, ms", "300", 5,
        USAGE_SUMMARY, {"days": 30, "group_by": "tenant", "filters": _PROJECT},
    ),
    Question(
        "30 days of one tenant of 10, by project, ms", "300", 5,
        USAGE_SUMMARY, {"days": 30, "group_by": "metadata.project", "filters": _TENANT},
    ),
)  # fmt: skip
"""Of the last two, metadata is known of single calls alone: a tenth of all of them are read."""


def report_ledgers(*, quick: bool) -> None:
    """Print the table."""
    sizes = [size for size in (QUICK_SIZES if quick else SIZES) if _has_room(size)]
    rows: dict[str, list[str]] = {}
    before: dict[str, Figure] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="tierwise-bench-") as folder:
            found = anyio.run(_measure, Path(folder), size)
        for name, figure in found.items():
            rows.setdefault(name, []).append(figure.told(before.get(name)))
        before = found
    goals = {question.name: question.goal for question in QUESTIONS} | {_RECORD: "1", _SIZE: "250"}
    click.echo("Times are medians, in brackets what of them was computing, with its growth.\n")
    click.echo(f"| | at most | {' | '.join(f'{size:,} calls' for size in sizes)} |")
    click.echo(f"|---|---|{'---|' * len(sizes)}")
    for name, cells in rows.items():
        click.echo(f"| {name} | {goals.get(name, '')} | {' | '.join(cells)} |")


_RECORD = "`record`, ms"
_SIZE = "bytes a call, attempts and indices included"


def _has_room(calls: int) -> bool:
    needed, free = calls * _BYTES, shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        click.echo(f"{calls:,} calls are left out: {tempfile.gettempdir()} has no {needed / 1e9:.1f} GB.\n")
    return free >= needed


async def _measure(folder: Path, calls: int) -> dict[str, Figure]:
    """The figures of one ledger, by name."""
    environ = {"TIERWISE_DATA_DIR": str(folder), "TIERWISE_USAGE_TRACKING__TIME_ZONE": _ZONE}
    settings = load_settings(config=None, environ=environ)
    path = database_path(settings)
    began = time.perf_counter()
    await fill(path, calls, end=_now())
    found = {
        "s to fill it": Figure(time.perf_counter() - began),
        _SIZE: Figure(path.stat().st_size / calls),
    }
    if calls == SIZES[0]:
        assert await same_as_recorded(path, folder / "recorded.db")
    async with open_runtime(settings, environ) as engine:
        context = ToolContext(engine, settings, report_progress=None)
        for question in QUESTIONS:
            ask = partial(question.tool.call, context, question.arguments)
            took, computed = await repeated(question.times, ask)
            found[question.name] = Figure(took.p50, computed.p50)
        took, computed = await repeated(1000, partial(_record, engine.store))
    return found | {_RECORD: Figure(took.p50, computed.p50), "`record`, p99, ms": Figure(took.p99)}


async def _record(store: Store) -> None:
    provider, model = MODELS[0]
    tried = attempt(provider=provider, model=model)
    labels = {"provider": provider, "model": model, **_TENANT, "metadata": {"project": "p3"}}
    await store.record(call(secrets.token_hex(12), tried, started_at=_now(), **labels))


def _now() -> int:
    return time.time_ns() // 1_000_000
