"""Finding OpenAI-compatible servers that run on this machine, such as Ollama or LM Studio."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, cast
from urllib.parse import urlsplit

import anyio

from tierwise.routing.catalog.plain_http import FAILURES, get, port
from tierwise.routing.request import Tier

_PROBE_SECONDS = 0.5
_NAMES_BY_PORT = {11434: "ollama", 1234: "lm-studio", 8080: "llama.cpp", 8000: "vllm"}
_NOT_FOR_CHAT = ("embed", "bge-", "minilm", "rerank")
_PARAMETERS = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])")


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that answered, and the chat models that it offers."""

    name: str
    """`ollama`, `lm-studio`, `llama.cpp` or `vllm` by its port, else `local`."""
    base_url: str
    models: tuple[str, ...]
    """Never empty; smallest first."""


async def find_local_servers(urls: Sequence[str]) -> tuple[LocalServer, ...]:
    """Ask each base URL for its models, all at once and for half a second at most.

    What does not answer, answers something else or has no chat model is left out. Nothing is sent
    but one GET without credentials; proxies are not used and redirects not followed.
    """
    found: dict[str, LocalServer] = {}

    async def probe(url: str) -> None:
        # RecursionError: what a JSON text of a million brackets raises.
        with suppress(*FAILURES, RecursionError):
            if models := by_size(_chat_models(await _get_models(url))):
                found[url] = LocalServer(_name(url), url, models)

    with anyio.move_on_after(_PROBE_SECONDS):
        async with anyio.create_task_group() as probes:
            for url in urls:
                probes.start_soon(probe, url)
    return tuple(found[url] for url in dict.fromkeys(urls) if url in found)


def by_size(models: Sequence[str]) -> tuple[str, ...]:
    """Order model ids by the billions of parameters in their names, unknown ones in the middle."""
    sizes = [size for model in models if (size := _billions(model)) is not None]
    middle = median(sizes) if sizes else 0.0

    def size_or_middle(model: str) -> float:
        size = _billions(model)
        return middle if size is None else size

    return tuple(sorted(models, key=size_or_middle))


def ladder(models: Sequence[str]) -> dict[Tier, tuple[str, ...]]:
    """Deal models, at least one and smallest first, to the tiers."""
    return {tier: (models[place],) for tier, place in zip(Tier, ladder_places(len(models)), strict=True)}


def ladder_places(length: int) -> tuple[int, int, int]:
    """The places of the models for the three tiers in a list of that length, which is not 0."""
    return 0, length // 2, length - 1


def _billions(model: str) -> float | None:
    """Parameters in billions: 0.135 for `smollm2:135m`, 56 for `mixtral:8x7b`, 30 for `qwen3-30b-a3b`."""
    sizes = [
        int(experts or 1) * float(number) / (1 if unit == "b" else 1000)
        for experts, number, unit in _PARAMETERS.findall(model.lower())
    ]
    return max(sizes, default=None)


async def _get_models(url: str) -> Any:
    """The JSON that `{url}/models` answers.

    Raises:
        OSError, ValueError, BrokenResourceError, EndOfStream: no server, or not such a one.
        RecursionError: its JSON nests too deeply.
    """
    status, body = await get(f"{url.rstrip('/')}/models")
    if status != 200:
        raise ValueError("not an answer")
    return json.loads(body)


def _chat_models(answer: Any) -> list[str]:
    """The ids in an answer of OpenAI's shape, `{"data": [{"id": …}, …]}`; none in any other."""
    data: Any = cast("dict[str, Any]", answer).get("data") if isinstance(answer, dict) else None
    entries = cast("list[Any]", data) if isinstance(data, list) else []
    ids = [cast("dict[str, Any]", entry).get("id") for entry in entries if isinstance(entry, dict)]
    return [model for model in ids if isinstance(model, str) and model.isprintable() and chats(model)]


def chats(model: str) -> bool:
    """Does a model of that name answer prompts, as far as the name tells?"""
    return model != "" and not any(mark in model.lower() for mark in _NOT_FOR_CHAT)


def _name(url: str) -> str:
    return _NAMES_BY_PORT.get(port(urlsplit(url)), "local")
