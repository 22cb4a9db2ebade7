"""A real LiteLLM proxy on loopback, with the models of tests/proxy/config.yaml and no database.

`make proxy` installs it, in an environment of its own.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

INSTALLED = Path(__file__).parents[1] / ".cache" / "proxy"
CONFIG = Path(__file__).parent / "proxy" / "config.yaml"
MASTER_KEY = "sk-master-Distinctive0123456789"
LONG_ANSWER = " ".join(map(str, range(1000)))
"""What `talkative` says: 100 KB as a stream, which no socket takes at once."""
_PATIENCE = 120
"""Seconds for its start: ten on two idle cores."""


def is_installed() -> bool:
    return (INSTALLED / ".ready").exists()


@contextmanager
def running_proxy(folder: Path, port: int | None = None) -> Generator[str]:
    """Start a proxy and yield its base URL, without `/v1`; `folder` takes its log and is its home."""
    port = free_port() if port is None else port
    command = [INSTALLED / "bin" / "litellm", "--config", CONFIG, "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PROXY_MASTER_KEY": MASTER_KEY,
        "LONG_ANSWER": LONG_ANSWER,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches the price map from the network
    }
    log = folder / "proxy.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(  # noqa: S603  what `make proxy` installed
            command,
            env=environ,
            cwd=CONFIG.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            _await_start(process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _await_start(process: "subprocess.Popen[str]", log: Path) -> None:
    """Read what it says until it listens; a thread reads the rest away, or it would come to a halt."""
    assert process.stderr is not None
    timer = threading.Timer(_PATIENCE, process.kill)
    timer.start()
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "Uvicorn running on" in line:
            break
    else:
        raise RuntimeError(f"The LiteLLM proxy did not start.\n{log.read_text()}\n{''.join(said)}")
    timer.cancel()
    threading.Thread(target=process.stderr.read, daemon=True).start()


def free_port() -> int:
    """One on which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]
