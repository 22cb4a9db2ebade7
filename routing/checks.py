"""What no model could serve is said before anything is planned or spent."""

from collections.abc import Sequence

from tierwise.routing.errors import InvalidRequest
from tierwise.routing.request import ChatRequest, Message
from tierwise.routing.schemas import check_schema


def check_request(request: ChatRequest) -> None:
    """See that the parts of a request fit together.

    Raises:
        InvalidRequest: they do not; the message says what to change.
    """
    if request.response_schema is not None:
        check_schema("response_schema", request.response_schema)
    _check_tools(request)
    _check_turns(request.history)
    if not request.prompt.strip() and not (request.history and request.history[-1].role == "tool"):
        raise InvalidRequest("`prompt` is empty; say what the model should answer.")


def _check_tools(request: ChatRequest) -> None:
    names = [tool.name for tool in request.tools]
    for tool in request.tools:
        if names.count(tool.name) > 1:
            raise InvalidRequest(f"Two tools have the name {tool.name!r}: give each one of its own.")
        check_schema(f"The schema of the tool {tool.name!r}", tool.parameters)
    choice = request.tool_choice
    if choice is None:
        return
    if not names:
        raise InvalidRequest("tool_choice needs tools to choose from: give some, or leave it out.")
    if choice not in (known := ("auto", "none", "required", *names)):
        raise InvalidRequest(f"tool_choice {choice!r} is none of these: {', '.join(known)}.")


def _check_turns(history: Sequence[Message]) -> None:
    """Every call of a tool is followed at once by its result, and no result comes without its call."""
    open_calls: list[str] = []
    for place, turn in enumerate(history):
        if turn.role == "tool":
            if turn.tool_call_id not in open_calls:
                raise InvalidRequest(
                    f"history[{place}] is the result of {turn.tool_call_id!r}, but no such call stands before"
                    " it: give the assistant's turn with its tool_calls, too."
                )
            open_calls.remove(turn.tool_call_id)
            continue
        _check_answered(open_calls)
        open_calls = [call.id for call in turn.tool_calls]
        if len(set(open_calls)) < len(open_calls):
            raise InvalidRequest(f"history[{place}] has two tool calls with the same id.")
    _check_answered(open_calls)


def _check_answered(open_calls: Sequence[str]) -> None:
    if open_calls:
        raise InvalidRequest(
            f"The tool call {open_calls[0]!r} has no result: add a turn with the role `tool` and its"
            " tool_call_id right after the call."
        )
