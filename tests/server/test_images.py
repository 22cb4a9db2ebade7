"""Pictures shown with a prompt: checked here, sent as each provider wants them, counted."""

import base64
import io
import struct
import zlib
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from tests.fake_provider import FakeProvider
from tests.server.harness import MARKS, Installation, Json, chat, refusal

pytestmark = MARKS

PROMPT = "What is on it?"


def picture(width: int = 40, height: int = 30, kind: str = "PNG", mode: str = "RGB", **save: Any) -> bytes:
    out = io.BytesIO()
    noise = Image.effect_noise((width, height), 60).convert(mode)
    noise.save(out, kind, **save)
    return out.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def sent(fake: FakeProvider) -> bytes:
    """The picture as OpenAI's wire carries it."""
    image, text = fake.requests[-1].json["messages"][-1]["content"]
    assert text == {"type": "text", "text": PROMPT}
    return base64.b64decode(cast("str", image["image_url"]["url"]).partition(",")[2])


async def test_each_provider_gets_it_in_its_own_shape(everywhere: Installation, fake: FakeProvider):
    small = picture()
    async with everywhere.client() as client:
        for wire in ("openai", "anthropic", "gemini"):
            await chat(client, PROMPT, model=wire, images=[data_url(small)])
    openai, anthropic, gemini = (request.json for request in fake.requests)
    encoded = base64.b64encode(small).decode()
    assert openai["messages"][0]["content"][0]["image_url"]["url"] == f"data:image/png;base64,{encoded}"
    source = anthropic["messages"][0]["content"][0]["source"]
    assert (source["type"], source["media_type"], source["data"]) == ("base64", "image/png", encoded)
    inline = next(part["inline_data"] for part in gemini["contents"][0]["parts"] if "inline_data" in part)
    assert (inline["mime_type"], inline["data"]) == ("image/png", encoded)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_picture_of_a_useful_size_is_sent_as_it_is(
    installation: Installation, fake: FakeProvider, kind: str
):
    original = picture(kind=kind)
    async with installation.client() as client:
        await chat(client, PROMPT, images=[data_url(original)])
    assert sent(fake) == original


async def test_a_larger_one_is_made_smaller_and_stays_upright(installation: Installation, fake: FakeProvider):
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: lies on its side
    original = picture(4000, 2000, "JPEG", exif=turned)
    async with installation.client() as client:
        await chat(client, PROMPT, images=[data_url(original, "image/jpeg")])
    assert opened(sent(fake)).size == (784, 1568)


async def test_what_is_transparent_stays_so(installation: Installation, fake: FakeProvider):
    out = io.BytesIO()
    Image.new("RGBA", (3000, 3000), (255, 0, 0, 0)).save(out, "PNG")
    async with installation.client() as client:
        await chat(client, PROMPT, images=[data_url(out.getvalue())])
    small = opened(sent(fake))
    assert small.size == (1568, 1568)
    assert small.getchannel("A").getextrema() == (0, 0)


async def test_only_models_that_see_are_asked(everywhere: Installation, fake: FakeProvider):
    rules = {"simple": {"model": ["openai/gpt-3.5-turbo", "gemini"]}}
    everywhere.configure({"model_routing": {"rules": rules}})
    blind: Json = {"model": "openai/gpt-3.5-turbo", "fallback_models": []}
    async with everywhere.client() as client:
        receipt = await chat(client, PROMPT, images=[data_url(picture())], tier="simple")
        asked = {"prompt": PROMPT, "images": [data_url(picture())], **blind}
        alone = await client.call_tool("chat", asked)
    assert receipt["provider"] == "gemini"
    assert "cannot see images" in refusal(alone)


async def test_another_picture_is_another_question(installation: Installation, fake: FakeProvider):
    first, second = data_url(picture()), data_url(picture())
    async with installation.client() as client:
        cached = [(await chat(client, PROMPT, images=[url]))["cached"] for url in (first, second, first)]
    assert cached == [False, False, True]


async def test_its_size_counts_in_what_a_call_may_cost(installation: Installation, fake: FakeProvider):
    large = data_url(picture(1500, 1500, "JPEG"))
    asked: Json = {"prompt": PROMPT, "model": "fake/large", "max_tokens": 1, "fallback_models": []}
    async with installation.client() as client:
        await chat(client, **asked, max_cost_usd=0.01)
        costly = await client.call_tool("chat", {**asked, "images": [large], "max_cost_usd": 0.01})
    assert "over the price cap" in refusal(costly)


@pytest.fixture
def album(installation: Installation, tmp_path: Path) -> Path:
    """A folder that the settings allow."""
    folder = tmp_path / "album"
    folder.mkdir()
    (folder / "ours.png").write_bytes(picture())
    (tmp_path / "theirs.png").write_bytes(picture())
    (folder / "link.png").symlink_to(tmp_path / "theirs.png")
    installation.configure({"server": {"media_folders": [str(folder)]}})
    return folder


@pytest.mark.parametrize("form", ["{}/ours.png", "file://{}/ours.png"])
async def test_a_file_in_an_allowed_folder_is_read(
    installation: Installation, fake: FakeProvider, album: Path, form: str
):
    async with installation.client() as client:
        await chat(client, PROMPT, images=[form.format(album)])
    assert sent(fake) == (album / "ours.png").read_bytes()


@pytest.mark.parametrize("name", ["../theirs.png", "link.png", "../../../../../../etc/passwd"])
async def test_a_file_outside_of_it_is_not(
    installation: Installation, fake: FakeProvider, album: Path, name: str
):
    async with installation.client() as client:
        result = await client.call_tool("chat", {"prompt": PROMPT, "images": [f"{album}/{name}"]})
    assert "is outside of the folders" in refusal(result)
    assert not fake.requests


def bomb() -> bytes:
    """A PNG of some hundred bytes that claims to be 30,000 pixels wide and high."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


BAD: dict[str, tuple[str, str]] = {
    "no picture": (data_url(b"hello"), "is no picture"),
    "a PDF that says it is a picture": (data_url(b"%PDF-1.7 ..."), "is no picture"),
    "a picture that was cut off": (data_url(picture()[:200]), "damaged or cut off"),
    "a bomb": (data_url(bomb()), "has more than 50 million pixels"),
    "broken base64": ("data:image/png;base64,####", "whose base64 is broken"),
    "no base64": ("data:image/png,abc", "does not begin with data:<type>"),
    "too many bytes": (data_url(b"x" * (21 * 2**20)), "is larger than 20 MB"),
    "http": ("http://example.com/a.png", "Only https:// with a host is fetched"),
    "a file, where none is allowed": ("/etc/passwd", "server.media_folders"),
    "another scheme": ("ftp://example.com/a.png", "server.media_folders"),
    "nothing": ("", "server.media_folders"),
    "a host of this machine": ("https://localhost/a.png", "cannot be reached on the public internet"),
    "a host of the cloud's own": ("https://169.254.169.254/latest/meta-data", "cannot be reached"),
    "an address that is spelt oddly": ("https://0x7f.1/a.png", "cannot be reached"),
    "a host of the private network": ("https://[fd00::1]/a.png", "cannot be reached"),
}


@pytest.mark.parametrize(("url", "complaint"), BAD.values(), ids=BAD)
async def test_what_is_no_picture_is_told_and_costs_nothing(
    installation: Installation, fake: FakeProvider, url: str, complaint: str
):
    async with installation.client() as client:
        result = await client.call_tool("chat", {"prompt": PROMPT, "images": [data_url(picture()), url]})
    assert refusal(result).startswith("`images[1]`: ")
    assert complaint in refusal(result)
    assert not fake.requests


async def test_there_is_an_end_to_pictures(installation: Installation, fake: FakeProvider):
    async with installation.client() as client:
        result = await client.call_tool("chat", {"prompt": PROMPT, "images": [data_url(picture())] * 17})
    assert "`images` must be no longer than 16" in refusal(result)
