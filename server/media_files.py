"""Pictures and recordings as callers hand them in: data URLs, and files where the settings allow it."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from tierwise.routing.errors import InvalidRequest


def decoded(url: str, most: int) -> bytes:
    """What a data URL holds, of at most so many bytes.

    Raises:
        InvalidRequest: it is none, or too large; the message begins with "it".
    """
    kind, comma, data = url.partition(",")
    if not comma or not kind.lower().endswith(";base64"):
        raise InvalidRequest("it is a data URL that does not begin with data:<type>;base64,")
    if len(data) > most * 4 // 3 + 4:
        raise too_large(most)
    try:
        return base64.b64decode(unquote(data), validate=True)
    except binascii.Error:
        raise InvalidRequest("it is a data URL whose base64 is broken.") from None


def read(source: str, folders: Sequence[Path], most: int) -> bytes:
    """The file at a full path or a file URL, which must lie inside one of `folders`, of at most so many
    bytes. Blocks.

    Raises:
        InvalidRequest: it may not or cannot be read, or is too large; the message begins with "it".
    """
    path = Path(url2pathname(urlsplit(source).path) if source.lower().startswith("file:") else source)
    if not folders:
        raise InvalidRequest(
            "it is a file, and server.media_folders in the settings names no folder to read files from."
        )
    try:
        found = path.expanduser().resolve(strict=True)  # so that no link leads out
        if not any(found.is_relative_to(folder.expanduser().resolve()) for folder in folders):
            raise InvalidRequest("it is outside of the folders that server.media_folders names.")
        with found.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError, RuntimeError):
        raise InvalidRequest("it is a file that cannot be read; give its full path.") from None
    if len(data) > most:
        raise too_large(most)
    return data


def too_large(most: int) -> InvalidRequest:
    return InvalidRequest(f"it is larger than {most // 2**20} MB: make it smaller.")
