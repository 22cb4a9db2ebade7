"""Secrets and prompts that are found again wherever they have leaked."""

import base64
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

_RUN = 8
"""Characters of a secret in a row that must be nowhere."""


def secret(name: str) -> str:
    """A key of 42 characters that resembles no vendor's, so that only knowing it helps, some of which URLs
    and JSON spell otherwise. Another one for each name, the same in each run."""
    return base64.b85encode(blake2b(name.encode(), digest_size=33).digest()).decode().replace("*", "/")


def traces(canary: str, data: bytes) -> set[str]:
    """In what forms the canary or any eight of its characters in a row are in `data`; empty if in none."""
    return {form for form, needle in _needles(canary) if needle in data}


def _needles(canary: str) -> Iterator[tuple[str, bytes]]:
    raw = canary.encode()
    for start in range(len(raw) - _RUN + 1):
        yield f"as it is, from {start}", raw[start : start + _RUN]
    for start in range(0, len(canary) - 2 * _RUN + 1, _RUN):
        part = canary[start : start + 2 * _RUN]
        yield f"in a URL, from {start}", quote(part, safe="").encode()
        yield f"in hexadecimal, from {start}", part.encode().hex().encode()
    for before in range(3):
        digits = base64.b64encode(b"\0" * before + raw).rstrip(b"=")[-(-before * 8 // 6) : -1]
        for start in range(0, len(digits) - 12, 4):
            for alphabet in (b"+/", b"-_"):
                run = digits[start : start + 12].translate(bytes.maketrans(b"+/", alphabet))
                yield f"in base64 after {before} bytes, from {start}", run


def files(folder: Path) -> bytes:
    """The name and the bytes of every file."""
    return b"".join(
        str(path).encode("utf-8", "replace") + path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
