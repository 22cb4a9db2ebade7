"""`generate_image`, `speak` and `transcribe` as an MCP client meets them."""

import base64
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ImageContent,
    ResourceLink,
    TextContent,
)

from tests.fake_provider import MP3, PNG, Behaviour, Exchange, FakeProvider
from tests.server.harness import (
    ERAS,
    MARKS,
    Era,
    Hanging,
    Installation,
    Json,
    chat,
    refusal,
    structured,
    text,
)

pytestmark = MARKS

LARGE = PNG + bytes(800_000)
PRICES = {
    "fake/brush": {"image": 0.04},
    "fake/ear": {"audio_minute": 0.006},
    "fake/voice": {"characters": 15},
}
MADE_BY = {"image": "fake/brush", "speech": "fake/voice", "transcription": ["fake/ear"]}


@pytest.fixture
def studio(installation: Installation) -> Installation:
    """One with all tools, and a model for each of them."""
    installation.configure(
        {
            "server": {"toolset": "full"},
            "usage_tracking": {"pricing": PRICES},
            "model_routing": {"media": MADE_BY},
        }
    )
    return installation


def draws(*images: bytes) -> Behaviour:
    async def draw(exchange: Exchange) -> web.StreamResponse:
        data = [{"b64_json": base64.b64encode(image).decode()} for image in images]
        return web.json_response({"created": 1, "data": data})

    return draw


async def generate(client: Client, **arguments: Any) -> CallToolResult:
    return await client.call_tool("generate_image", {"prompt": "a cat", **arguments})


async def blob(client: Client, uri: str) -> tuple[bytes, str | None]:
    [contents] = (await client.read_resource(uri)).contents
    assert isinstance(contents, BlobResourceContents)
    assert contents.uri == uri
    return base64.b64decode(contents.blob), contents.mime_type


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("era", ERAS)
async def test_an_image_comes_as_image_content_with_its_receipt(studio: Installation, era: Era):
    async with studio.client(era) as client:
        result = await generate(client, n=2, size="1024x1024", quality="low", operation="logo")
        told = structured(result)
        sentence, *images = result.content
        today = structured(await client.call_tool("usage_summary", {"group_by": "operation"}))
        for part in told["media"]:
            assert await blob(client, part["uri"]) == (PNG, "image/png")
    uris = [f"media://{told['call_id']}/{place}" for place in (1, 2)]
    assert told["media"] == [{"uri": uri, "media_type": "image/png", "bytes": len(PNG)} for uri in uris]
    assert (told["status"], told["model"], told["provider"]) == ("done", "fake/brush", "fake")
    assert told["cost_usd"] == 0.08
    assert isinstance(sentence, TextContent)
    assert sentence.text == told["content"] == "; ".join(f"image/png, 67 bytes: {uri}" for uri in uris)
    for image in images:
        assert isinstance(image, ImageContent)
        assert (base64.b64decode(image.data), image.mime_type) == (PNG, "image/png")
    assert len(images) == 2
    (group,) = today["groups"]
    assert (group["key"], group["calls"], group["cost"]) == ("logo", 1, 0.08)


async def test_large_images_come_as_links_that_can_be_read(studio: Installation, fake: FakeProvider):
    fake.always("brush", draws(LARGE, PNG))
    async with studio.client() as client:
        result = await generate(client, n=2)
        told, (_, *links) = structured(result), result.content
        assert len(links) == 2
        for link, part, image in zip(links, told["media"], (LARGE, PNG), strict=True):
            assert isinstance(link, ResourceLink)
            assert (link.uri, link.mime_type, link.size) == (part["uri"], "image/png", len(image))
            assert await blob(client, link.uri) == (image, "image/png")


async def test_speech_comes_as_audio_content(studio: Installation):
    async with studio.client() as client:
        result = await client.call_tool("speak", {"text": "Hello there"})
        told, (_, sound) = structured(result), result.content
        assert await blob(client, told["media"][0]["uri"]) == (MP3, "audio/mpeg")
    assert isinstance(sound, AudioContent)
    assert (base64.b64decode(sound.data), sound.mime_type) == (MP3, "audio/mpeg")
    assert told["cost_usd"] == pytest.approx(11 * 15e-6)
    assert "input_tokens" not in told


async def test_a_transcription_is_the_text_of_the_answer(studio: Installation, fake: FakeProvider):
    async with studio.client() as client:
        result = await client.call_tool("transcribe", {"audio": encoded(MP3), "language": "en"})
        told = structured(result)
        for source in (f"data:audio/mpeg;base64,{encoded(MP3)}", base64.encodebytes(MP3).decode()):
            assert text(await client.call_tool("transcribe", {"audio": source})) == "words heard by ear"
    assert text(result) == told["content"] == "words heard by ear"
    assert "media" not in told
    assert fake.requests[0].fields["language"] == "en"


@pytest.mark.parametrize("era", ERAS)
async def test_what_takes_long_is_handed_back_as_running_and_fetched_later(
    studio: Installation, fake: FakeProvider, era: Era
):
    slow = Hanging()
    fake.always("brush", slow)
    studio.configure({"server": {"answer_within": 0.1}})
    async with studio.client(era) as client:
        running = structured(await generate(client))
        assert running == {"status": "running", "call_id": running["call_id"], "content": ""}
        with pytest.raises(MCPError, match="or no longer"):
            await blob(client, f"media://{running['call_id']}/1")
        slow.released.set()
        while structured(done := await fetch(client, running["call_id"]))["status"] == "running":
            pass
        told, (_, image) = structured(done), done.content
        assert await blob(client, told["media"][0]["uri"]) == (PNG, "image/png")
    assert isinstance(image, ImageContent)
    assert told["cost_usd"] == 0.04


async def fetch(client: Client, call_id: str) -> CallToolResult:
    return await client.call_tool("chat_result", {"call_id": call_id})


async def test_the_oldest_makes_room_where_there_is_too_much(studio: Installation, fake: FakeProvider):
    fake.always("brush", draws(LARGE))
    studio.configure({"server": {"media_memory_mb": 1}})
    async with studio.client() as client:
        first, second = [structured(await generate(client))["media"][0]["uri"] for _ in range(2)]
        with pytest.raises(MCPError, match="until newer images and recordings need its room") as raised:
            await blob(client, first)
        assert raised.value.code == INVALID_PARAMS
        assert (await blob(client, second))[0] == LARGE


@pytest.mark.parametrize("place", ["0", "2", "-1", "x", "", "1/1", "9" * 100, "٣"])
async def test_what_was_never_made_is_told_as_such(studio: Installation, place: str):
    async with studio.client() as client:
        told = structured(await generate(client))
        for call_id in (told["call_id"], "nobody"):
            with pytest.raises(MCPError, match="There is no media://") as raised:
                await blob(client, f"media://{call_id}/{place}")
            assert raised.value.code == INVALID_PARAMS


async def test_the_default_toolset_is_without_them(installation: Installation):
    async with installation.client() as client:
        for tool in ("generate_image", "speak", "transcribe"):
            with pytest.raises(MCPError, match="It is in the full toolset"):
                await client.call_tool(tool, {})


async def test_no_key_is_told_with_the_variable_that_takes_it(studio: Installation):
    studio.configure({"model_routing": {"media": {"image": [], "speech": [], "transcription": []}}})
    async with studio.client() as client:
        assert "Set GEMINI_API_KEY or OPENAI_API_KEY or XAI_API_KEY" in refusal(await generate(client))
        spoken = await client.call_tool("speak", {"text": "Hello"})
        assert "GROQ_API_KEY" in refusal(spoken)


BAD: dict[str, tuple[str, Json, str]] = {
    "no image": ("generate_image", {"prompt": "a cat", "n": 0}, "`n` must be from 1 to 10."),
    "half an image": ("generate_image", {"prompt": "a cat", "n": 1.5}, "`n` must be a whole number"),
    "a size in words": (
        "generate_image",
        {"prompt": "a cat", "size": "big"},
        "`size` must be auto, or width",
    ),
    "nothing to draw": ("generate_image", {"prompt": " "}, "There is nothing to draw."),
    "no prompt": ("generate_image", {}, "`prompt` is missing"),
    "an unknown model": (
        "generate_image",
        {"prompt": "a cat", "model": "unknown-model"},
        "There is no model",
    ),
    "a voice of nobody": ("speak", {"text": "Hello", "voice": "nova"}, "`voice` needs `model`"),
    "a format of nobody": ("speak", {"text": "Hello", "format": "midi"}, "`format` must be 'mp3', 'wav'"),
    "no recording": ("transcribe", {}, "`audio` is missing"),
    "one that is a text": ("transcribe", {"audio": encoded(b"hello" * 99)}, "`audio`: it is a file"),
    "one that is a picture": (
        "transcribe",
        {"audio": f"data:audio/mpeg;base64,{encoded(PNG)}"},
        "`audio`: it is no audio that models take: MP3, WAV, FLAC, Ogg, M4A or WebM.",
    ),
    "broken base64": ("transcribe", {"audio": "data:audio/mpeg;base64,%%%"}, "whose base64 is broken"),
    "a link": ("transcribe", {"audio": "https://example.com/a.mp3"}, "send the recording itself"),
    "a file where none may be read": ("transcribe", {"audio": "/etc/hostname"}, "server.media_folders"),
    "a language in words": (
        "transcribe",
        {"audio": encoded(MP3), "language": "german"},
        "`language` must be",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_arguments_are_told_and_cost_nothing(studio: Installation, fake: FakeProvider, name: str):
    tool, arguments, complaint = BAD[name]
    async with studio.client() as client:
        assert complaint in refusal(await client.call_tool(tool, arguments))
    assert fake.requests == []


async def test_a_recording_may_be_a_file_where_the_settings_allow_that(
    studio: Installation, fake: FakeProvider, tmp_path: Path
):
    allowed, other = tmp_path / "recordings", tmp_path / "other"
    for folder in (allowed, other):
        folder.mkdir()
        (folder / "a b.mp3").write_bytes(MP3)
    (allowed / "out.mp3").symlink_to(other / "a b.mp3")
    with (allowed / "huge.mp3").open("wb") as huge:
        huge.truncate(25 * 2**20 + 1)
    studio.configure({"server": {"media_folders": [str(allowed)]}})
    async with studio.client() as client:

        async def transcribed(source: str) -> CallToolResult:
            return await client.call_tool("transcribe", {"audio": source})

        for source in (str(allowed / "a b.mp3"), (allowed / "a b.mp3").as_uri()):
            assert text(await transcribed(source)) == "words heard by ear"
        for name, complaint in (
            (str(other / "a b.mp3"), "outside of the folders"),
            (str(allowed / ".." / "other" / "a b.mp3"), "outside of the folders"),
            (str(allowed / "out.mp3"), "outside of the folders"),
            (str(allowed / "huge.mp3"), "larger than 25 MB"),
            (str(allowed / "missing.mp3"), "cannot be read"),
            (str(allowed), "cannot be read"),
            ("\0", "cannot be read"),
        ):
            assert complaint in refusal(await transcribed(name))
    assert len(fake.requests) == 2


async def test_a_recording_as_large_as_may_be_passes_and_a_larger_one_does_not(
    studio: Installation, fake: FakeProvider
):
    largest = (MP3 * (25 * 2**20 // len(MP3)))[: 25 * 2**20]
    async with studio.client() as client:
        passed = await client.call_tool("transcribe", {"audio": encoded(largest)})
        assert text(passed) == "words heard by ear"
        larger = encoded(largest + bytes(3000))
        for source in (larger, f"data:audio/mpeg;base64,{larger}"):
            assert "`audio`" in refusal(await client.call_tool("transcribe", {"audio": source}))
    assert len(fake.requests) == 1


async def test_they_go_over_stdio_as_well(studio: Installation, fake: FakeProvider, tmp_path: Path):
    fake.always("brush", draws(LARGE))
    with (tmp_path / "log").open("w") as log:
        async with Client(stdio_client(studio.stdio(), log)) as client:
            drawn = structured(await generate(client))
            assert (await blob(client, drawn["media"][0]["uri"]))[0] == LARGE
            recording = encoded(MP3 * 10_000)  # 5 MB
            heard = await client.call_tool("transcribe", {"audio": recording})
    assert text(heard) == "words heard by ear"


async def test_a_chat_beside_them_is_kept_apart(studio: Installation):
    async with studio.client() as client:
        drawn = structured(await generate(client))
        answered = await chat(client, "Hello")
        groups = structured(await client.call_tool("usage_summary", {"group_by": "tier"}))["groups"]
    assert "tier" not in drawn
    assert {group["key"]: group["calls"] for group in groups} == {"": 1, answered["tier"]: 1}


async def test_an_alias_stands_for_a_model_that_draws_and_is_not_listed_among_those_that_chat(
    studio: Installation, fake: FakeProvider
):
    provider = {"api_base": fake.url, "api_key_env": "FAKE_API_KEY", "models": {"paint": "gpt-image-2"}}
    studio.configure({"litellm": {"providers": {"openai": provider}}})
    async with studio.client() as client:
        drawn = structured(await generate(client, model="paint"))
        listed = structured(await client.call_tool("list_models"))["models"]
        assert "cannot answer in words" in refusal(
            await client.call_tool("chat", {"prompt": "Hi", "model": "paint"})
        )
    assert drawn["model"] == "gpt-image-2"
    assert "gpt-image-2" not in [model["model"] for model in listed]


async def test_what_images_cost_can_be_reckoned_anew(studio: Installation):
    async with studio.client() as client:
        await generate(client, n=3)
        await client.call_tool("speak", {"text": "Hello"})
    changed = {"fake/brush": {"image": 0.05}, "fake/voice": {"characters": 15}}
    studio.configure({"usage_tracking": {"pricing": changed}})
    ended = await studio.run("reprice", "--since", "2026-01-01")
    assert ended.returncode == 0, ended.stderr
    assert b"1 attempt" in ended.stderr
    assert (await studio.ledger())["cost"] == pytest.approx(0.15 + 5 * 15e-6)
