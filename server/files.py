"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tierwise.server.errors import UnusableFile


@contextmanager
def replacing(path: Path) -> Generator[IO[bytes]]:
    """A file that takes the place of the one at `path` when the block ends well, and else leaves no trace.

    Only its owner can read it. Blocks, but for no longer than a disk takes.

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
        raise UnusableFile(f"Cannot write {path}: {error.strerror}. Name another file.") from error
    finally:
        if part:
            with suppress(OSError):
                part.unlink()
