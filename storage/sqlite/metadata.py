"""The metadata of calls: one way to write it, so that a pair can be found in it as text.

Keys and values reach SQLite as parameters only.
"""

import json
from collections.abc import Mapping

from tierwise.storage.records import MetadataKey
from tierwise.storage.sqlite.text import clean


def metadata_text(metadata: Mapping[str, str]) -> str | None:
    """A JSON object in ASCII, without blanks; None if it is empty."""
    return _json({_text(key): _text(value) for key, value in metadata.items()}) if metadata else None


def pair_text(key: MetadataKey, value: str) -> str:
    """What stands in the text of every object that has the pair. Objects without it may hold it too, in
    the middle of a longer key."""
    return _json({_text(key.name): _text(value)})[1:-1]


def metadata_path(key: MetadataKey) -> str:
    """The JSON path to the key. SQLite compares keys as they are written, escapes and all."""
    return f"$.{_json(_text(key.name))}"


def metadata_value(value: str) -> str:
    """The value as it comes out of the text again."""
    return _text(value)


def _text(text: str) -> str:
    # To SQLite's JSON functions a text ends at a NUL.
    return clean(text).replace("\0", "\ufffd")


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
