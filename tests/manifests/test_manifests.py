"""Manifests: right for the hosts' own tools, of one version, and good to start from."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

from tests.manifests import starts
from tests.manifests.starting import answers
from tests.manifests.starts import MANIFESTS, SNIPPETS, load
from tierwise.server.hosts.entry import entry, install_link, snippet
from tierwise.server.hosts.known import HOSTS

pytestmark = pytest.mark.anyio

ROOT = MANIFESTS.parent
SHOWN_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
UVX = """#!{python}
import re, sys
from importlib.metadata import distribution
name, wanted = re.fullmatch(r"([a-z]+)(?:(?:@|==)([0-9.]+))?", sys.argv.pop(1)).groups()
package = distribution(name)
assert wanted in (None, package.version), "there is no such release"
[script] = [point for point in package.entry_points if (point.group, point.name) == ("console_scripts", name)]
script.load()()
"""
"""Does what `uvx` does, with the package that is installed in place of PyPI."""
UV = """#!{python}
import os, runpy, sys
assert sys.argv[1:4] == ["run", "--quiet", "--directory"]
os.chdir(sys.argv[4])
sys.argv[:5] = []
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def project() -> dict[str, str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The folder of a bundle, with a file in the place of the wheel."""
    wheel = tmp_path / f"tierwise-{project()['version']}-py3-none-any.whl"
    wheel.write_bytes(b"")
    folder = tmp_path / "bundle"
    subprocess.run([sys.executable, MANIFESTS / "mcpb" / "stage.py", wheel, folder], check=True)  # noqa: S603  ours
    return folder


@pytest.mark.parametrize("folder", ["", "claude-code"])
def test_the_linter_of_registry_and_plugins_finds_nothing(folder: str):
    # It brings the registry's schemas along, and looks at plugin and marketplace where it finds one.
    ended = subprocess.run(  # noqa: S603  ours
        [sys.executable, "-m", "skillsaw", "lint", "--strict", "--format", "json", MANIFESTS / folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert found["summary"]["errors"] == found["summary"]["warnings"] == 0


def test_the_bundle_fits_the_schema_of_its_packer():
    # The schema is that of npm's @anthropic-ai/mcpb 2.1.2 (MIT), which `make manifests` asks itself.
    schema = json.loads(Path(__file__).with_name("mcpb-manifest-v0.4.schema.json").read_text())
    jsonschema.validate(load("mcpb/manifest.json"), schema)


def test_the_registry_knows_the_readme_by_its_name():
    name = load("server.json")["name"]
    assert f"<!-- mcp-name: {name} -->" in (ROOT / "README.md").read_text()


def test_all_versions_are_that_of_the_project(bundle: Path):
    now = project()["version"]
    server, bundled = load("server.json"), load("mcpb/manifest.json")
    [listed] = load("claude-code/.claude-plugin/marketplace.json")["plugins"]
    assert {
        version("tierwise"),
        server["version"],
        *(package["version"] for package in server["packages"]),
        bundled["version"],
        listed["version"],
        load("claude-code/tierwise/.claude-plugin/plugin.json")["version"],
        *re.findall(r"@(.+)", " ".join(starts.plugin().args)),
    } == {now}
    assert bundled["compatibility"]["runtimes"]["python"] == project()["requires-python"]


def test_every_key_that_a_manifest_asks_for_is_a_secret():
    [package] = load("server.json")["packages"]
    for variable in package["environmentVariables"]:
        assert variable.get("isSecret", False) == variable["name"].endswith("_API_KEY")
    manifest = load("mcpb/manifest.json")
    options = manifest["user_config"]
    asked = {
        name: value[len("${user_config.") : -1]
        for name, value in manifest["server"]["mcp_config"]["env"].items()
    }
    assert set(asked.values()) == set(options)
    for variable, option in asked.items():
        assert options[option].get("sensitive", False) == variable.endswith("_API_KEY")
        assert not options[option]["required"]


def test_the_bundle_pins_what_the_tests_ran_with(bundle: Path):
    uv = tomllib.loads((bundle / "pyproject.toml").read_text())["tool"]["uv"]
    locked = re.findall(
        r"^[a-z0-9]\S*==\S+", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE
    )
    assert [pin.split(" ;")[0] for pin in uv["constraint-dependencies"]] == locked
    assert (bundle / uv["sources"]["tierwise"]["path"]).exists()
    with Image.open(bundle / "icon.png") as icon:
        assert icon.size == (512, 512)


@pytest.mark.parametrize("name", SNIPPETS)
def test_the_files_for_hosts_are_what_config_prints(name: str):
    host, text = HOSTS[name], load(SNIPPETS[name])
    if not host.passes_on:  # keys have to be filled in
        env = text[host.section]["tierwise"].pop("env")
        assert not any(env.values())
    assert text == snippet(host, "tierwise", entry(host, ("tierwise",), SHOWN_KEYS))


def test_the_links_are_those_of_hosts_that_know_some():
    linked = [host for host in HOSTS.values() if host.link]
    text = (MANIFESTS / "README.md").read_text()
    for host in linked:
        link = install_link(host, "tierwise", entry(host, ("uvx", "tierwise"), ()))
        assert f"[{host.title}]({link})" in text
    assert len(list(starts.links())) == len(linked)


SOURCES = (
    "server.json",
    "mcpb",
    "claude-code",
    *SNIPPETS,
    *(f"link of {scheme}" for scheme in ("cursor", "vscode", "vscode-insiders", "lmstudio")),
)


@pytest.mark.parametrize("source", SOURCES)
async def test_tierwise_starts_from_exactly_what_the_manifest_says(source: str, bundle: Path, tmp_path: Path):
    every = [starts.registry(), starts.bundle(bundle), starts.plugin(), *starts.snippets(), *starts.links()]
    [start] = [start for start in every if start.source == source]
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in (("uvx", UVX), ("uv", UV)):
        (tools / name).write_text(script.format(python=sys.executable))
        (tools / name).chmod(0o755)
    await answers(start, [str(tools), str(Path(sys.executable).parent), os.defpath], tmp_path, 60)
