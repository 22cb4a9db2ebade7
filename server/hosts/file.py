"""A host's file: read with care, changed in one place, backed up, and replaced whole or not at all."""

import os
import stat
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any, cast

from tierwise.server.errors import CannotInstall
from tierwise.server.files import back_up, make_folder, replacing
from tierwise.server.hosts import jsonc
from tierwise.server.hosts.entry import Entry
from tierwise.server.hosts.known import Host

MAX_BYTES = 20_000_000
"""Claude Code's file holds the history of every project, and has a few megabytes."""
_MARK = b"\xef\xbb\xbf"
"""The byte order mark, which editors on Windows put in front."""


@dataclass(frozen=True, slots=True)
class HostFile:
    """What was read of it."""

    host: Host
    path: Path
    """Where it is in truth: a link has been followed, and stays."""
    data: bytes | None
    """None if there is no file yet."""

    @property
    def text(self) -> str:
        """Its text; an empty object where there is none."""
        text = (self.data or b"").removeprefix(_MARK).decode()
        return text if text.strip() else "{}\n"

    def servers(self) -> dict[str, Any]:
        """The servers by name.

        Raises:
            CannotInstall: it is no JSON, or not of the shape that the host wants.
        """
        try:
            tree: Any = jsonc.parse(self.text, comments=self.host.comments)
        except ValueError as error:
            raise CannotInstall(
                f"{self.path} is not valid JSON ({error}), so {self.host.title} cannot read it either."
                " Correct it, then run this again; nothing was changed."
            ) from None
        servers: Any = (
            cast("dict[str, Any]", tree).get(self.host.section, {}) if isinstance(tree, dict) else None
        )
        if not isinstance(servers, dict):
            where = f"`{self.host.section}` in {self.path}" if isinstance(tree, dict) else str(self.path)
            raise CannotInstall(f"{where} is not a JSON object. Correct it; nothing was changed.")
        return cast("dict[str, Any]", servers)

    def with_server(self, name: str, server: Entry) -> str:
        """The text with `server` in it, and everything else as it is."""
        there = self.servers().get(name)
        if not isinstance(there, dict):
            return jsonc.put(self.text, (self.host.section, name), server)
        text = self.text
        for key, value in server.items():
            if cast("Entry", there).get(key) != value:
                text = jsonc.put(text, (self.host.section, name, key), value)
        return text

    def without_server(self, name: str) -> str:
        """The text without the server of that name, which is there."""
        return jsonc.drop(self.text, (self.host.section, name))

    def difference(self, text: str) -> str:
        """What `text` would change, as a unified diff. Few lines are shown of what stays, for they may hold
        the keys of other servers."""
        before = "" if self.data is None else self.text
        lines = unified_diff(
            before.splitlines(), text.splitlines(), str(self.path), str(self.path), n=1, lineterm=""
        )
        return "\n".join(lines)

    def write(self, text: str) -> Path | None:
        """Put `text` into its place, with the old file's mode; where its backup is, if there was one.

        Raises:
            UnusableFile: it cannot be written.
            CannotInstall: it is read-only, or somebody changed it since it was read.
        """
        self._check_unchanged()
        if self.data is not None and not _writable(self.path):
            raise CannotInstall(
                f"{self.path} is read-only. Make it writable, or add the output of `tierwise config"
                f" {self.host.name}` by hand; nothing was changed."
            )
        mark = _MARK if self.data and self.data.startswith(_MARK) else b""
        make_folder(self.path.parent)
        backup = None if self.data is None else back_up(self.path, self.data)
        with replacing(self.path, "Make its folder writable; nothing was changed.") as file:
            file.write(mark + text.encode())
            if self.data is not None:
                Path(file.name).chmod(stat.S_IMODE(self.path.stat().st_mode))
            self._check_unchanged()
        return backup

    def _check_unchanged(self) -> None:
        try:
            unchanged = _read(self.path) == self.data
        except OSError:
            unchanged = False
        if not unchanged:
            raise CannotInstall(
                f"{self.path} was changed by another program just now, and was left as that wrote it."
                f" Close {self.host.title} and run this again."
            )


def read(host: Host, path: Path) -> HostFile:
    """The file of `host` at `path`, which need not be there.

    Raises:
        CannotInstall: it is no file, cannot be read, or is no text.
    """
    try:
        target = path.resolve()
        data = _read(target)
        if data is not None and len(data) > MAX_BYTES:
            raise CannotInstall(f"{path} is over 20 MB, too large for this; nothing was changed.")
        (data or b"").decode()
    except UnicodeDecodeError as error:
        raise CannotInstall(
            f"{path} is not UTF-8 (byte {error.start}). Save it as UTF-8; nothing was changed."
        ) from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a ring of links; ValueError: NUL
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise CannotInstall(
            f"{path} cannot be read: {reason}. See what is there; nothing was changed."
        ) from None
    if data is None and path.is_symlink():
        raise CannotInstall(
            f"{path} is a link to {target}, which is not there. Restore that, or remove the link."
        )
    return HostFile(host, target, data)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None


def _writable(path: Path) -> bool:
    """By its mode too, for to root everything is writable."""
    return bool(path.stat().st_mode & 0o222) and os.access(path, os.W_OK)
