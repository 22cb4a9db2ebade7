"""Room on the disk that is taken in advance, to be let go of when there is no other."""

import errno
import os
from contextlib import suppress
from pathlib import Path

from tierwise.storage.files import NO_TRICKS

_BYTES = 2**20
"""For some 250 small files: most file systems give each at least 4 KiB."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class Ballast:
    """A file that takes up room. Processes may share one. All of it blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self) -> None:
        """Take what room is not taken yet, or as much of it as there is."""
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_TRICKS, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                while missing := max(0, _BYTES - os.fstat(descriptor).st_size):
                    file.write(os.urandom(missing))  # some file systems give zeros no room

    def let_go(self, error: OSError) -> bool:
        """Give the room back if `error` says that there is no other; whether there is some now."""
        if error.errno not in _NO_ROOM:
            return False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
