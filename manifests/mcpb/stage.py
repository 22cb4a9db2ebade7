"""Lays out the folder that `mcpb pack` makes a bundle of: python manifests/mcpb/stage.py WHEEL FOLDER.

The bundle holds tierwise as a wheel, and the versions that its own tests ran with, so that what is installed
depends on no release but this one.
"""

import json
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "requirements" / "runtime.txt"


def stage(wheel: Path, folder: Path) -> None:
    """Fill `folder`, which is made, with what the bundle of `wheel` consists of."""
    folder.mkdir(parents=True)
    for name in ("manifest.json", "icon.png", "server.py"):
        shutil.copy(HERE / name, folder)
    shutil.copy(wheel, folder)
    (folder / "pyproject.toml").write_text(_project(wheel.name))


def _project(wheel: str) -> str:
    manifest = json.loads((HERE / "manifest.json").read_text())
    return f"""\
[project]
name = "tierwise-bundle"
version = "{manifest["version"]}"
requires-python = "{manifest["compatibility"]["runtimes"]["python"]}"
dependencies = ["tierwise"]

[tool.uv]
package = false
constraint-dependencies = {json.dumps(_pins(), indent=2)}

[tool.uv.sources]
tierwise = {{ path = "{wheel}" }}
"""


def _pins() -> list[str]:
    """`name==version ; marker` for each dependency in the lock file."""
    return re.findall(
        r"^([a-z0-9][^\s;]*==[^\s\\]+(?: ; [^\\\n]*[^\\\s])?)", RUNTIME.read_text(), re.MULTILINE
    )


if __name__ == "__main__":
    stage(Path(sys.argv[1]), Path(sys.argv[2]))
