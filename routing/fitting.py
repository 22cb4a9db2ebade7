"""Does an answer have the form that was asked for, and what is said to the model where it has not?"""

import json
import re
from dataclasses import replace

from tierwise.routing.errors import FormatMismatch
from tierwise.routing.providers.base import Completion
from tierwise.routing.request import Message, Payload
from tierwise.routing.schemas import faults

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)
_MAX_RAW = 2000
"""Characters of an unfit answer that an error quotes."""


def instructed(payload: Payload) -> Payload:
    """The payload for a model that is told its schema in words, having no mode for it."""
    if payload.response_schema is None:
        return payload
    order = (
        "Reply with one JSON value that keeps to this JSON Schema, and with nothing else: no words around it,"
        f" no code fence.\n{payload.response_schema}"
    )
    first, *rest = payload.messages
    if first.role == "system":
        messages = (replace(first, content=f"{first.content}\n\n{order}"), *rest)
    else:
        messages = (Message("system", order), *payload.messages)
    return replace(payload, messages=messages, response_schema=None)


def trimmed(completion: Completion, payload: Payload) -> Completion:
    """The completion without a code fence around the JSON that was asked for."""
    fenced = payload.response_schema is not None and _FENCED.fullmatch(completion.content)
    return replace(completion, content=fenced[1]) if fenced else completion


def misfits(completion: Completion, payload: Payload) -> list[str]:
    """What is wrong with the form of an answer, in words; [] if it is as `payload` asks."""
    if completion.tool_calls:
        return _call_faults(completion, payload)
    if payload.tools and payload.tool_choice not in (None, "auto", "none"):
        return ["it calls no tool, though tool_choice asks for one"]
    if payload.response_schema is None:
        return []
    found = faults(payload.response_schema, completion.content)
    if found and completion.finish_reason == "length":
        return ["it was cut off: raise max_tokens"]
    return found


def _call_faults(completion: Completion, payload: Payload) -> list[str]:
    schemas = {tool.name: tool.parameters for tool in payload.tools}
    found: list[str] = []
    for call in completion.tool_calls:
        if call.name not in schemas:
            found.append(f"there is no tool {call.name[:100]!r}")
        else:
            found += [f"{call.name}: {fault}" for fault in faults(schemas[call.name], call.arguments)]
    return found


def repair(payload: Payload, completion: Completion, wrong: list[str]) -> Payload:
    """The same again, with the unfit answer and what is wrong with it."""
    told = "; ".join(wrong)
    answer = Message("assistant", completion.content, tool_calls=completion.tool_calls)
    if completion.tool_calls:
        results = (
            Message("tool", f"Not run: {told}. Call it again as its schema asks.", tool_call_id=call.id)
            for call in completion.tool_calls
        )
        return replace(payload, messages=(*payload.messages, answer, *results))
    order = f"That is not what was asked for: {told}. Reply again, with nothing but the corrected value."
    return replace(payload, messages=(*payload.messages, answer, Message("user", order)))


def mismatch(model: str, completion: Completion, wrong: list[str]) -> FormatMismatch:
    """The error of an answer that had the wrong form twice."""
    raw = completion.content or json.dumps([[it.name, it.arguments] for it in completion.tool_calls])
    told = f"{raw[:_MAX_RAW]}…" if len(raw) > _MAX_RAW else raw
    return FormatMismatch(f"{model} missed the schema in two tries: {'; '.join(wrong)}. It wrote: {told}")
