"""What a request needs of a model beside room for its words, and what is done where a model lacks it."""

from dataclasses import replace

from tierwise.routing.catalog.ladders import KNOWN_PROVIDERS, KnownProvider
from tierwise.routing.catalog.models import Model
from tierwise.routing.fitting import instructed
from tierwise.routing.media import ImageTask, Modality, SpeechTask
from tierwise.routing.request import ChatRequest, Payload

DOES = {
    Modality.CHAT: "answer in words",
    Modality.IMAGE: "make images",
    Modality.SPEECH: "read out",
    Modality.TRANSCRIPTION: "write down what is said",
}

_ONE_BY_ONE = frozenset({"gemini", "vertex_ai"})
"""Whose models answer more than one candidate with an error where these are images."""


def inability(request: ChatRequest, model: Model) -> str | None:
    """Why the model cannot take the request, by what is known of it; None if it can."""
    payload = request.payload
    if model.modality not in (None, request.modality):
        return f"cannot {DOES[request.modality]}"
    if isinstance(payload.task, ImageTask) and payload.task.count > 1 and model.provider in _ONE_BY_ONE:
        return "makes one image at a time; ask for one"
    if any(message.images for message in payload.messages) and not model.can("vision"):
        return "cannot see images"
    if payload.tools and not model.can("function_calling"):
        return "cannot call tools"
    if _thinks_in_vain(payload, model) and not request.drop_params:
        return "cannot be told how long to think; drop_params leaves reasoning_effort away"
    return None


def adapted(payload: Payload, model: Model) -> Payload:
    """What `model` is sent of `payload`: all of it but for parameters that it does not know, and a schema
    in words where it has no mode for that."""
    if isinstance(payload.task, SpeechTask) and payload.task.voice is None:
        voice = KNOWN_PROVIDERS.get(model.provider, KnownProvider(())).voice
        return replace(payload, task=replace(payload.task, voice=voice))
    if payload.reasoning_effort and not model.can("reasoning"):
        payload = replace(payload, reasoning_effort=None)
    return payload if model.has("response_schema") else instructed(payload)


def dropped(request: ChatRequest, model: Model) -> tuple[str, ...]:
    """The parameters of the request that `model` is not sent."""
    return ("reasoning_effort",) if _thinks_in_vain(request.payload, model) else ()


def _thinks_in_vain(payload: Payload, model: Model) -> bool:
    return payload.reasoning_effort not in (None, "none") and not model.can("reasoning")
