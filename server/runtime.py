"""From settings to a running core."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio

from tierwise.routing.clock import zone
from tierwise.routing.engine import Engine, open_engine
from tierwise.routing.engine_settings import EngineSettings
from tierwise.routing.money.spending import budget_of
from tierwise.server.alerts import open_alerts
from tierwise.server.logs import log_errors_of
from tierwise.server.settings import Settings, database_path
from tierwise.storage.ports import Store
from tierwise.storage.sqlite.store import open_store

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def run(main: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T:
    """`anyio.run`, out of which an error comes bare, however many task groups have wrapped it."""

    async def logged() -> T:
        log_errors_of(asyncio.get_running_loop())
        return await main(*arguments)

    try:
        return anyio.run(logged)
    except BaseExceptionGroup as group:
        raise unwrapped(group) from None


def unwrapped(error: BaseException, own: BaseException | None = None) -> BaseException:
    """What stands in groups of one; of a group that is `own`, nothing is taken away."""
    while error is not own and len(inner := getattr(error, "exceptions", ())) == 1:
        (error,) = inner
    return error


@asynccontextmanager
async def open_runtime(settings: Settings, environ: Mapping[str, str]) -> AsyncGenerator[Engine]:
    """The engine on the store that the settings name.

    Raises:
        StorageError: the database cannot be used.
        SemanticUnavailable: a setting needs the extra `semantic`, which is not installed.
        ConfigurationError: what alerts need is not there.
    """
    async with (
        open_storage(settings) as store,
        open_alerts(settings, environ) as send_alert,
        open_engine(engine_settings(settings), store, environ) as engine,
    ):
        engine.alarms.append(send_alert)
        yield engine


def open_storage(settings: Settings) -> AbstractAsyncContextManager[Store]:
    """The store that the settings name, for those who make no calls.

    Raises:
        StorageError: the database cannot be used.
    """
    return open_store(database_path(settings), max_cache_bytes=settings.caching.max_cache_size_mb * 1_000_000)


def spool_folder(settings: Settings) -> Path:
    """Where calls wait that the store cannot take."""
    return database_path(settings).with_suffix(".spool")


def engine_settings(settings: Settings) -> EngineSettings:
    """What the engine needs to know of the settings."""
    semantic = settings.caching.semantic
    return EngineSettings(
        litellm=settings.litellm,
        routing=settings.model_routing,
        pricing=settings.usage_tracking.pricing,
        defaults=settings.defaults,
        reliability=settings.reliability,
        local=settings.local,
        learning=settings.learning,
        conversations=settings.conversations,
        cache_ttl_ms=settings.caching.ttl_seconds * 1000 if settings.caching.enabled else None,
        semantic_threshold=semantic.threshold if semantic.enabled else None,
        tracking=settings.usage_tracking.enabled,
        budgets=tuple(budget_of(budget) for budget in settings.budgets),
        spool=spool_folder(settings),
        time_zone=zone(settings.usage_tracking.time_zone),
        answer_within=settings.server.answer_within,
        media_memory_bytes=settings.server.media_memory_mb * 1_000_000,
    )
