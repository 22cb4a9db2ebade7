"""Speed and memory over stdio, beside a bare `MCPServer` in the same run; ratios hold, times do not.

python -m tests.bench [ledger] [--quick]
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from tests.bench.ledger import report_ledgers
from tests.bench.timing import Sample, interleaved, timed
from tierwise.routing.complexity import analyze
from tierwise.routing.training.baselines import litellm_predictor, litellm_router

BARE = [sys.executable, str(Path(__file__).with_name("bare_server.py"))]
TIERWISE = [str(Path(sys.executable).with_name("tierwise"))]
DEMO_MODELS = {"TIERWISE_LOCAL__SERVERS": "[]", "TIERWISE_LOCAL__EMBEDDED": "false"}
"""Without a key these leave `demo/` models, which need neither litellm nor a network."""
CLIENT = {"name": "bench", "version": "1"}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
PROMPT = "Explain the difference between stack and heap memory"
TWO_THOUSAND = (f"{PROMPT}. " * 40)[:2000]


class Server:
    """A server on pipes and the barest client: one request at a time, a line out and a line in."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._sent = 0

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        self._sent += 1
        answer = json.loads(self._exchange({"id": self._sent, "method": method, "params": params}))
        assert answer["id"] == self._sent, answer
        result = answer["result"]
        assert not result.get("isError"), result
        return result

    def call(self, tool: str, prompt: str) -> dict[str, Any]:
        return self.request("tools/call", name=tool, arguments={"prompt": prompt})

    def initialize(self) -> None:
        self.request("initialize", **HELLO)
        self._send({"method": "notifications/initialized"})

    def resident_megabytes(self) -> float:
        told = subprocess.check_output(["ps", "-o", "rss=", "-p", str(self.process.pid)])  # noqa: S603, S607
        return int(told) * 1024 / 1e6

    def _exchange(self, message: dict[str, Any]) -> str:
        self._send(message)
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()


@contextmanager
def started(command: Sequence[str]) -> Generator[Server]:
    """A running server, which ends when its stdin closes."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"HOME": folder, "TIERWISE_DATA_DIR": folder, **DEMO_MODELS}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, env=env, text=True, **pipes) as process:  # noqa: S603  ours
            yield Server(process)


def time_to_initialize(command: Sequence[str]) -> float:
    """From the start of the process until `initialize` is answered, in ms."""
    start = time.perf_counter()
    with started(command) as server:
        server.initialize()
        return (time.perf_counter() - start) * 1000


def compare(name: str, ours: Sample, bare: Sample, goal: float) -> None:
    click.echo(f"| {name} | **{ours.p50 / bare.p50:.2f}** | {goal} | {ours} | {bare} |")


def report(starts: int, calls: int) -> None:
    """Print the table."""
    click.echo("| p50 (p99) in ms | ratio | at most | tierwise | bare MCPServer |\n|---|---|---|---|---|")
    ours, bare = interleaved(starts, lambda: time_to_initialize(TIERWISE), lambda: time_to_initialize(BARE))
    compare("process start to `initialize` answered", ours, bare, 1.2)
    with started(TIERWISE) as tierwise, started(BARE) as plain:
        for server in (tierwise, plain):
            server.initialize()
            server.request("tools/list")
        tierwise.call("chat", PROMPT)
        assert tierwise.call("chat", PROMPT)["structuredContent"]["cached"]
        noop, analysis, hit = interleaved(
            calls,
            timed(lambda: plain.call("analyze_complexity", PROMPT)),
            timed(lambda: tierwise.call("analyze_complexity", PROMPT)),
            timed(lambda: tierwise.call("chat", PROMPT)),
        )
        compare("`analyze_complexity`, against a tool that does nothing", analysis, noop, 1.0)
        compare("`chat` answered from the cache, against the same", hit, noop, 1.5)
        resident = [server.resident_megabytes() for server in (tierwise, plain)]
    click.echo(
        "\nResident before litellm: {:.0f} MB (at most 90); bare MCPServer: {:.0f} MB".format(*resident)
    )
    report_analysis(calls)


def report_analysis(calls: int) -> None:
    """Print how long it takes to judge a prompt, beside litellm's two analysers."""
    click.echo("\n| p50 (p99) in ms | tierwise | litellm's router | litellm's predictor |\n|---|---|---|---|")
    router, predictor = litellm_router(), litellm_predictor()
    for size, rounds in ((2_000, calls // 3), (100_000, 30)):
        text = (TWO_THOUSAND * (size // len(TWO_THOUSAND) + 1))[:size]
        judges = (partial(judge, text) for judge in (analyze, router, predictor))
        ours, theirs, trained = interleaved(rounds, *map(timed, judges))
        click.echo(f"| complexity of {size:,} characters | {ours} | {theirs} | {trained} |")


def machine() -> str:
    cores = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return f"{cores}, {platform.python_implementation()} {platform.python_version()}, mcp {version('mcp')}"


if __name__ == "__main__":
    click.echo(machine() + "\n")
    quick = "--quick" in sys.argv
    if "ledger" in sys.argv:
        report_ledgers(quick=quick)
    else:
        report(starts=5 if quick else 20, calls=300 if quick else 3000)
