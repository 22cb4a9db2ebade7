"""The breakers' rows; how one changes is said in `tierwise.storage.breakers`."""

import sqlite3
from dataclasses import astuple, fields

from tierwise.storage.breakers import Breaker, BreakerState
from tierwise.storage.ports import FORGOTTEN_AFTER_MS, MOST_BREAKERS
from tierwise.storage.sqlite.database import Database
from tierwise.storage.sqlite.text import storable

_NAMES = [field.name for field in fields(Breaker)]
_COLUMNS = ", ".join(_NAMES)
# The texts are made of names of ours alone, from the record.
_FIND = f"SELECT {_COLUMNS} FROM breakers WHERE deployment = ?"  # noqa: S608
_KEEP = f"INSERT OR REPLACE INTO breakers ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"  # noqa: S608
_NEWEST = f"SELECT {_COLUMNS} FROM breakers ORDER BY failed_at DESC, deployment LIMIT ?"  # noqa: S608
_FORGET = "DELETE FROM breakers WHERE abs(? - failed_at) >= ?"


def note_failure(
    connection: sqlite3.Connection, deployment: str, error: str, now: int, threshold: int, cooldown_ms: int
) -> Breaker:
    """See `Breakers.note_failure`."""
    connection.execute(_FORGET, (now, FORGOTTEN_AFTER_MS))
    before = _find(connection, deployment) or Breaker(deployment=deployment)
    after = before.failed(error, now=now, threshold=threshold, cooldown_ms=cooldown_ms)
    _keep(connection, after)
    return after


def note_success(connection: sqlite3.Connection, deployment: str) -> None:
    """See `Breakers.note_success`."""
    connection.execute("DELETE FROM breakers WHERE deployment = ?", storable((deployment,)))


def half_open(connection: sqlite3.Connection, deployment: str, now: int) -> None:
    """See `Breakers.half_open`."""
    found = _find(connection, deployment)
    if found:
        _keep(connection, found.half_opened(now=now))


def claim_probe(connection: sqlite3.Connection, deployment: str, now: int, lease_ms: int) -> bool:
    """See `Breakers.claim_probe`."""
    found = _find(connection, deployment)
    if found is None or found.state(now) is BreakerState.CLOSED:
        return True
    if found.wait_ms(now):
        return False
    _keep(connection, found.probed(now=now, lease_ms=lease_ms))
    return True


def release_probe(connection: sqlite3.Connection, deployment: str, probe_at: int) -> None:
    """See `Breakers.release_probe`."""
    found = _find(connection, deployment)
    if found:
        _keep(connection, found.released(probe_at=probe_at))


async def read_breakers(database: Database) -> list[Breaker]:
    """See `Breakers.breakers`."""
    return [
        Breaker(**dict(zip(_NAMES, row, strict=True)))
        for row in await database.fetch(_NEWEST, (MOST_BREAKERS,))
    ]


def _find(connection: sqlite3.Connection, deployment: str) -> Breaker | None:
    row = connection.execute(_FIND, storable((deployment,))).fetchone()
    return row and Breaker(**dict(zip(_NAMES, row, strict=True)))


def _keep(connection: sqlite3.Connection, breaker: Breaker) -> None:
    connection.execute(_KEEP, storable(astuple(breaker)))
