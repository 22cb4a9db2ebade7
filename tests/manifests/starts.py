"""What each manifest says about how tierwise is started, read the way its host reads it."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

MANIFESTS = Path(__file__).parents[2] / "manifests"
SNIPPETS = {
    "claude-desktop": "claude_desktop_config.json",
    "cursor": "cursor/mcp.json",
    "gemini-cli": "gemini-cli/settings.json",
    "vscode": "vscode/mcp.json",
    "windsurf": "windsurf/mcp_config.json",
    "zed": "zed/settings.json",
}
"""The files of hosts by the names that `tierwise install` has for them."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Start:
    """A command, with the references in it as the manifest has them."""

    source: str
    command: str
    args: list[str]
    env: dict[str, str] = field(default_factory=dict[str, str])


def load(path: str) -> Json:
    return json.loads((MANIFESTS / path).read_text())


def registry() -> Start:
    [package] = load("server.json")["packages"]
    assert (package["registryType"], package["transport"]) == ("pypi", {"type": "stdio"})
    return Start("server.json", package["runtimeHint"], [f"{package['identifier']}=={package['version']}"])


def bundle(folder: Path) -> Start:
    """That of the bundle unpacked into `folder`. Options that were left empty stay references, as Claude
    Desktop has it."""
    config = json.loads((folder / "manifest.json").read_text())["server"]["mcp_config"]
    args = [part.replace("${__dirname}", str(folder)) for part in config["args"]]
    return Start("mcpb", config["command"], args, config["env"])


def plugin() -> Start:
    [listed] = load("claude-code/.claude-plugin/marketplace.json")["plugins"]
    return _entry("claude-code", load(f"claude-code/{listed['source']}/.mcp.json")["mcpServers"]["tierwise"])


def snippets() -> Iterator[Start]:
    for host, path in SNIPPETS.items():
        [servers] = load(path).values()
        yield _entry(host, servers["tierwise"])


def links() -> Iterator[Start]:
    for found in re.finditer(r"\]\(([a-z-]+:.*mcp[^)]*)\)", (MANIFESTS / "README.md").read_text()):
        link = found[1]
        yield _entry(f"link of {urlsplit(link).scheme}", _linked(link))


def _linked(link: str) -> Json:
    query = urlsplit(link).query
    if "config=" in query:
        return json.loads(base64.b64decode(parse_qs(query)["config"][0]))
    return json.loads(unquote(query))


def _entry(source: str, server: Json) -> Start:
    # A reference to a variable that is not set is empty, or has its default, which is.
    env = {name: re.sub(r"\$\{[^}]*\}", "", value) for name, value in server.get("env", {}).items()}
    return Start(source, server["command"], server.get("args", []), env)
