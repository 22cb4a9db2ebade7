"""`rate_answer`: what the caller thinks of an answer, so that routing gets better."""

from typing import Annotated

from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from tierwise.server.tools.base import Answer, Arguments, Text, Tool, ToolContext
from tierwise.storage.outcomes import Verdict


class RateArguments(Arguments):
    call_id: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="From the receipt")
    verdict: Verdict = Field(description="Of the model that answered, for this prompt")
    note: Text | None = Field(None, max_length=500, description="Kept with the verdict")


class Rated(BaseModel):
    call_id: str
    verdict: Verdict


async def rate_answer(context: ToolContext, arguments: RateArguments) -> Answer:
    await context.engine.judgement.rate(arguments.call_id, arguments.verdict, arguments.note)
    text = f"Noted: {arguments.verdict}."
    return Answer(Rated(call_id=arguments.call_id, verdict=arguments.verdict), text)


RATE_ANSWER = Tool(
    name="rate_answer",
    title="Rate an answer",
    description="Says how well a chat was routed; too_weak moves its conversation to a better model.",
    arguments=RateArguments,
    result=Rated,
    annotations=ToolAnnotations(destructive_hint=False, idempotent_hint=True, open_world_hint=False),
    handler=rate_answer,
)
