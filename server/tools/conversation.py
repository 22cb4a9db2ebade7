"""Turns and tools as callers write them."""

import json
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StringConstraints, model_validator

from tierwise.routing.request import Message, ToolCall, ToolDefinition
from tierwise.server.tools.base import Arguments, Text, one_line

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(one_line)
]

OBJECTS: dict[str, JsonValue] = {"items": {"type": "object"}}
"""For lists of what has a shape that agents know: spelling it out would cost more than it helps."""


def json_text(value: Any) -> Any:
    """A JSON value as text; text is left as it is."""
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)


JsonText = Annotated[Text, BeforeValidator(json_text)]


def _function(value: Any) -> Any:
    """OpenAI's `{type, function: {…}}` as the flat form."""
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    if not isinstance(given.get("function"), dict):
        return given
    rest = {key: part for key, part in given.items() if key not in ("type", "function")}
    return {**rest, **given["function"]}


class CalledTool(Arguments):
    """A tool call of an earlier turn."""

    id: Name
    name: Name
    arguments: JsonText = "{}"

    _flat = model_validator(mode="before")(_function)


class Turn(Arguments):
    role: Literal["user", "assistant", "system", "tool"]
    content: Text = ""
    tool_calls: Annotated[list[CalledTool], Field(json_schema_extra=OBJECTS)] | None = None
    tool_call_id: Name | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Turn":
        if (self.tool_call_id is None) == (self.role == "tool"):
            raise ValueError("has a tool_call_id exactly when its role is `tool`")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("has tool_calls, which only an assistant's turn can have")
        if not self.content and self.role != "tool" and not self.tool_calls:
            raise ValueError("has no content")
        return self


class OfferedTool(Arguments):
    """A tool that the model may call: OpenAI's form, flat or nested; MCP's and Anthropic's names of the
    schema are understood."""

    name: str = Field(pattern="^[a-zA-Z0-9_-]{1,64}$")
    description: Text = ""
    parameters: JsonText = '{"type": "object", "properties": {}}'

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        flat = _function(value)
        if not isinstance(flat, dict):
            return flat
        names = {"inputSchema": "parameters", "input_schema": "parameters"}
        known = cast("dict[str, Any]", flat)
        return {names.get(key, key): part for key, part in known.items() if key not in ("strict", "type")}


def messages(history: list[Turn] | None) -> tuple[Message, ...]:
    """The turns as the engine takes them."""
    return tuple(
        Message(
            turn.role,
            turn.content,
            tool_calls=tuple(
                ToolCall(id=call.id, name=call.name, arguments=call.arguments)
                for call in turn.tool_calls or ()
            ),
            tool_call_id=turn.tool_call_id,
        )
        for turn in history or ()
    )


def definitions(tools: list[OfferedTool] | None) -> tuple[ToolDefinition, ...]:
    """The tools as the engine takes them."""
    return tuple(
        ToolDefinition(name=tool.name, description=tool.description, parameters=tool.parameters)
        for tool in tools or ()
    )
