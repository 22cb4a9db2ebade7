"""Installing into hosts, as a shell sees it, on files such as people have them."""

import base64
import json
import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.server.harness import COMMAND, KEY, PATHS, Installation, Json
from tierwise.server.errors import CannotInstall
from tierwise.server.hosts import jsonc
from tierwise.server.hosts.entry import launch
from tierwise.server.hosts.file import read
from tierwise.server.hosts.known import HOSTS, System

pytestmark = pytest.mark.anyio

COMMENTED = """\
// what Zed starts with
{
  "theme": "One Dark", // the dark one
  "context_servers": {
    /* the other one */
    "other": { "command": "other", "env": { "OTHER_TOKEN": "not ours" } }, // keep
  },
}
"""


def said(ended: CompletedProcess[bytes]) -> str:
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


def refused(ended: CompletedProcess[bytes]) -> str:
    assert ended.returncode == 1, ended.stdout.decode()
    words = ended.stderr.decode()
    assert "Traceback" not in words
    return " ".join(words.split())


def cursor(installation: Installation, text: str | bytes | None = None) -> Path:
    """Cursor's file, in a home where Cursor is."""
    file = installation.folder / ".cursor" / "mcp.json"
    file.parent.mkdir(exist_ok=True)
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def servers(file: Path, section: str = "mcpServers") -> Json:
    return json.loads(file.read_text())[section]


def backups(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.name}.*.bak"))


async def test_a_host_starts_the_server_from_what_was_written_from_anywhere(demo: Installation):
    file = cursor(demo, '{"mcpServers": {"other": {"command": "x"}}}')
    said(await demo.run("install", "cursor"))
    written = servers(file)
    assert written["other"] == {"command": "x"}
    entry = written["tierwise"]
    # What the tree is imported from, and nothing of the installation's own.
    environ = {"PATH": os.defpath, "PYTHONPATH": PATHS, "HOME": str(demo.folder)}
    parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env=environ, cwd="/")
    with anyio.fail_after(60), (demo.folder / "stderr").open("w") as log:
        async with Client(stdio_client(parameters, log)) as client:
            assert client.server_info
            assert client.server_info.name == "tierwise"
            assert (await client.call_tool("chat", {"prompt": "Hello"})).structured_content
    assert demo.data.exists()  # the settings and data folder of the one who installed it


async def test_installing_again_changes_nothing_and_uninstalling_gives_the_file_back(demo: Installation):
    before = '{\n\t"mcpServers": {\n\t\t"other": {"command": "x"}\n\t}\n}\n'
    file = cursor(demo, before)
    said(await demo.run("install", "cursor"))
    once = file.read_bytes()
    assert "needs no change" in said(await demo.run("install", "cursor"))
    assert file.read_bytes() == once
    assert [kept.read_text() for kept in backups(file)] == [before]
    said(await demo.run("uninstall", "cursor"))
    assert file.read_text() == before
    assert "needs no change" in said(await demo.run("uninstall", "cursor"))


async def test_comments_and_other_servers_stay_as_they_are(demo: Installation):
    file = demo.folder / ".config" / "zed" / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_text(COMMENTED)
    said(await demo.run("install", "zed"))
    text = file.read_text()
    assert all(line in text for line in COMMENTED.splitlines())
    assert jsonc.parse(text, comments=True)["context_servers"]["tierwise"]["source"] == "custom"
    said(await demo.run("uninstall", "zed"))
    assert file.read_text() == COMMENTED


async def test_a_dry_run_shows_the_difference_and_writes_nothing(demo: Installation):
    before = json.dumps(
        {"mcpServers": {"other": {"env": {"OTHER_API_KEY": "sk-other-0123456789"}}}}, indent=2
    )
    file = cursor(demo, before)
    shown = said(await demo.run("install", "cursor", "--dry-run"))
    assert '+    "tierwise": {' in shown
    assert "sk-other" not in shown
    assert file.read_text() == before
    assert not backups(file)
    fresh = cursor(demo)
    fresh.unlink()
    assert '+    "tierwise": {' in said(await demo.run("install", "cursor", "--dry-run"))
    assert not fresh.exists()


async def test_no_key_is_written_only_the_names_of_variables(demo: Installation):
    demo.environ["OPENAI_API_KEY"] = KEY
    file = cursor(demo)
    ended = await demo.run("install", "cursor")
    assert servers(file)["tierwise"]["env"] == {"OPENAI_API_KEY": "${env:OPENAI_API_KEY}"}
    assert KEY.encode() not in file.read_bytes() + ended.stdout + ended.stderr
    desktop = demo.folder / ".config" / "Claude"
    desktop.mkdir(parents=True)
    ended = await demo.run("install", "claude-desktop")
    assert "env" not in servers(desktop / "claude_desktop_config.json")["tierwise"]
    assert b"--env-file" in ended.stderr


async def test_options_before_the_command_become_those_of_the_server(demo: Installation):
    keys = demo.folder / "keys.env"
    keys.write_text(f"OPENAI_API_KEY={KEY}\n")
    file = cursor(demo)
    demo.environ.pop("TIERWISE_CONFIG")
    ended = await demo.run("--env-file", "keys.env", "--config", "settings.json", "install", "cursor")
    said(ended)
    arguments = servers(file)["tierwise"]["args"]
    assert arguments[-6:] == [
        *("--config", str(demo.config)),
        *("--env-file", str(keys)),
        *("--data-dir", str(demo.data)),
    ]
    assert KEY.encode() not in file.read_bytes() + ended.stdout + ended.stderr


async def test_what_the_user_added_to_the_entry_survives_a_newer_command(demo: Installation):
    entry = {"command": "/old/bin/tierwise", "disabled": True, "env": {"OPENAI_API_KEY": "theirs"}}
    file = cursor(demo, json.dumps({"mcpServers": {"tierwise": entry}}, indent=2))
    demo.environ |= {"OPENAI_API_KEY": KEY, "GEMINI_API_KEY": KEY}
    said(await demo.run("install", "cursor"))
    now = servers(file)["tierwise"]
    assert now["command"] != "/old/bin/tierwise"
    assert now["disabled"] is True
    assert now["env"] == {"OPENAI_API_KEY": "theirs", "GEMINI_API_KEY": "${env:GEMINI_API_KEY}"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"mcpServers": {', "not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"mcpServers": []}', "`mcpServers`"),
        (b'{"mcpServers": null}', "`mcpServers`"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"\x00" * 64, "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"mcpServers": {}} trailing', "not valid JSON"),
        (b'{"mcpServers": {}, "unclosed": "', "not valid JSON"),
    ],
)
async def test_a_file_that_is_not_right_is_left_as_it_is(demo: Installation, text: bytes, reason: str):
    file = cursor(demo, text)
    for command in ("install", "uninstall"):
        assert reason in refused(await demo.run(command, "cursor", "--force"))
        assert file.read_bytes() == text
    assert not backups(file)


async def test_comments_are_refused_where_the_host_cannot_read_them(demo: Installation):
    file = demo.folder / ".claude.json"
    file.write_text('{"mcpServers": {}} // mine')
    assert "Claude Code cannot read it" in refused(await demo.run("install", "claude-code"))
    assert file.read_text().endswith("// mine")


async def test_another_server_of_that_name_is_replaced_only_by_force(demo: Installation):
    file = cursor(demo, '{"mcpServers": {"tierwise": {"url": "https://example.com/mcp"}}}')
    assert "--name" in refused(await demo.run("install", "cursor"))
    assert "is not tierwise" in refused(await demo.run("uninstall", "cursor"))
    assert servers(file)["tierwise"] == {"url": "https://example.com/mcp"}
    said(await demo.run("install", "cursor", "--name", "router"))
    assert set(servers(file)) == {"tierwise", "router"}
    for name in ("", "a b", "x" * 65):
        assert (await demo.run("install", "cursor", "--name", name)).returncode == 2
    said(await demo.run("install", "cursor", "--force"))
    assert "url" not in servers(file)["tierwise"]


async def test_a_read_only_file_is_not_written_even_by_root(demo: Installation):
    file = cursor(demo, "{}")
    file.chmod(0o444)
    assert "read-only" in refused(await demo.run("install", "cursor"))
    assert file.read_text() == "{}"
    assert not backups(file)


async def test_a_link_is_followed_and_stays(demo: Installation):
    real = demo.folder / "dotfiles.json"
    real.write_text("{}")
    real.chmod(0o640)
    link = cursor(demo)
    link.symlink_to(real)
    said(await demo.run("install", "cursor"))
    assert link.is_symlink()
    assert "tierwise" in servers(real)
    assert real.stat().st_mode & 0o777 == 0o640
    real.unlink()
    assert "which is not there" in refused(await demo.run("install", "cursor"))
    link.unlink()
    link.symlink_to(link)
    assert "cannot be read" in refused(await demo.run("install", "cursor"))


async def test_a_host_that_is_not_there_is_said_so(demo: Installation):
    assert "not on this machine" in refused(await demo.run("install", "windsurf"))
    assert not (demo.folder / ".codeium").exists()
    said(await demo.run("install", "windsurf", "--force"))
    assert "tierwise" in servers(demo.folder / ".codeium" / "windsurf" / "mcp_config.json")
    said(await demo.run("install", "windsurf", "--file", "elsewhere.json"))
    assert "tierwise" in servers(demo.folder / "elsewhere.json")


@pytest.mark.parametrize("home", ["", "/nowhere/at/all"])
async def test_without_a_home_folder_a_file_must_be_named(demo: Installation, home: str):
    demo.environ["HOME"] = home
    assert "no home folder" in refused(await demo.run("install", "cursor"))
    said(await demo.run("install", "cursor", "--file", "here.json"))
    assert "tierwise" in servers(demo.folder / "here.json")


async def test_of_several_hosts_those_that_can_be_are_installed_into(demo: Installation):
    file = cursor(demo)
    assert "Zed is not" in refused(await demo.run("install", "zed", "cursor"))
    assert "tierwise" in servers(file)


async def test_an_empty_file_and_one_with_a_mark_and_windows_lines_are_kept_in_their_way(demo: Installation):
    file = cursor(demo, b"")
    said(await demo.run("install", "cursor"))
    assert "tierwise" in servers(file)
    before = b'\xef\xbb\xbf{\r\n  "mcpServers": {}\r\n}\r\n'
    file.write_bytes(before)
    said(await demo.run("install", "cursor"))
    assert file.read_bytes().count(b"\n") == file.read_bytes().count(b"\r\n") > 5
    said(await demo.run("uninstall", "cursor"))
    assert file.read_bytes() == before


async def test_the_list_shows_what_is_found_and_installed(demo: Installation):
    cursor(demo)
    demo.environ["COLUMNS"] = "200"
    listed = {line.split()[0]: line for line in said(await demo.run("install")).splitlines()}
    assert " found " in listed["cursor"]
    assert " not found " in listed["zed"]
    await demo.run("install", "cursor")
    listed = {line.split()[0]: line for line in said(await demo.run("install")).splitlines()}
    assert " installed " in listed["cursor"]


async def test_the_snippet_is_what_install_writes_and_the_link_says_the_same(demo: Installation):
    file = cursor(demo)
    ended = await demo.run("config", "cursor")
    snippet = json.loads(said(ended))
    await demo.run("install", "cursor")
    assert json.loads(file.read_text()) == snippet
    link = urlsplit(next(word for word in ended.stderr.decode().split() if word.startswith("cursor:")))
    asked = parse_qs(link.query)
    assert asked["name"] == ["tierwise"]
    assert json.loads(base64.b64decode(asked["config"][0])) == snippet["mcpServers"]["tierwise"]
    ended = await demo.run("config", "vscode")
    _, _, encoded = ended.stderr.decode().partition("vscode:mcp/install?")
    assert json.loads(unquote(encoded.split()[0])) == {
        "name": "tierwise",
        **json.loads(said(ended))["servers"]["tierwise"],
    }


async def test_settings_that_would_not_load_are_not_installed(demo: Installation):
    file = cursor(demo)
    demo.config.write_text('{"nonsense": 1}')
    ended = await demo.run("install", "cursor")
    assert ended.returncode == 2
    assert not file.exists()


async def test_what_a_host_left_unfilled_counts_as_not_set(demo: Installation):
    demo.environ |= {
        "OPENAI_API_KEY": "${user_config.openai_api_key}",
        "GEMINI_API_KEY": "${env:GEMINI_API_KEY}",
    }
    listed = json.loads(said(await demo.run("models", "--json")))
    assert {item["provider"] for item in listed["models"]} == {"demo"}


async def test_what_another_program_wrote_meanwhile_is_not_overwritten(demo: Installation):
    file = cursor(demo, "{}")
    seen = read(HOSTS["cursor"], file)
    file.write_text('{"mcpServers": {"other": {}}}')
    with pytest.raises(CannotInstall, match="another program"):
        seen.write(seen.with_server("tierwise", {"command": "tierwise"}))
    assert file.read_text() == '{"mcpServers": {"other": {}}}'
    assert list(file.parent.iterdir()) == [file]


HOME = {"win32": "USERPROFILE", "darwin": "HOME", "linux": "HOME"}
PLACES = {
    "claude-desktop": (
        "AppData/Roaming/Claude/claude_desktop_config.json",
        "Library/Application Support/Claude/claude_desktop_config.json",
        ".config/Claude/claude_desktop_config.json",
    ),
    "claude-code": (".claude.json",) * 3,
    "cursor": (".cursor/mcp.json",) * 3,
    "vscode": (
        "AppData/Roaming/Code/User/mcp.json",
        "Library/Application Support/Code/User/mcp.json",
        ".config/Code/User/mcp.json",
    ),
    "vscode-insiders": (
        "AppData/Roaming/Code - Insiders/User/mcp.json",
        "Library/Application Support/Code - Insiders/User/mcp.json",
        ".config/Code - Insiders/User/mcp.json",
    ),
    "windsurf": (".codeium/windsurf/mcp_config.json",) * 3,
    "zed": (
        "AppData/Roaming/Zed/settings.json",
        ".config/zed/settings.json",
        ".config/zed/settings.json",
    ),
    "gemini-cli": (".gemini/settings.json",) * 3,
    "lm-studio": (".lmstudio/mcp.json",) * 3,
}


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize(("at", "platform"), [*enumerate(HOME)])
def test_each_host_has_its_place_on_each_system(name: str, at: int, platform: str, tmp_path: Path):
    system = System(platform, {HOME[platform]: str(tmp_path)})
    assert HOSTS[name].file(system) == tmp_path / PLACES[name][at]


def test_variables_move_the_places(tmp_path: Path):
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": "/elsewhere"}
    linux = System("linux", environ)
    assert HOSTS["vscode"].file(linux) == tmp_path / "Code/User/mcp.json"
    assert HOSTS["claude-code"].file(linux) == Path("/elsewhere/.claude.json")
    windows = System("win32", {"APPDATA": str(tmp_path), "LOCALAPPDATA": str(tmp_path)})
    packaged = tmp_path / "Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    packaged.mkdir(parents=True)
    assert HOSTS["claude-desktop"].file(windows) == packaged / "claude_desktop_config.json"
    with pytest.raises(CannotInstall):
        HOSTS["cursor"].file(System("win32", {"HOME": str(tmp_path)}))


def test_the_command_is_an_absolute_path_or_this_python():
    command = launch()
    assert Path(command[0]).is_absolute()
    assert len(command) == 1 or command[1:] == COMMAND[1:]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
TREES = st.dictionaries(st.text(max_size=3), VALUES, max_size=3)
BLANKS = st.lists(st.sampled_from([" ", "\n", "\t", '// a "b" , }\n', "/* { , */"]), max_size=2).map("".join)


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """The value as somebody might write it: blanks and comments anywhere, commas at the end."""
    blank = draw(BLANKS)
    if isinstance(value, dict):
        members = cast("Json", value).items()
        parts = [f"{draw(BLANKS)}{json.dumps(key)}{draw(BLANKS)}:{draw(written(it))}" for key, it in members]
        opening, closing = "{}"
    elif isinstance(value, list):
        parts = [draw(written(it)) for it in cast("list[Any]", value)]
        opening, closing = "[]"
    else:
        return blank + json.dumps(value, ensure_ascii=draw(st.booleans()))
    last = "," if parts and draw(st.booleans()) else ""
    return f"{blank}{opening}{f'{draw(BLANKS)},'.join(parts)}{draw(BLANKS)}{last}{draw(BLANKS)}{closing}"


@settings(max_examples=300, deadline=None)
@given(st.data(), TREES, TREES)
def test_whatever_the_file_looks_like_one_server_comes_and_goes(
    data: st.DataObject, tree: Json, others: Json
):
    tree, others = tree | {"servers": others}, others
    others.pop("ours", None)
    text = data.draw(written(tree)) + data.draw(BLANKS)
    entry = {"command": 'a "b" \\ // c', "args": [","]}
    there = jsonc.put(text, ("servers", "ours"), entry)
    assert jsonc.parse(there, comments=True) == tree | {"servers": others | {"ours": entry}}
    again = jsonc.put(there, ("servers", "ours", "args"), [])
    assert jsonc.parse(again, comments=True)["servers"]["ours"]["args"] == []
    gone = jsonc.drop(there, ("servers", "ours"))
    assert jsonc.parse(gone, comments=True) == tree
    for comment in ('// a "b"', "/* { , */"):
        assert gone.count(comment) == there.count(comment) == text.count(comment)
