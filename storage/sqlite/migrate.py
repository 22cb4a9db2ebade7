"""Bringing a database to the schema that this version knows."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tierwise.storage.sqlite.errors import too_new

# `NNNN_name.sql`, without gaps from 1: the number is the schema version that it leads to.
_SCRIPTS = sorted(Path(__file__).with_name("migrations").glob("*.sql"))


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Run the migrations that the database at `path` lacks, each in a transaction with its version.

    Processes may do this at the same time: whoever comes second finds the work done.

    Raises:
        DatabaseTooNew: the file has a later version than the last migration here.
        sqlite3.Error: the database cannot be read or written; the migration is rolled back.
    """
    found = _version(connection)
    if found > len(_SCRIPTS):
        raise too_new(path, found, len(_SCRIPTS))
    for version, script in enumerate(_SCRIPTS[found:], start=found + 1):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if _version(connection) < version:
                _apply(connection, version, script.read_text("utf-8"))


def _apply(connection: sqlite3.Connection, version: int, script: str) -> None:
    for statement in _statements(script):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {version}")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _statements(script: str) -> Iterator[str]:
    # `executescript` would commit the transaction that it is called in.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
