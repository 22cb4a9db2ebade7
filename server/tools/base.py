"""What a tool is, and how its arguments become an answer or a sentence on what is wrong with them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar

from mcp_types import CallToolResult, ContentBlock, TextContent, ToolAnnotations
from mcp_types import Tool as ToolDeclaration
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from tierwise.routing.engine import Engine
from tierwise.routing.errors import InvalidRequest
from tierwise.server.plain import visible
from tierwise.server.schema import compact_schema
from tierwise.server.settings import Settings

MAX_CHARACTERS = 8_000_000
"""Longest text of a call: twice what the largest context windows (1 million tokens) hold."""


class Arguments(BaseModel):
    """What a caller hands in; an unknown argument is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _sendable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a null byte, which no model accepts; take it out")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character; take it out") from None
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"has {len(text):,} characters, more than any model reads; send at most {MAX_CHARACTERS:,}"
        )
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; say what the model should answer")
    return text


def one_line(text: str) -> str:
    """The text, if it can be shown in a report; else `ValueError`."""
    if "\n" in text or "\t" in text or visible(text) != text:
        raise ValueError("holds a control character or a second line; take it out")
    return text


Text = Annotated[str, AfterValidator(_sendable)]
"""Text that can be sent to a model."""
Prompt = Annotated[Text, AfterValidator(_not_blank)]


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a handler may use."""

    engine: Engine
    settings: Settings
    report_progress: Callable[[float, str], Awaitable[None]] | None = None
    """Sends (seconds, text so far) to the caller; None if nobody asked for progress."""
    shows_apps: bool = False
    """The caller shows MCP Apps."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A handler's result: `structured` is for programs, `text` for the model that called."""

    structured: BaseModel
    text: str | None = None
    """None writes the structured result as compact JSON."""
    media: tuple[ContentBlock, ...] = ()
    """What comes after the text."""
    meta: dict[str, Any] | None = None
    """What goes to the host beside the result, and not to the model."""


ArgumentsT = TypeVar("ArgumentsT", bound=Arguments)


@dataclass(frozen=True, kw_only=True)
class Tool(Generic[ArgumentsT]):
    """One MCP tool."""

    name: str
    title: str
    description: str
    arguments: type[ArgumentsT]
    result: type[BaseModel]
    annotations: ToolAnnotations
    handler: Callable[[ToolContext, ArgumentsT], Awaitable[Answer]]
    app: str | None = None
    """The URI of the MCP App that shows the results."""

    @cached_property
    def declaration(self) -> ToolDeclaration:
        """The tool as `tools/list` shows it."""
        return ToolDeclaration(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=compact_schema(self.arguments),
            output_schema=compact_schema(self.result, output=True),
            annotations=self.annotations,
        )

    def declaration_with_app(self) -> ToolDeclaration:
        """The same for hosts that show MCP Apps."""
        meta = {"ui": {"resourceUri": self.app}} if self.app else None
        return self.declaration.model_copy(update={"meta": meta})

    def parse(self, arguments: Mapping[str, Any]) -> ArgumentsT:
        """The arguments as the handler takes them.

        Raises:
            InvalidRequest: see `parsed`.
        """
        return parsed(self.arguments, arguments, self.name)

    async def call(self, context: ToolContext, arguments: Mapping[str, Any]) -> CallToolResult:
        """Run the handler on `arguments`.

        Raises:
            InvalidRequest: the arguments do not fit.
            TierwiseError: whatever else the handler could not do.
        """
        answer = await self.handler(context, self.parse(arguments))
        text = (
            answer.text if answer.text is not None else answer.structured.model_dump_json(exclude_unset=True)
        )
        return CallToolResult(
            content=[TextContent(text=text), *answer.media],
            structured_content=answer.structured.model_dump(mode="json", exclude_unset=True),
            _meta=answer.meta,
        )


def parsed(model: type[ArgumentsT], arguments: Mapping[str, Any], owner: str) -> ArgumentsT:
    """`arguments`, as they came over the wire, in the shape of `model`; `owner` is what they were given to.

    Raises:
        InvalidRequest: they do not fit; the message names each that does not.
    """
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
    told = [_sentence(problem, owner, list(model.model_fields)) for problem in problems[:2]]
    more = f" (and {len(problems) - 2} more)" if len(problems) > 2 else ""
    raise InvalidRequest((". ".join(dict.fromkeys(told)) + more + ".").replace("?.", "?"))


def _sentence(problem: ErrorDetails, owner: str, known: list[str]) -> str:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}"[:80] for part in problem["loc"])
    name = f"`{where.removeprefix('.')}`" if where else "the name of each argument"
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{name} {_unknown(problem['loc'], owner, known)}"
    if kind == "value_error":
        return f"{name} {context['error']}" if problem["loc"] else str(context["error"])
    if kind in ("literal_error", "enum"):
        return f"{name} must be {context['expected']}"
    for limit, words in _LIMITS.items():
        if limit in context:
            return f"{name} must be {words} {context[limit]:,}"
    return f"{name} {_FAULTS.get(kind) or _FAULTS.get(kind.split('_')[0], 'has the wrong type')}"


def _unknown(where: tuple[int | str, ...], owner: str, known: list[str]) -> str:
    name = str(where[-1])[:80]
    if len(where) > 1:
        return "is not known there; take it out"
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(known) or 'none'}"
    return f"is not an argument of {owner}; {hint}"


_LIMITS = {
    "gt": "greater than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
    "max_length": "no longer than",
}
_FAULTS = {
    "missing": "is missing",
    "string_too_short": "is empty",
    "string": "must be text",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "bool": "must be true or false",
    "list": "must be a list",
    "tuple": "must be a list",
    "dict": "must be an object",
    "model": "must be an object",
}
"""What to say by pydantic's error type, or by its first word."""
