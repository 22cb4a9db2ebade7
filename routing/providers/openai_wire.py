"""Payloads and tool calls in the shape of OpenAI's chat completions, which litellm takes for everyone."""

import base64
import json
from collections.abc import Iterable
from typing import Any

from tierwise.routing.request import Image, Message, Payload, ToolCall, ToolDefinition
from tierwise.routing.schemas import is_strict

Json = dict[str, Any]

_EPHEMERAL: Json = {"type": "ephemeral"}
"""Anthropic's mark: keep it for five minutes."""
_CHOICES = frozenset({"auto", "none", "required"})


def wire_messages(payload: Payload) -> list[Json]:
    """The conversation; the ends of its system prompt and of its earlier turns are marked if that is asked
    for, so that the first serves other conversations too."""
    wire = [_message(message) for message in payload.messages]
    if payload.cache_prefix:
        system = [place for place, message in enumerate(payload.messages) if message.role == "system"]
        for place in {*system[:1], len(wire) - 2} - {-1}:
            _mark(wire[place])
    return wire


def wire_options(payload: Payload) -> Json:
    """What else shapes the answer, but only what was asked for."""
    options: Json = {}
    if payload.temperature is not None:
        options["temperature"] = payload.temperature
    if payload.tools:
        options["tools"] = [_tool(tool) for tool in payload.tools]
        if payload.cache_prefix:
            options["tools"][-1]["cache_control"] = _EPHEMERAL
    if payload.tools and payload.tool_choice is not None:
        options["tool_choice"] = _choice(payload.tool_choice)
    if payload.response_schema is not None:
        schema = {"name": "answer", "schema": json.loads(payload.response_schema)}
        schema["strict"] = is_strict(payload.response_schema)
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    if payload.reasoning_effort is not None:
        options["reasoning_effort"] = payload.reasoning_effort
    return options


def _message(message: Message) -> Json:
    wire: Json = {"role": message.role, "content": message.content}
    if message.images:
        wire["content"] = [*map(_image, message.images), {"type": "text", "text": message.content}]
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _mark(message: Json) -> None:
    """Tell where a prefix ends that is worth keeping: a block of text can carry that, a bare text cannot."""
    if message["role"] == "tool" or not message["content"]:
        message["cache_control"] = _EPHEMERAL
        return
    content: str | list[Json] = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    message["content"] = [*blocks[:-1], {**blocks[-1], "cache_control": _EPHEMERAL}]


def _image(image: Image) -> Json:
    data = base64.b64encode(image.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{data}"}}


def _tool(tool: ToolDefinition) -> Json:
    function: Json = {"name": tool.name, "parameters": json.loads(tool.parameters)}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _choice(choice: str) -> str | Json:
    return choice if choice in _CHOICES else {"type": "function", "function": {"name": choice}}


class ToolCallParts:
    """Puts tool calls together from the parts in which they are streamed; a whole one is a single part."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def feed(self, parts: Iterable[Any] | None) -> None:
        """Add what one chunk, or the whole answer, has under `tool_calls`."""
        for place, part in enumerate(parts or ()):
            index = getattr(part, "index", None)
            call = self._calls.setdefault(
                place if index is None else index, {"id": "", "name": "", "arguments": ""}
            )
            function = getattr(part, "function", None)
            call["id"] = call["id"] or getattr(part, "id", None) or ""
            call["name"] = call["name"] or getattr(function, "name", None) or ""
            call["arguments"] += getattr(function, "arguments", None) or ""

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls in the order in which the model has made them."""
        return tuple(
            ToolCall(id=call["id"] or f"call_{index}", name=call["name"], arguments=call["arguments"] or "{}")
            for index, call in sorted(self._calls.items())
            if call["name"]
        )
