"""The files of a batch: prompts in, one a line; answers out, in the same order, whatever happens between.

While a batch runs, each answer goes to `<out>.part` as it comes. A run that was killed goes on from there;
one that ended goes on from the file itself, and asks again what had failed.
"""

import json
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from typing import Any, cast

from tierwise.routing.money.pricing import nano_usd
from tierwise.server.errors import UnusableFile
from tierwise.server.files import replacing

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
"""Of the part file, which goes through no link that somebody has planted."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the input that is not blank."""

    number: int
    """Its place in the file, from 1."""
    text: bytes

    @property
    def digest(self) -> str:
        """What an answer to it is known by: a line that was changed is asked anew."""
        return blake2b(self.text.strip(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where an answer stands in the part file, and what it is to."""

    start: int
    end: int
    digest: str
    done: bool
    cost: int
    """nano-USD, as far as it is known."""


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of the input.

    Raises:
        UnusableFile: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from (Line(number, text) for number, text in enumerate(file, start=1) if text.strip())
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read ({error.strerror}). Name another file.") from error


class BatchFile:
    """The answers that there are; made by `open_batch`. It blocks, but for no longer than a disk takes."""

    def __init__(self, out: Path, part: Path, file: FileIO) -> None:
        self._out = out
        self._part = part
        self._file = file
        self._entries: dict[int, _Entry] = {}
        self._end = 0
        with part.open("rb") as kept:
            for text in kept:
                if text.endswith(b"\n"):  # else a run was killed while it wrote this line, which is the last
                    self._note(text)
        file.truncate(self._end)

    def is_answered(self, line: Line) -> bool:
        entry = self._entries.get(line.number)
        return entry is not None and entry.done and entry.digest == line.digest

    @property
    def cost(self) -> int:
        """What the answers cost, in nano-USD, those of earlier runs included."""
        return sum(entry.cost for entry in self._entries.values())

    def add(self, line: Line, result: dict[str, Any]) -> None:
        """Keep what came of a line: `status`, `cost_usd`, and whatever else is to be told.

        Raises:
            UnusableFile: it cannot be written.
        """
        entry = {"line": line.number, "input": line.digest, **result}
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"
        try:
            self._append(text)
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            reason = error.strerror
            raise UnusableFile(f"Cannot write {self._part}: {reason}. Make room there, and go on.") from error
        self._note(text)

    def _append(self, text: bytes) -> None:
        while text:
            text = text[self._file.write(text) :]

    def finish(self, lines: Iterator[Line]) -> None:
        """Write what came of `lines`, in their order, in place of the part file.

        Raises:
            UnusableFile: it cannot be written.
        """
        with replacing(self._out) as out, self._part.open("rb") as kept:
            for line in lines:
                entry = self._entries.get(line.number)
                if entry is not None and entry.digest == line.digest:
                    kept.seek(entry.start)
                    out.write(kept.read(entry.end - entry.start))
        with suppress(OSError):
            self._part.unlink()

    def _note(self, text: bytes) -> None:
        start, self._end = self._end, self._end + len(text)
        entry = _parsed(text)
        if entry is not None:
            cost = entry.get("cost_usd")
            self._entries[entry["line"]] = _Entry(
                start,
                self._end,
                entry["input"],
                entry.get("status") == "done",
                nano_usd(cost) if isinstance(cost, int | float) else 0,
            )


@contextmanager
def open_batch(out: Path) -> Generator[BatchFile]:
    """What there is of the answers that go to `out`; nobody else writes to them meanwhile.

    Raises:
        UnusableFile: a file cannot be used, `out` is none of these, or another batch is writing to it.
    """
    part = out.with_name(f"{out.name}.part")
    if not part.exists() and out.exists():
        _copy(out, part)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(FileIO(os.open(part, _FLAGS, 0o600), "r+"))
            _lock(file, out)
            batch = BatchFile(out, part, file)
        except OSError as error:
            raise UnusableFile(f"Cannot write {part}: {error.strerror}. Name another file.") from error
        yield batch


def _copy(out: Path, part: Path) -> None:
    with replacing(part) as copy:
        for line in read_lines(out):
            if _parsed(line.text) is None:
                raise UnusableFile(
                    f"{out}, line {line.number}: this is no answer of a batch. Name another file."
                )
            copy.write(line.text)


def _parsed(text: bytes) -> dict[str, Any] | None:
    """The entry in a line of the output; None if it is none."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    entry = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    fits = isinstance(entry.get("line"), int) and isinstance(entry.get("input"), str)
    return entry if fits else None


def _lock(file: FileIO, out: Path) -> None:
    """Held until the file is closed, by kill -9 too. Windows has no such lock."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UnusableFile(f"Another batch is writing to {out}. Wait for it, or name another file.") from None
