"""The root of tierwise's error tree, and the branch that storage raises.

    TierwiseError
    ├── StorageError
    │   ├── DatabaseBusy          another process holds the write lock for too long
    │   ├── DatabaseReadOnly      the file or its folder cannot be written
    │   ├── DatabaseFull          no room left on the disk
    │   ├── DatabaseTooNew        a later tierwise wrote it
    │   ├── UnknownCall           no call is recorded under that id
    │   ├── CallsPruned           what is asked about single calls was deleted with them
    │   └── TooManyGroups         an attribute has too many values to sum up by
    └── …                         see tierwise.routing.errors

Every message is one or two sentences that say what is wrong and what to do next, and is fit to be
shown to the user as it stands: it holds no secret and no prompt text.
"""


class TierwiseError(Exception):
    """Base of every error that tierwise raises on purpose; `str(error)` is the text for the user."""


class StorageError(TierwiseError):
    """The database cannot do what was asked."""


class DatabaseBusy(StorageError):
    """Another process held the write lock for longer than the busy time-out."""


class DatabaseReadOnly(StorageError):
    """The database file or its folder cannot be written."""


class DatabaseFull(StorageError):
    """No room is left on the disk."""


class DatabaseTooNew(StorageError):
    """The file was written by a later tierwise, whose schema this one does not know."""


class UnknownCall(StorageError):
    """No call is recorded under the `call_id` that was given."""


class CallsPruned(StorageError):
    """Some of the single calls that must be looked into for an answer were deleted."""


class TooManyGroups(StorageError):
    """Sums were asked for by an attribute that has more values than anyone reads."""
