"""Images, speech and transcriptions: what is asked for in place of an answer in words, and what is made."""

from dataclasses import dataclass, field
from enum import StrEnum


class Modality(StrEnum):
    """What a request is for."""

    CHAT = "chat"
    IMAGE = "image"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A recording, ready to be sent."""

    media_type: str
    """Such as `audio/mpeg`."""
    data: bytes = field(repr=False)
    duration_ms: int
    measured: bool
    """Whether the recording itself says how long it is; else it is told by its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTask:
    """Draw what the prompt says."""

    size: str | None = None
    """Such as `1024x1536`, in pixels; None and `auto` leave it to the model, as with `quality`."""
    quality: str | None = None
    """`low`, `medium` or `high`; some models also have others, such as `hd` or `max`."""
    count: int = 1

    @property
    def modality(self) -> Modality:
        return Modality.IMAGE

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height; None where they are left to the model."""
        width, times, height = (self.size or "").partition("x")
        return (int(width), int(height)) if times else None

    @property
    def form(self) -> str:
        """`quality/size`, by which some providers price an image."""
        size, quality = (None if it == "auto" else it for it in (self.size, self.quality))
        return f"{quality or ''}/{size or ''}" if size or quality else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechTask:
    """Read the prompt out."""

    voice: str | None = None
    """As the provider calls it; None is a voice that the provider has."""
    format: str | None = None
    """Such as `mp3`; None is the provider's usual one."""

    @property
    def modality(self) -> Modality:
        return Modality.SPEECH


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionTask:
    """Write down what is said; a prompt may hold names that occur."""

    audio: Audio
    language: str | None = None
    """ISO 639-1, such as `de`; None lets the model find out."""

    @property
    def modality(self) -> Modality:
        return Modality.TRANSCRIPTION


MediaTask = ImageTask | SpeechTask | TranscriptionTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a model has made."""

    media_type: str
    """Such as `image/png`."""
    data: bytes = field(repr=False)
