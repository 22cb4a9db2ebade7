"""The parts of the settings that shape calls, and what each part of the engine needs of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path

from tierwise.routing.attempt import AttemptSettings
from tierwise.routing.reliability.upstream_queue import QueueLimits
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.routing.router import RetrySettings
from tierwise.routing.settings import (
    ConversationSettings,
    DefaultSettings,
    LearningSettings,
    LiteLLMSettings,
    LocalSettings,
    ModelPrice,
    RoutingSettings,
)
from tierwise.storage.budgets import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The parts of the settings that shape calls."""

    litellm: LiteLLMSettings = field(default_factory=LiteLLMSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    pricing: Mapping[str, ModelPrice] = field(default_factory=dict[str, ModelPrice])
    defaults: DefaultSettings = field(default_factory=DefaultSettings)
    reliability: ReliabilitySettings = field(default_factory=ReliabilitySettings)
    local: LocalSettings = field(default_factory=LocalSettings)
    learning: LearningSettings = field(default_factory=LearningSettings)
    conversations: ConversationSettings = field(default_factory=ConversationSettings)
    cache_ttl_ms: int | None = 3_600_000
    """How long answers are kept; None switches the cache off."""
    semantic_threshold: float | None = None
    """The least similarity of prompts that share an answer; None shares none."""
    tracking: bool = True
    """Write calls into the ledger."""
    budgets: tuple[Budget, ...] = ()
    """Put into the store when the engine opens."""
    spool: Path | None = None
    """The folder for calls that cannot be written down yet."""
    time_zone: tzinfo = UTC
    """In which the periods of budgets begin."""
    answer_within: float = 50.0
    """Seconds for which callers wait for an answer before they are told that it is still coming."""
    media_memory_bytes: int = 128 * 2**20
    """Of images and speech that can still be fetched."""


def retry_settings(settings: EngineSettings) -> RetrySettings:
    """How the router retries."""
    return RetrySettings(
        max_retries=settings.litellm.max_retries,
        retry_delay=settings.litellm.retry_delay,
        deadline=settings.reliability.deadline,
    )


def attempt_settings(settings: EngineSettings) -> AttemptSettings:
    """How it makes each attempt."""
    return AttemptSettings(
        timeout=settings.litellm.timeout,
        logprobs=settings.routing.cascade.min_mean_logprob is not None,
        reliability=settings.reliability,
    )


def queue_limits(settings: EngineSettings) -> QueueLimits:
    """How much it does at once."""
    limits = {name: provider.max_concurrent for name, provider in settings.litellm.providers.items()}
    known = {name: limit for name, limit in limits.items() if limit is not None}
    return QueueLimits(
        max_concurrent=settings.reliability.max_concurrent_calls,
        max_queued=settings.reliability.max_queued_calls,
        of_provider={"embedded": 1, **known},  # it generates one answer at a time, whoever waits where
    )
