"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from tierwise.server.errors import UnusableFile


@contextmanager
def replacing(path: Path, advice: str = "Name another file.") -> Generator[IO[bytes]]:
    """A file that takes the place of the one at `path` when the block ends well, and else leaves no trace.

    Only its owner can read it. Blocks, but for no longer than a disk takes. `advice` says what to do where
    it cannot be written.

    Raises:
        UnusableFile: it cannot be written.
    """
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        part = None
    except OSError as error:
        raise UnusableFile(f"Cannot write {path}: {error.strerror}. {advice}") from error
    finally:
        if part:
            with suppress(OSError):
                part.unlink()


def back_up(path: Path, data: bytes) -> Path:
    """Keep `data`, which `path` holds, in a new file beside it; where that is. Only its owner can read it.

    Raises:
        UnusableFile: it cannot be written.
    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    kept = path.with_name(f"{path.name}.{now}.bak")
    with replacing(kept, "Make its folder writable; nothing was changed.") as file:
        file.write(data)
    return kept


def make_folder(path: Path) -> None:
    """Make the folder at `path`, and those around it, for its owner alone.

    Raises:
        UnusableFile: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFile(
            f"The folder {path} cannot be made: {error.strerror}. Make it, then run this again."
        ) from None
