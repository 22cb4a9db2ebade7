"""The embedded store: everything in one SQLite file that several processes share."""

from tierwise.storage.sqlite.store import SQLiteStore, open_store

__all__ = ["SQLiteStore", "open_store"]
