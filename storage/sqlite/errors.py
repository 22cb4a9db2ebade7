"""The one place where SQLite's and the file system's errors become ours."""

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tierwise.storage.errors import (
    DatabaseBusy,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseTooNew,
    StorageError,
)

_ELSEWHERE = "set TIERWISE_DATA_DIR to another folder"

_BUSY = (DatabaseBusy, "is locked by another process. Try again, or end the program that holds it.")
_READ_ONLY = (DatabaseReadOnly, f"cannot be written. Make it and its folder writable, or {_ELSEWHERE}.")
_FULL = (DatabaseFull, f"has no room left on its disk. Free some space, or {_ELSEWHERE}.")
_DAMAGED = (StorageError, "is damaged. Restart tierwise: it sets the file aside and starts a new one.")

# Primary result codes, https://www.sqlite.org/rescode.html
_BY_RESULT_CODE = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,  # too many came for the same lock at once
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_BY_ERRNO = {
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
    errno.EROFS: _READ_ONLY,
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
}


@contextmanager
def storage_errors(path: Path) -> Generator[None]:
    """Raise the `StorageError` that says what went wrong with the database at `path`.

    Damage is also noted in a file beside it, so that the next start looks for it thoroughly.
    """
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            with suppress(OSError):
                damage_note(path).touch(0o600)
        raise _storage_error(path, _BY_RESULT_CODE.get(_result_code(error)), str(error)) from error
    except OverflowError as error:
        text = "cannot hold a number that large: money in it ends at 9.2 billion USD. Give a smaller one."
        raise StorageError(f"The database {path} {text}") from error
    except OSError as error:
        raise _storage_error(path, _BY_ERRNO.get(error.errno or 0), error.strerror or str(error)) from error


def damage_note(path: Path) -> Path:
    """The file whose presence says that the database at `path` was found damaged while in use."""
    return path.with_name(f"{path.name}.damaged")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether `error` says that the file itself is no sound database."""
    return _BY_RESULT_CODE.get(_result_code(error)) is _DAMAGED


def too_new(path: Path, found: int, known: int) -> DatabaseTooNew:
    """The error for a schema version that only a later tierwise knows."""
    return DatabaseTooNew(
        f"The database {path} was written by a later tierwise (schema {found}, this one knows {known}). "
        f"Upgrade tierwise, or {_ELSEWHERE}."
    )


def _result_code(error: sqlite3.Error) -> int:
    # The low byte is the primary code. The attribute is absent where the module itself complains.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def _storage_error(path: Path, known: tuple[type[StorageError], str] | None, detail: str) -> StorageError:
    kind, text = known or (StorageError, f"failed: {detail}. Check its folder and disk, or {_ELSEWHERE}.")
    return kind(f"The database {path} {text}")
