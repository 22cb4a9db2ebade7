"""The server branch of the error tree whose root is `tierwise.storage.errors.TierwiseError`.

TierwiseError
├── StorageError …            see tierwise.storage.errors
├── InvalidRequest …          see tierwise.routing.errors
├── ConfigurationError        the settings cannot be read or do not fit
├── CannotListen              the address to listen on is taken or not ours
├── CannotExport              a file cannot be written
└── CannotImport              a file is not what it should be, or is in the ledger in part
"""

from tierwise.storage.errors import TierwiseError


class ConfigurationError(TierwiseError):
    """The settings cannot be read or do not fit.

    The message has one line for each problem, at most five; a line names the file (and its line)
    or the variable, then the key, then what to do. It never holds a value from the settings.
    """


class CannotListen(TierwiseError):
    """The server cannot take the address that it was told to listen on."""


class CannotExport(TierwiseError):
    """A file cannot be written, or not in that format."""


class CannotImport(TierwiseError):
    """A file cannot be read, is not what it should be, or is in the ledger in part; nothing was imported."""
