"""`tierwise` that says at SIGUSR1 what it holds: `python -m tests.faults.watched serve …`.

The figures go, as JSON, into the file that `FAULTS_VITALS` names.
"""

import asyncio
import gc
import json
import os
import signal
import subprocess
from pathlib import Path

from tierwise.server.cli import main

VARIABLE = "FAULTS_VITALS"


def _tell(*_: object) -> None:
    gc.collect()
    vitals = {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(list(Path("/dev/fd").iterdir())),
        "resident_bytes": _resident_bytes(),
    }
    path = Path(os.environ[VARIABLE])
    part = path.with_suffix(".part")
    part.write_text(json.dumps(vitals))
    part.replace(path)


def _resident_bytes() -> int:
    told = subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())])  # noqa: S603, S607
    return int(told) * 1024


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    main(prog_name="tierwise")
