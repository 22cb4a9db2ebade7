"""What kind of audio some bytes are, and for how long they play.

Enough of each container is read to bill by the second; whether it can be played is for the provider to say.
Layouts: RFC 3533 (Ogg), RFC 7845 (Opus), RFC 9639 (FLAC), RFC 9559 (Matroska), ISO 14496-12 (MP4), ISO
11172-3 (MP3), and Microsoft's RIFF.
"""

import struct
import wave
from collections.abc import Callable
from io import BytesIO

_SEARCHED = 4096
"""Bytes at the beginning in which a WebM says how long it is, if it does."""
_SPOKEN_BYTES_PER_SECOND = 4000
"""Of speech at 32 kbit/s, as telephones and browsers record it."""

EXTENSIONS = {
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/mp4": "m4a",
    "audio/webm": "webm",
}
"""The kinds that are known here, each with the end of a file's name by which providers tell it."""


def audio_type(data: bytes) -> str | None:
    """The media type that the first bytes show; None if it is no kind of audio that models take."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "audio/wav"
    if data[4:8] == b"ftyp":
        return "audio/mp4"
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    frame = _mp3_frame(data, 0)  # one alone turns up in files of other kinds
    return "audio/mpeg" if frame and (len(data) == frame[0] or _mp3_frame(data, frame[0])) else None


def duration_ms(data: bytes, media_type: str) -> int | None:
    """How long it plays; None if it does not say, or says nonsense."""
    try:
        seconds = _SECONDS[media_type](data)
    except (struct.error, IndexError, ValueError, ZeroDivisionError, OverflowError, EOFError, wave.Error):
        return None
    return round(seconds * 1000) if 0 < seconds < 7 * 24 * 3600 else None


def guessed_duration_ms(size: int) -> int:
    """About how long a recording of `size` bytes plays that does not say it itself."""
    return max(size * 1000 // _SPOKEN_BYTES_PER_SECOND, 1)


def wav(samples: bytes, rate: int) -> bytes:
    """16-bit mono samples as a WAV file."""
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return out.getvalue()


_MAGIC = {
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"\x1aE\xdf\xa3": "audio/webm",
    b"ID3": "audio/mpeg",
}


def _wav_seconds(data: bytes) -> float:
    place, rate = 12, 0
    while True:
        name, size = struct.unpack_from("<4sI", data, place)
        if name == b"fmt ":
            (rate,) = struct.unpack_from("<I", data, place + 16)
        if name == b"data":  # its size is a lie where the file was streamed
            return min(size, len(data) - place - 8) / rate
        place += 8 + size + size % 2


def _flac_seconds(data: bytes) -> float:
    packed = int.from_bytes(data[18:26], "big")
    return (packed & (1 << 36) - 1) / (packed >> 44)


def _ogg_seconds(data: bytes) -> float:
    last = data.rindex(b"OggS")
    (samples,) = struct.unpack_from("<q", data, last + 6)
    head = data.find(b"OpusHead", 0, _SEARCHED)
    if head >= 0:
        (skipped,) = struct.unpack_from("<H", data, head + 10)
        return (samples - skipped) / 48_000
    (rate,) = struct.unpack_from("<I", data, data.index(b"\x01vorbis", 0, _SEARCHED) + 12)
    return samples / rate


def _mp4_seconds(data: bytes) -> float:
    place = data.index(b"mvhd") + 4
    layout, skipped = (">IQ", 20) if data[place] else (">II", 12)
    scale, length = struct.unpack_from(layout, data, place + skipped)
    return length / scale


def _webm_seconds(data: bytes) -> float:
    scale_at, length_at = data.find(b"\x2a\xd7\xb1\x83", 0, _SEARCHED), data.index(b"\x44\x89", 0, _SEARCHED)
    nanoseconds = int.from_bytes(data[scale_at + 4 : scale_at + 7], "big") if scale_at >= 0 else 1_000_000
    (length,) = struct.unpack_from(">d" if data[length_at + 2] == 0x88 else ">f", data, length_at + 3)
    return length * nanoseconds / 1e9


_BITRATES = (
    (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),  # MPEG-1, layer I
    (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),  # layer II
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # layer III
    (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),  # MPEG-2, layer I
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # layers II and III
)
"""kbit/s by the index in a frame's header, from 1."""
_SAMPLE_RATES = (44_100, 48_000, 32_000)


def _mp3_frame(data: bytes, place: int) -> tuple[int, float] | None:
    """Size in bytes and length in seconds of the frame there; None if there is none."""
    header = int.from_bytes(data[place : place + 4], "big")
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    bitrate, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == 3
    kilobits = _BITRATES[layer - 1 if first else min(layer, 2) + 2][bitrate - 1]
    hertz = _SAMPLE_RATES[rate] // (1 if first else 2 if version == 2 else 4)
    samples = 384 if layer == 1 else 1152 if first or layer == 2 else 576
    padding = (header >> 9 & 1) * (4 if layer == 1 else 1)
    return samples * kilobits * 125 // hertz + padding, samples / hertz


def _mp3_seconds(data: bytes) -> float:
    place, seconds = 0, 0.0
    if data.startswith(b"ID3"):
        size = data[6:10]
        place = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    while (frame := _mp3_frame(data, place)) is not None:
        place, seconds = place + frame[0], seconds + frame[1]
    if place < len(data) // 2:
        raise ValueError("something else is between the frames")
    return seconds


_SECONDS: dict[str, Callable[[bytes], float]] = {
    "audio/wav": _wav_seconds,
    "audio/flac": _flac_seconds,
    "audio/ogg": _ogg_seconds,
    "audio/mp4": _mp4_seconds,
    "audio/webm": _webm_seconds,
    "audio/mpeg": _mp3_seconds,
}
