"""Making a database file ready to be opened: folder, file, damage, schema, key. All of it blocks."""

import errno
import logging
import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from tierwise.storage.errors import StorageError
from tierwise.storage.sqlite.database import connect
from tierwise.storage.sqlite.errors import damage_note, is_damage, storage_errors
from tierwise.storage.sqlite.key import load_key
from tierwise.storage.sqlite.migrate import migrate

_logger = logging.getLogger(__name__)

_KEY = "cache.key"

# A full check takes about 4 ms for each MB: larger files get it only after damage was met in use.
_ALWAYS_CHECKED = 4 * 1024**2


def prepare(path: Path, busy_timeout: float) -> bytes:
    """Leave a sound database of the current schema at `path`; returns the key of cache digests.

    A damaged file is renamed to `<name>.corrupt-<UTC time>` and replaced by an empty one. One
    process at a time prepares a database, so none can set aside the new file of another.

    Raises:
        StorageError: the matching subclass, where there is one.
    """
    with storage_errors(path):
        _make_folder(path.parent)
        _refuse_links(path)
        with _alone(path, busy_timeout):
            if path.exists() and _is_damaged(path, busy_timeout):
                _set_aside(path)
            damage_note(path).unlink(missing_ok=True)
            _create(path)
            _refuse_read_only(path)
            with closing(connect(path, busy_timeout)) as connection:
                if not connection.execute("PRAGMA page_count").fetchone()[0]:
                    # So that room can be given back to the disk bit by bit, while others use the file.
                    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                # Readers and the one writer do not wait for each other; the file remembers it.
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection, path)
            return load_key(path.with_name(_KEY))


def _make_folder(folder: Path) -> None:
    """Make `folder` with the folders above it, all of them for its owner alone."""
    missing = [it for it in (folder, *folder.parents) if not it.exists()]
    for it in reversed(missing):
        it.mkdir(mode=0o700, exist_ok=True)  # another process may be as far as this one
    if folder.stat().st_mode & stat.S_IWOTH:
        _logger.warning("Everybody can put files into %s, and take them away: run chmod 700 on it.", folder)


def _refuse_links(path: Path) -> None:
    """Whoever could plant a link here would choose the file that is written, or the key."""
    beside = (f"{path.name}{suffix}" for suffix in ("-wal", "-shm", "-journal", ".lock"))
    for part in (path, *map(path.with_name, beside), path.with_name(_KEY), damage_note(path)):
        if part.is_symlink():
            raise StorageError(
                f"{part} is a symbolic link, through which tierwise would write elsewhere. Remove it, or set"
                " TIERWISE_DATA_DIR to the folder in which the file really lies."
            )


@contextmanager
def _alone(path: Path, busy_timeout: float) -> Generator[None]:
    # An empty SQLite file serves as the lock: it works on every system and dies with its process.
    lock = path.with_name(f"{path.name}.lock")
    _create(lock)
    with closing(connect(lock, busy_timeout)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def _create(path: Path) -> None:
    # Only a file that did not exist may be opened here: closing one that SQLite has open in this
    # process would drop its locks (https://www.sqlite.org/howtocorrupt.html, 2.2).
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _refuse_read_only(path: Path) -> None:
    # SQLite would open such a file without complaint, and fail at the first call to be recorded.
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _is_damaged(path: Path, busy_timeout: float) -> bool:
    try:
        with closing(connect(path, busy_timeout)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if path.stat().st_size > _ALWAYS_CHECKED and not damage_note(path).exists():
                return False
            return connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return True
        raise


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"{path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    # The main file goes last: until it is gone, every other process still finds the damage.
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    _logger.warning("The database %s was damaged. It is kept as %s, and a new one begins.", path, aside)
