"""What no model could serve is said before anything is planned or spent."""

import re
from collections.abc import Sequence

from tierwise.routing.audio import EXTENSIONS
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.media import ImageTask, MediaTask, SpeechTask, TranscriptionTask
from tierwise.routing.request import AUTO, ChatRequest, Message
from tierwise.routing.schemas import check_schema

MOST_IMAGES = 10
"""Of one call: OpenAI's limit, which others share."""
QUALITIES = ("auto", "low", "medium", "high", "xhigh", "max", "standard", "hd")
"""What models know; each takes some of them."""
_SIZE = re.compile(r"\d{1,5}x\d{1,5}")
_LEAST_EDGE = 64
_MOST_EDGE = 8192
"""Pixels; no model of today draws more."""
MOST_AUDIO_BYTES = 25 * 2**20
"""Of a recording: OpenAI's limit, and Groq's without an account of the larger kind."""
_LANGUAGE = re.compile("[a-z]{2,3}")


def check_request(request: ChatRequest) -> None:
    """See that the parts of a request fit together.

    Raises:
        InvalidRequest: they do not; the message says what to change.
    """
    if request.response_schema is not None:
        check_schema("response_schema", request.response_schema)
    if request.model and request.model.startswith("auto:") and request.preference is None:
        raise InvalidRequest(
            f"There is no model {request.model[:100]!r}: {', '.join(AUTO)} choose by themselves."
        )
    _check_tools(request)
    _check_turns(request.history)
    if request.task is not None:
        _check_task(request, request.task)
    elif not request.prompt.strip() and not (request.history and request.history[-1].role == "tool"):
        raise InvalidRequest("`prompt` is empty; say what the model should answer.")


def _check_task(request: ChatRequest, task: MediaTask) -> None:
    if request.history or request.tools or request.response_schema or request.conversation_id:
        raise InvalidRequest("Images, speech and transcriptions take no history, tools or schema.")
    if isinstance(task, TranscriptionTask):
        _check_recording(task)
    elif not request.prompt.strip():
        raise InvalidRequest(f"There is nothing to {'read out' if isinstance(task, SpeechTask) else 'draw'}.")
    if isinstance(task, ImageTask):
        _check_image(task)
    if isinstance(task, SpeechTask) and task.voice and request.model is None:
        raise InvalidRequest("`voice` needs `model`, since each provider has voices of its own.")


def _check_image(task: ImageTask) -> None:
    if not 1 <= task.count <= MOST_IMAGES:
        raise InvalidRequest(f"`n` must be from 1 to {MOST_IMAGES}.")
    if task.quality is not None and task.quality not in QUALITIES:
        raise InvalidRequest(f"`quality` must be one of {', '.join(QUALITIES)}.")
    size = task.size or "auto"
    edges = [int(edge) for edge in size.split("x")] if _SIZE.fullmatch(size) else []
    if size != "auto" and not (edges and all(_LEAST_EDGE <= edge <= _MOST_EDGE for edge in edges)):
        raise InvalidRequest(
            f"`size` must be auto, or width x height in pixels such as 1024x1536, each from {_LEAST_EDGE} to"
            f" {_MOST_EDGE:,}."
        )


def _check_recording(task: TranscriptionTask) -> None:
    if task.audio.media_type not in EXTENSIONS or not task.audio.data:
        raise InvalidRequest(
            "The audio is of a kind that no model takes: send MP3, WAV, FLAC, Ogg, M4A or WebM."
        )
    if len(task.audio.data) > MOST_AUDIO_BYTES:
        raise InvalidRequest(
            f"The audio is larger than {MOST_AUDIO_BYTES // 2**20} MB: cut it, or compress it."
        )
    if task.language is not None and not _LANGUAGE.fullmatch(task.language):
        raise InvalidRequest("`language` must be two letters as in ISO 639-1, such as de.")


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
