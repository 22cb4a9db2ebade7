"""What each provider is known by, and the models that serve each tier when nobody chose any.

The names were checked against litellm's price map of November 2026. A model that the installed
map marks as past its deprecation date is passed over when the ladder is built.
"""

from collections.abc import Mapping
from typing import NamedTuple

from tierwise.routing.media import Modality
from tierwise.routing.request import Tier


class KnownProvider(NamedTuple):
    """A provider that serves without any settings once its key is there."""

    key_variables: tuple[str, ...]
    """The environment variables that may hold its key, as litellm reads them; first is usual."""
    families: tuple[str, ...] = ()
    """Beginnings of model names that belong to it."""
    ladder: tuple[str, str, str] | None = None
    """Models for simple, standard and complex."""
    media: Mapping[Modality, str] = {}
    """The cheapest current models that draw, speak and listen."""
    voice: str = "alloy"
    """One that it has; OpenAI's, which most that are compatible with it know."""

    def model_for(self, tier: Tier) -> str | None:
        return self.ladder[tier.rank] if self.ladder else None


KNOWN_PROVIDERS: dict[str, KnownProvider] = {
    "anthropic": KnownProvider(
        ("ANTHROPIC_API_KEY",), ("claude-",), ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
    ),
    "openai": KnownProvider(
        ("OPENAI_API_KEY",),
        ("gpt-", "chatgpt-", "o1", "o3", "o4"),
        ("gpt-6-luna", "gpt-6.1-sol", "gpt-6-astra"),
        {
            Modality.IMAGE: "gpt-image-2.5-flare",
            Modality.SPEECH: "gpt-4o-mini-tts",
            Modality.TRANSCRIPTION: "gpt-4o-mini-transcribe-2025-12-15",
        },
    ),
    "gemini": KnownProvider(
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        ("gemini-", "gemma-"),
        ("gemini-3.5-flash-lite", "gemini-3.8-flash", "gemini-4-argon"),
        {
            Modality.IMAGE: "gemini-3.1-flash-lite-image",
            Modality.SPEECH: "gemini-3.8-flash-lite-tts",
            Modality.TRANSCRIPTION: "gemini-3.5-transcribe",
        },
        "Kore",
    ),
    "mistral": KnownProvider(
        ("MISTRAL_API_KEY",),
        ("mistral-", "ministral-", "magistral-", "devstral-", "codestral-", "pixtral-"),
        ("ministral-8b-2512", "mistral-small-2603", "mistral-large-4"),
        {Modality.SPEECH: "voxtral-mini-tts-2603", Modality.TRANSCRIPTION: "voxtral-mini-2602"},
        "en_paul_neutral",
    ),
    "deepseek": KnownProvider(
        ("DEEPSEEK_API_KEY",), ("deepseek-",), ("deepseek-v4-flash", "deepseek-v4-flash", "deepseek-v4-pro")
    ),
    "xai": KnownProvider(
        ("XAI_API_KEY",),
        ("grok-",),
        ("grok-4.3", "grok-4.3", "grok-4.7"),
        {Modality.IMAGE: "grok-imagine-image", Modality.TRANSCRIPTION: "grok-voice-transcribe-2.0"},
    ),
    "moonshot": KnownProvider(
        ("MOONSHOT_API_KEY",), ("kimi-", "moonshot-"), ("kimi-k2.5", "kimi-k2.6", "kimi-k3")
    ),
    "zai": KnownProvider(("ZAI_API_KEY",), ("glm-",), ("glm-5.3-flash", "glm-5.3-flash", "glm-5.3")),
    "dashscope": KnownProvider(
        ("DASHSCOPE_API_KEY",), ("qwen",), ("qwen3.8-flash", "qwen3.8-flash", "qwen3.8-max")
    ),
    "groq": KnownProvider(
        ("GROQ_API_KEY",),
        (),
        ("openai/gpt-oss-20b", "openai/gpt-oss-120b", "qwen/qwen3.8-27b"),
        {
            Modality.SPEECH: "canopylabs/orpheus-v1-english",
            Modality.TRANSCRIPTION: "whisper-large-v3-turbo",
        },
        "autumn",
    ),
    "cerebras": KnownProvider(("CEREBRAS_API_KEY",), (), ("llama3.1-8b", "gpt-oss-120b", "qwen-3.8-27b")),
    "openrouter": KnownProvider(
        ("OPENROUTER_API_KEY",),
        (),
        ("anthropic/claude-haiku-5-5", "anthropic/claude-sonnet-5-5", "anthropic/claude-opus-5-5"),
    ),
    "cohere": KnownProvider(("COHERE_API_KEY", "CO_API_KEY"), ("command-",)),
    "together_ai": KnownProvider(("TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY")),
    "fireworks_ai": KnownProvider(("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY")),
    "perplexity": KnownProvider(("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"), ("sonar",)),
    "nvidia_nim": KnownProvider(("NVIDIA_NIM_API_KEY",)),
    "huggingface": KnownProvider(("HF_TOKEN", "HUGGINGFACE_API_KEY")),
    "azure": KnownProvider(("AZURE_API_KEY",)),
    "litellm_proxy": KnownProvider(("LITELLM_PROXY_API_KEY",)),
}

LOCAL_PROVIDERS = frozenset({"ollama", "ollama_chat", "lm_studio", "hosted_vllm", "llamafile", "xinference"})
"""Servers that people run themselves: they need no key, and their tokens cost nothing."""

KEYLESS_PROVIDERS = LOCAL_PROVIDERS | {
    "bedrock",
    "bedrock_converse",
    "sagemaker",
    "vertex_ai",
    "vertex_ai_beta",
}
"""The clouds among them take their credentials from a chain of their own, not from one key."""
