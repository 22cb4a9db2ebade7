"""The hosts that tierwise can be installed into: where each keeps its servers, and how it writes them.

Looked up in the hosts' documentation and issue trackers in November 2026.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tierwise.server.errors import CannotInstall


@dataclass(frozen=True, slots=True)
class System:
    """What decides where programs keep their files."""

    platform: str
    """As `sys.platform` has it: `win32`, `darwin` or another."""
    environ: Mapping[str, str] = field(repr=False)

    def home(self) -> Path:
        """The user's home folder.

        Raises:
            CannotInstall: there is none.
        """
        variable = "USERPROFILE" if self.platform == "win32" else "HOME"
        return self._folder(variable) or _missing(variable)

    def applications(self) -> Path:
        """Where desktop programs keep their settings, each in a folder of its own.

        Raises:
            CannotInstall: there is no home folder.
        """
        if self.platform == "win32":
            return self._folder("APPDATA") or self.home() / "AppData" / "Roaming"
        if self.platform == "darwin":
            return self.home() / "Library" / "Application Support"
        return self.configuration()

    def configuration(self) -> Path:
        """`~/.config`, or what stands for it; raises as `applications`."""
        return self._folder("XDG_CONFIG_HOME") or self.home() / ".config"

    def packages(self) -> Path:
        """Where Windows keeps what packaged programs write; raises as `applications`."""
        return (self._folder("LOCALAPPDATA") or self.home() / "AppData" / "Local") / "Packages"

    def _folder(self, variable: str) -> Path | None:
        named = Path(self.environ.get(variable, ""))
        return named if named.is_absolute() and named.is_dir() else None


def _missing(variable: str) -> Path:
    raise CannotInstall(
        f"There is no home folder to look in: set {variable} to it, or name the file, a host's with --file"
        " and tierwise's own with --config before the command."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A program that starts MCP servers, and how its file names them."""

    name: str
    """As it is given on the command line."""
    title: str
    file: Callable[[System], Path]
    sign: Callable[[System], Path] | None = None
    """What is there where the host is; by default the folder of its file."""
    section: str = "mcpServers"
    """The key of the object that holds the servers by name."""
    comments: bool = True
    """Does the host read its file if there are comments in it?"""
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What an entry says beside the command."""
    reference: str | None = None
    """How the value of a variable of the host's own environment is named, with `{}` for the variable;
    None where it cannot be."""
    passes_on: bool = True
    """Does a server get variables of the host's environment, by reference or as they are?"""
    link: str | None = None
    """What a link begins with that installs a server; see `tierwise.server.hosts.entry`."""

    def found(self, system: System) -> bool:
        """Is the host on this machine? Raises as `System.home`."""
        return (self.sign(system) if self.sign else self.file(system).parent).exists()


def _claude_desktop(system: System) -> Path:
    folders = [system.applications() / "Claude"]
    if system.platform == "win32":
        # What the installer and the Store bring since 2026 is packaged (MSIX) and reads only this one:
        # anthropics/claude-code#26073.
        folders[:0] = sorted(system.packages().glob("Claude_*/LocalCache/Roaming/Claude"))
    return folders[0] / "claude_desktop_config.json"


def _claude_code(system: System) -> Path:
    named = system.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(named) if named else system.home()) / ".claude.json"


def _claude_code_sign(system: System) -> Path:
    file = _claude_code(system)
    return file if file.exists() else file.with_name(".claude")


def _zed(system: System) -> Path:
    if system.platform == "win32":
        return system.applications() / "Zed" / "settings.json"
    folder = system.home() / ".config" if system.platform == "darwin" else system.configuration()
    return folder / "zed" / "settings.json"


def _lm_studio(system: System) -> Path:
    older = system.home() / ".cache" / "lm-studio"  # lmstudio-ai/lmstudio-bug-tracker#1371
    newer = system.home() / ".lmstudio"
    return (older if older.is_dir() and not newer.is_dir() else newer) / "mcp.json"


def _at_home(*parts: str) -> Callable[[System], Path]:
    return lambda system: system.home().joinpath(*parts)


def _vs_code(folder: str) -> Callable[[System], Path]:
    return lambda system: system.applications() / folder / "User" / "mcp.json"


_ALL = (
    Host(
        name="claude-desktop",
        title="Claude Desktop",
        file=_claude_desktop,
        comments=False,
        passes_on=False,
    ),
    Host(
        name="claude-code",
        title="Claude Code",
        file=_claude_code,
        sign=_claude_code_sign,
        comments=False,
        more={"type": "stdio"},
        reference="${{{}:-}}",
    ),
    Host(
        name="cursor",
        title="Cursor",
        file=_at_home(".cursor", "mcp.json"),
        reference="${{env:{}}}",
        link="cursor://anysphere.cursor-deeplink/mcp/install",
    ),
    Host(
        name="vscode",
        title="VS Code",
        file=_vs_code("Code"),
        section="servers",
        more={"type": "stdio"},
        reference="${{env:{}}}",
        link="vscode:mcp/install",
    ),
    Host(
        name="vscode-insiders",
        title="VS Code Insiders",
        file=_vs_code("Code - Insiders"),
        section="servers",
        more={"type": "stdio"},
        reference="${{env:{}}}",
        link="vscode-insiders:mcp/install",
    ),
    Host(
        name="windsurf",
        title="Windsurf",
        file=_at_home(".codeium", "windsurf", "mcp_config.json"),
        reference="${{env:{}}}",
    ),
    Host(
        name="zed",
        title="Zed",
        file=_zed,
        section="context_servers",
        more={"source": "custom"},
    ),
    Host(
        name="gemini-cli",
        title="Gemini CLI",
        file=_at_home(".gemini", "settings.json"),
        reference="${{{}}}",
    ),
    Host(
        name="lm-studio",
        title="LM Studio",
        file=_lm_studio,
        passes_on=False,
        link="lmstudio://add_mcp",
    ),
)

HOSTS: Mapping[str, Host] = {host.name: host for host in _ALL}
"""By their names."""
