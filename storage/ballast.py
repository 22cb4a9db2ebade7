"""Room on the disk that is taken in advance, to be let go of when there is no other."""

import errno
import os
from contextlib import suppress
from pathlib import Path

_BYTES = 2**20
"""For some 250 small files: most file systems give each at least 4 KiB."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class Ballast:
    """A file that takes up room. Processes may share one. All of it blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> None:
        """Take the room, if it is not taken and there is some."""
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:  # most often because it is there
            return
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(os.urandom(_BYTES))  # some file systems give zeros no room
        except OSError:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def let_go(self, error: OSError) -> bool:
        """Give the room back if `error` says that there is no other; whether there is some now."""
        if error.errno not in _NO_ROOM:
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
