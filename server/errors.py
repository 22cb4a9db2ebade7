"""The server branch of the error tree whose root is `tierwise.storage.errors.TierwiseError`.

TierwiseError
├── StorageError …            see tierwise.storage.errors
├── InvalidRequest …          see tierwise.routing.errors
├── ConfigurationError        the settings cannot be read or do not fit
├── UnusableFile              a file cannot be read, written or understood
├── CannotInstall             a host's file is not there, or not ours to change
└── CannotListen              the address to listen on is taken or not ours
"""

from tierwise.storage.errors import TierwiseError


class ConfigurationError(TierwiseError):
    """The settings cannot be read or do not fit.

    The message has one line for each problem, at most five; a line names the file (and its line)
    or the variable, then the key, then what to do. It never holds a value from the settings.
    """


class UnusableFile(TierwiseError):
    """A file that cannot be read, written or understood, or is in the ledger in part; the message names it,
    and the line where that is what is wrong."""


class CannotInstall(TierwiseError):
    """A host is not there, or its file cannot be read, understood or changed; it was left as it is."""


class CannotListen(TierwiseError):
    """The server cannot take the address that it was told to listen on."""
