"""Calls as their callers see them: what was asked, what came of it, and whether an error is one to act on."""

import re
import time
from dataclasses import dataclass
from random import Random
from typing import Any

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, CallToolResult

from tests.faults.audit import NUMBER
from tests.faults.servers import Server

Json = dict[str, Any]

PATIENCE = 120.0
"""Seconds after which a caller goes on without an answer."""
_PREFIX = "Number "
_UNTOLD = ("Error executing tool", "Traceback", "tierwise itself failed", "object at 0x")
_ADVICE = re.compile(
    r"\b(try|ask|set|raise|lower|check|choose|give|name|wait|send|shorten|take|make|free|use)\b",
    re.IGNORECASE,
)


@dataclass
class Asked:
    """One call, planned or made."""

    number: str
    arguments: Json
    server: int
    """Its place among the servers."""
    watched: bool
    """The caller wants progress."""
    patience: float | None
    """Seconds after which the caller goes away; None for one that stays to the end."""
    result: CallToolResult | None = None
    """None where the caller did not wait for one, or none came."""
    seconds: float = 0.0
    """Until there was the result."""
    trouble: str | None = None
    """What a caller must never meet."""


def plan(number: str, models: list[str], servers: int, chance: Random) -> Asked:
    """A call that tries the models in their order; `chance` decides the rest."""
    arguments: Json = {
        "prompt": "The same again" if chance.random() < 0.1 else f"{_PREFIX}{number}",
        "model": models[0],
        "fallback_models": models[1:],
        "max_tokens": chance.choice([50, 500]),
        "tenant": chance.choice(["acme", "other"]),
        "metadata": {NUMBER: number},
    }
    return Asked(
        number,
        arguments,
        server=chance.randrange(servers),
        watched=chance.random() < 0.3,
        patience=chance.uniform(0, 1) if chance.random() < 0.05 else None,
    )


def number_in(prompt: str) -> str | None:
    """The number of the call that asks this; None if several ask the same."""
    return prompt.removeprefix(_PREFIX) if prompt.startswith(_PREFIX) else None


async def ask(server: Server, asked: Asked) -> None:
    """Make the call, and fetch its answer if it comes later."""

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        pass

    start = time.monotonic()
    options: Json = {"progress_callback": on_progress} if asked.watched else {}
    with anyio.move_on_after(asked.patience or PATIENCE) as scope:
        try:
            result = await server.client.call_tool("chat", asked.arguments, **options)
            while call_id := _still_running(result):
                result = await server.client.call_tool("chat_result", {"call_id": call_id})
            asked.result, asked.seconds = result, time.monotonic() - start
        except MCPError as error:
            if error.error.code != CONNECTION_CLOSED or not server.leaving:
                asked.trouble = f"the call was answered with {error!r}"
    if scope.cancelled_caught and asked.patience is None:
        asked.trouble = f"there was no answer after {PATIENCE} s"


def _still_running(result: CallToolResult) -> str | None:
    told: Json = result.structured_content or {}
    return told["call_id"] if told.get("status") == "running" else None


def unclear(told: str) -> list[str]:
    """What is wrong with the text of an error."""
    found = [f"says {sign!r}: {told}" for sign in _UNTOLD if sign in told]
    if not _ADVICE.search(told):
        found.append(f"does not say what to do: {told}")
    return found
