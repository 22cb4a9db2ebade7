"""`generate_image`, `speak` and `transcribe`: the same road as `chat`, for what is not an answer in words."""

from typing import Annotated, Any, Literal

from mcp_types import ToolAnnotations
from pydantic import AfterValidator, Field

from tierwise.routing.media import ImageTask, MediaTask, SpeechTask, TranscriptionTask
from tierwise.routing.request import ChatRequest
from tierwise.server.recordings import MOST_CHARACTERS, load_audio
from tierwise.server.tools.base import Answer, Arguments, Text, Tool, ToolContext
from tierwise.server.tools.chat import ChatStatus, Whole, answered, labels
from tierwise.server.tools.conversation import Name


class MediaArguments(Arguments):
    """What all of them take."""

    model: Name | None = Field(None, description="Alias, model or provider/model; default: the cheapest")
    fallback_models: list[Name] | None = Field(
        None, max_length=20, description="Tried in this order if the first model fails"
    )
    max_cost_usd: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Worst-case cost of the call"
    )
    operation: Name | None = Field(None, description="Label for usage reports; default: what is made")
    tenant: Name | None = Field(None, description="On whose behalf; for reports and budgets")
    agent: Name | None = Field(None, description="Who asks; for reports and budgets")
    metadata: Annotated[dict[str, Any], AfterValidator(labels)] | None = Field(
        None, description="Labels kept with the ledger row", json_schema_extra={"additionalProperties": True}
    )

    def request(self, context: ToolContext, prompt: str, task: MediaTask) -> ChatRequest:
        """The same, as the engine takes it."""
        usage = context.settings.usage_tracking
        return ChatRequest(
            prompt=prompt,
            task=task,
            model=self.model,
            fallback_models=None if self.fallback_models is None else tuple(self.fallback_models),
            max_cost_usd=self.max_cost_usd,
            operation=self.operation or task.modality.value,
            tenant=usage.tenant if self.tenant is None else self.tenant,
            agent=usage.agent if self.agent is None else self.agent,
            metadata=self.metadata or {},
        )


class ImageArguments(MediaArguments):
    prompt: Text = Field(description="What the image should show")
    size: Name | None = Field(None, description="auto, or width x height such as 1024x1536")
    quality: Name | None = Field(None, description="auto, low, medium or high; dearer the higher")
    n: Whole = Field(1, description="How many, up to 10")


class SpeechArguments(MediaArguments):
    text: Text = Field(description="What to read out")
    voice: Name | None = Field(None, description="One of the model's voices; needs model")
    format: Literal["mp3", "wav", "flac", "opus"] | None = Field(
        None, description="If the model can; default: what it usually gives"
    )


class TranscriptionArguments(MediaArguments):
    audio: Annotated[str, Field(max_length=MOST_CHARACTERS)] = Field(
        description="The recording: a data URL, base64, or a file in server.media_folders; at most 25 MB"
    )
    language: Name | None = Field(None, description="ISO 639-1, such as de; default: found out")
    prompt: Text = Field("", description="Names and terms that occur, for their spelling")


async def generate_image(context: ToolContext, arguments: ImageArguments) -> Answer:
    """Draw what the prompt says."""
    task = ImageTask(size=arguments.size, quality=arguments.quality, count=arguments.n)
    return await answered(context, arguments.request(context, arguments.prompt, task))


async def speak(context: ToolContext, arguments: SpeechArguments) -> Answer:
    """Read the text out."""
    task = SpeechTask(voice=arguments.voice, format=arguments.format)
    return await answered(context, arguments.request(context, arguments.text, task))


async def transcribe(context: ToolContext, arguments: TranscriptionArguments) -> Answer:
    """Write down what is said."""
    audio = await load_audio(arguments.audio, context.settings.server.media_folders)
    task = TranscriptionTask(audio=audio, language=arguments.language)
    return await answered(context, arguments.request(context, arguments.prompt, task))


GENERATE_IMAGE = Tool(
    name="generate_image",
    title="Make an image",
    description=(
        "Makes images with the cheapest model that can, and says what they cost. Large ones come as links to"
        " media:// resources. What takes long comes back as status `running`: fetch it with chat_result."
    ),
    arguments=ImageArguments,
    result=ChatStatus,
    annotations=ToolAnnotations(destructive_hint=False),
    handler=generate_image,
)

SPEAK = Tool(
    name="speak",
    title="Read a text out",
    description="Makes speech of a text, with the cheapest model that can, and says what it cost.",
    arguments=SpeechArguments,
    result=ChatStatus,
    annotations=ToolAnnotations(destructive_hint=False),
    handler=speak,
)

TRANSCRIBE = Tool(
    name="transcribe",
    title="Write down speech",
    description="Writes down what is said in a recording, with the cheapest model that can.",
    arguments=TranscriptionArguments,
    result=ChatStatus,
    annotations=ToolAnnotations(destructive_hint=False),
    handler=transcribe,
)
