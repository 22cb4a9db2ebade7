"""Recordings built byte by byte, as the standards of their containers have them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.audio import EXTENSIONS, audio_type, duration_ms, wav

FRAME = bytes.fromhex("fffb9064") + bytes(413)
"""MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 1,152 samples."""
SLOW_FRAME = bytes.fromhex("fff3144c") + bytes(20)
"""MPEG-2 layer III, 8 kbit/s, 24 kHz: 576 samples."""


def flac(samples: int, rate: int) -> bytes:
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + (rate << 44 | samples).to_bytes(8, "big") + bytes(16)
    return b"fLaC" + b"\x80\x00\x00\x22" + info + bytes(100)


def page(samples: int, body: bytes) -> bytes:
    return b"OggS\0\0" + struct.pack("<qIII", samples, 7, 0, 0) + bytes([1, len(body)]) + body


def opus(samples: int, skipped: int) -> bytes:
    head = b"OpusHead\x01\x01" + struct.pack("<HIhB", skipped, 48_000, 0, 0)
    return page(0, head) + page(0, b"OpusTags") + page(samples, bytes(50))


def vorbis(samples: int, rate: int) -> bytes:
    head = b"\x01vorbis" + struct.pack("<IBI", 0, 1, rate) + bytes(16)
    return page(0, head) + page(samples, bytes(50))


def mp4(length: int, scale: int, *, long: bool = False) -> bytes:
    times = struct.pack(">QQIQ", 0, 0, scale, length) if long else struct.pack(">IIII", 0, 0, scale, length)
    header = bytes([long, 0, 0, 0]) + times + bytes(80)
    mvhd = struct.pack(">I", len(header) + 8) + b"mvhd" + header
    moov = struct.pack(">I", len(mvhd) + 8) + b"moov" + mvhd
    return struct.pack(">I", 16) + b"ftypM4A \0\0\0\0" + moov


def webm(ticks: float, scale: int = 1_000_000) -> bytes:
    info = b"\x2a\xd7\xb1\x83" + scale.to_bytes(3, "big") + b"\x44\x89\x88" + struct.pack(">d", ticks)
    return b"\x1aE\xdf\xa3\x84webm" + b"\x15\x49\xa9\x66" + bytes([0x80 | len(info)]) + info


def tagged(*frames: bytes) -> bytes:
    return b"ID3\x04\0\0\0\0\x02\x01" + bytes(257) + b"".join(frames)


RECORDINGS: dict[str, tuple[bytes, str, int]] = {
    "WAV": (wav(bytes(48_000), 24_000), "audio/wav", 1000),
    "MP3": (FRAME * 1000, "audio/mpeg", 26_122),
    "MP3 of a slow kind": (SLOW_FRAME * 100, "audio/mpeg", 2400),
    "MP3 behind a tag": (tagged(*[FRAME] * 100), "audio/mpeg", 2612),
    "MP3 with a tag at its end": (FRAME * 100 + b"TAG" + bytes(125), "audio/mpeg", 2612),
    "FLAC": (flac(96_000, 48_000), "audio/flac", 2000),
    "Opus": (opus(48_312, 312), "audio/ogg", 1000),
    "Vorbis": (vorbis(66_150, 44_100), "audio/ogg", 1500),
    "M4A": (mp4(3500, 1000), "audio/mp4", 3500),
    "M4A with long times": (mp4(88_200, 44_100, long=True), "audio/mp4", 2000),
    "WebM": (webm(1234.0), "audio/webm", 1234),
    "WebM with ticks of its own": (webm(10.0, 10_000_000), "audio/webm", 100),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_is_known_by_what_is_in_it(name: str) -> None:
    data, kind, length = RECORDINGS[name]
    assert audio_type(data) == kind
    assert duration_ms(data, kind) == length
    assert kind in EXTENSIONS


UNMEASURED: dict[str, bytes] = {
    "a browser's recording, which has no length": b"\x1aE\xdf\xa3\x84webm" + bytes(200),
    "an Ogg file of nothing that is known": page(0, b"fishead") + page(100, bytes(9)),
    "an M4A that is sent in fragments": mp4(0, 1000),
    "a FLAC that was streamed": flac(0, 48_000),
    "a FLAC without a rate": flac(100, 0),
    "an MP3 with something else in it": FRAME + bytes(4000),
    "a tag and nothing behind it": tagged(),
    "a WAV that is cut off in its header": wav(bytes(100), 24_000)[:20],
    "one that claims to play for years": mp4(2**31, 1),
}


@pytest.mark.parametrize("name", UNMEASURED)
def test_a_recording_that_does_not_say_how_long_it_is_gets_no_length(name: str) -> None:
    data = UNMEASURED[name]
    kind = audio_type(data) or "audio/mpeg"
    assert duration_ms(data, kind) is None


def test_a_wav_that_was_streamed_is_as_long_as_what_has_come() -> None:
    data = wav(bytes(24_000), 24_000)
    streamed = data.replace(b"data" + struct.pack("<I", 24_000), b"data\xff\xff\xff\xff")
    assert streamed != data
    assert duration_ms(streamed, "audio/wav") == 500


OTHERS: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "UTF-16": "\ufeffa text of some length".encode("utf-16-le"),
    "a RIFF file that is no WAV": b"RIFF\0\0\0\0AVI " + bytes(50),
    "a frame of MP3 with other bytes behind it": FRAME + b"more" * 10,
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_audio_has_no_kind(name: str) -> None:
    assert audio_type(OTHERS[name]) is None


@given(
    start=st.sampled_from([data[:60] for data, _, _ in RECORDINGS.values()]),
    rest=st.binary(max_size=300),
    kind=st.sampled_from(list(EXTENSIONS)),
)
def test_no_bytes_whatever_break_the_reading(start: bytes, rest: bytes, kind: str) -> None:
    audio_type(start + rest)
    length = duration_ms(start + rest, kind)
    assert length is None or 0 <= length <= 7 * 24 * 3600 * 1000
