"""Recordings that callers hand in."""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from tierwise.routing.audio import audio_type, duration_ms, guessed_duration_ms
from tierwise.routing.checks import MOST_AUDIO_BYTES
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.media import Audio
from tierwise.server.media_files import decoded, read, too_large

MOST_CHARACTERS = MOST_AUDIO_BYTES * 4 // 3 + 1000
"""Of a recording in base64, behind what a data URL begins with."""


async def load_audio(source: str, folders: Sequence[Path]) -> Audio:
    """The recording in `source`: a data URL, bare base64, or a file inside one of `folders`.

    Raises:
        InvalidRequest: it cannot be read, is too large, or is no audio that models take.
    """
    try:
        return await anyio.to_thread.run_sync(_load, source, folders)
    except InvalidRequest as error:
        raise InvalidRequest(f"`audio`: {error}") from None


def _load(source: str, folders: Sequence[Path]) -> Audio:
    data = _data(source, folders)
    kind = audio_type(data)
    if kind is None:
        raise InvalidRequest("it is no audio that models take: MP3, WAV, FLAC, Ogg, M4A or WebM.")
    length = duration_ms(data, kind)
    return Audio(
        media_type=kind,
        data=data,
        duration_ms=guessed_duration_ms(len(data)) if length is None else length,
        measured=length is not None,
    )


def _data(source: str, folders: Sequence[Path]) -> bytes:
    if source.lower().startswith("data:"):
        return decoded(source, MOST_AUDIO_BYTES)
    if source.lower().startswith(("http:", "https:")):
        raise InvalidRequest("it is a link, and only pictures are fetched: send the recording itself.")
    bare = _bare_base64(source)
    return read(source, folders, MOST_AUDIO_BYTES) if bare is None else bare


def _bare_base64(text: str) -> bytes | None:
    """The bytes that `text` stands for; None if it looks more like the name of a file."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)  # it may be broken into lines
    except (binascii.Error, ValueError):
        return None
    if audio_type(data) is None:
        return None
    if len(data) > MOST_AUDIO_BYTES:
        raise too_large(MOST_AUDIO_BYTES)
    return data
