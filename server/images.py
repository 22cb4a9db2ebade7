"""Pictures that callers hand in: fetched, checked, and made no larger than models look at."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from tierwise.routing.errors import InvalidRequest
from tierwise.routing.request import Image
from tierwise.server.media_files import decoded, read

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_BYTES = 20 * 2**20
"""Of one picture as it is handed in; OpenAI takes 20 MB, Gemini as much, Anthropic 5 MB after encoding."""
_MAX_PIXELS = 50_000_000
"""A picture of a few kilobytes can claim gigabytes; no camera that people own takes more than this."""
_USEFUL_EDGE = 1568
"""Pixels; Anthropic scales anything larger down to that (docs.anthropic.com, Vision), OpenAI and Google
read tiles of 512 and 768 from pictures scaled to less."""
_MAX_SENT_BYTES = 3_500_000
"""So that it stays under Anthropic's 5 MB in base64."""
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
"""What all providers take."""

_SECONDS = 20.0
"""For a picture to come."""


async def load_images(sources: Sequence[str], folders: Sequence[Path]) -> tuple[Image, ...]:
    """The pictures at `sources`: https URLs, data URLs, or files inside one of `folders`.

    Raises:
        InvalidRequest: one cannot be read, is none, or is too large; the message says which.
    """
    images: list[Image] = []
    for place, source in enumerate(sources):
        try:
            data = await _data(source, folders)
            images.append(await anyio.to_thread.run_sync(_checked, data))
        except InvalidRequest as error:
            raise InvalidRequest(f"`images[{place}]`: {error}") from None
    return tuple(images)


async def _data(source: str, folders: Sequence[Path]) -> bytes:
    scheme = source.partition(":")[0].lower()
    if scheme == "data":
        return decoded(source, MAX_BYTES)
    if scheme in ("http", "https"):
        from tierwise.routing.fetching import fetch  # which brings an HTTP client along

        return (await fetch(source, max_bytes=MAX_BYTES, seconds=_SECONDS)).content
    return await anyio.to_thread.run_sync(read, source, folders, MAX_BYTES)


def _too_many_pixels() -> InvalidRequest:
    return InvalidRequest(f"it has more than {_MAX_PIXELS // 10**6} million pixels: make it smaller.")


def _checked(data: bytes) -> Image:
    """The picture, smaller where it is larger than useful."""
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    try:
        with pillow.open(io.BytesIO(data), formats=tuple(_TYPES)) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise _too_many_pixels()
            picture.load()  # all of it, or one that was cut off would pass
            if max(picture.size) <= _USEFUL_EDGE and len(data) <= _MAX_SENT_BYTES:
                return _image(data, _TYPES[picture.format or ""], picture)
            return _smaller(picture)
    except UnidentifiedImageError:
        raise InvalidRequest("it is no picture: PNG, JPEG, WebP and GIF can be sent.") from None
    except pillow.DecompressionBombError:
        raise _too_many_pixels() from None
    except (OSError, SyntaxError, ValueError):
        raise InvalidRequest("it is a picture that is damaged or cut off.") from None


def _smaller(picture: "Picture") -> Image:
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)  # what turns it is lost when it is written anew
    transparent = upright.has_transparency_data
    upright = upright.convert("RGBA" if transparent else "RGB")
    upright.thumbnail((_USEFUL_EDGE, _USEFUL_EDGE))
    out = io.BytesIO()
    upright.save(out, "WEBP" if transparent else "JPEG", quality=90)
    return _image(out.getvalue(), _TYPES["WEBP" if transparent else "JPEG"], upright)


def _image(data: bytes, media_type: str, picture: "Picture") -> Image:
    return Image(media_type=media_type, data=data, width=picture.width, height=picture.height)
