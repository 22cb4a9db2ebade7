"""What stands in the way of an installation, one finding after another, each with what to do about it."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.request import Tier
from tierwise.server.health import DeploymentHealth, GatewayHealth, ProvidersHealth, providers_health
from tierwise.server.logs import redactor
from tierwise.server.runtime import open_runtime
from tierwise.server.settings import Settings, database_path
from tierwise.storage.breakers import BreakerState
from tierwise.storage.errors import StorageError, TierwiseError

_LITTLE_SPACE = 100_000_000
"""Bytes that are left of a disk that is nearly full."""
_ENOUGH_ATTEMPTS = 5
"""Fewer say little of how often a model answers."""
_POOR_RATE = 0.5
_NAMED = 10
"""Models that are named where all are meant."""

Status = Literal["ok", "warning", "error"]


class Finding(BaseModel):
    check: str
    status: Status
    message: str
    fix: str | None = None


class Diagnosis(BaseModel):
    """`ok` says that nothing keeps calls from being served."""

    ok: bool
    findings: list[Finding]
    health: ProvidersHealth | None = None


async def diagnosis(settings: Settings, environ: Mapping[str, str], file: Path | None) -> Diagnosis:
    """Look at all of it; endpoints of the user's own are asked for their models, but no model is called.

    Raises:
        TierwiseError: there is no running; see `fatal`.
    """
    read = f"read from {file}" if file else "no file; all keys have their defaults"
    async with open_runtime(settings, environ) as engine:
        catalog = await engine.catalog()
        await engine.checks.check_all(paid=True)
        health = await providers_health(engine)
        findings = [
            _found("settings", "ok", read),
            *_database(database_path(settings)),
            *_keys(catalog),
            *_tiers(catalog, health),
            *map(_gateway, health.gateways),
            *map(_deployment, health.deployments),
        ]
    return Diagnosis(ok=all(it.status != "error" for it in findings), findings=findings, health=health)


def fatal(error: TierwiseError) -> Diagnosis:
    """The diagnosis where nothing can be looked at because of `error`."""
    check = "database" if isinstance(error, StorageError) else "settings"
    return Diagnosis(ok=False, findings=[_found(check, "error", redactor(os.environ)(str(error)))])


def _found(check: str, status: Status, message: str, fix: str | None = None) -> Finding:
    given = {"fix": fix} if fix else {}
    return Finding(check=check, status=status, message=message, **given)


def _database(path: Path) -> Iterator[Finding]:
    size = sum(part.stat().st_size for part in (path, path.with_name(f"{path.name}-wal")) if part.exists())
    free = shutil.disk_usage(path.parent).free
    message = f"{path} can be written and has {size / 1e6:,.1f} MB"
    if free < _LITTLE_SPACE:
        fix = "Free some space, or set TIERWISE_DATA_DIR to a folder on another disk."
        yield _found("database", "warning", f"{message}; its disk has {free / 1e6:,.0f} MB left", fix)
    else:
        yield _found("database", "ok", message)


def _keys(catalog: Catalog) -> Iterator[Finding]:
    models = [model for model, _ in catalog.models()]
    for variable in sorted({model.key_variable for model in models if model.key_variable}):
        [*wanting] = (model for model in models if model.key_variable == variable)
        more = f" and {len(wanting) - _NAMED} more" if len(wanting) > _NAMED else ""
        names = ", ".join(model.id for model in wanting[:_NAMED]) + more
        if wanting[0].key_present:
            yield _found("keys", "ok", f"{variable} is set, for {names}")
        else:
            fix = f"Set {variable} in the `env` of the tierwise entry in your host's MCP configuration."
            yield _found(
                "keys", "warning", f"{variable} is not set{wanting[0].key_fault}: needed by {names}", fix
            )
    if any(model.provider == "demo" for model in models):
        fix = "Set a provider's key, such as OPENAI_API_KEY, or start a local server such as Ollama."
        yield _found("keys", "warning", "none is set, so answers come from demo/ and no model is called", fix)


def _tiers(catalog: Catalog, health: ProvidersHealth) -> Iterator[Finding]:
    serving = {(fares.provider, fares.model) for fares in health.deployments if _serves(fares)}
    for tier in Tier:
        models = [model for rung in Tier if rung.rank >= tier.rank for model in catalog.tiers.get(rung, ())]
        able = [model for model in models if (model.provider, model.id) in serving]
        if not able:
            fix = "See the other findings, or name further models in model_routing.rules."
            yield _found(f"{tier} tier", "error", "no model can serve it now", fix)
        elif able[0] not in catalog.tiers.get(tier, ()):
            message = f"only models of a higher tier can serve it: {able[0].id}"
            yield _found(f"{tier} tier", "warning", message)


def _serves(fares: DeploymentHealth) -> bool:
    return fares.retry_in_s is None and not (fares.check and fares.check.error)


def _gateway(gateway: GatewayHealth) -> Finding:
    if gateway.fault:
        fault, _, fix = gateway.fault.partition("; ")
        return _found(gateway.provider, "warning", fault, fix[:1].upper() + fix[1:])
    return _found(gateway.provider, "ok", f"{gateway.endpoint} offers {gateway.models} models")


def _deployment(fares: DeploymentHealth) -> Finding:
    traffic, check = fares.traffic, fares.check
    rate = traffic.success_rate if traffic and traffic.attempts >= _ENOUGH_ATTEMPTS else None
    told = _told(fares)
    if check and check.error:
        fix = f"Start the server at {fares.endpoint}, or correct litellm.providers.{fares.provider}.api_base."
        return _found(fares.model, "warning", f"{fares.endpoint}: {check.error}; {told}", fix)
    if fares.state is not BreakerState.CLOSED:
        fix = "It is tried again by itself; until then other models serve."
        return _found(fares.model, "warning", f"{fares.note or fares.state}; {told}", fix)
    if rate is not None and rate < _POOR_RATE:
        return _found(fares.model, "warning", told, "See `tierwise export` for what each attempt came to.")
    return _found(fares.model, "ok", told)


def _told(fares: DeploymentHealth) -> str:
    traffic = fares.traffic
    if traffic is None:
        return (
            "the endpoint answers; no calls of late"
            if fares.check and not fares.check.error
            else "no calls of late"
        )
    parts = [f"{traffic.attempts} attempt{'s' if traffic.attempts > 1 else ''} within the hour"]
    if traffic.success_rate is not None:
        parts.append(f"{traffic.success_rate:.0%} answered")
    if traffic.p50_ms is not None and traffic.p95_ms is not None:
        parts.append(f"p50 {traffic.p50_ms:,.0f} ms, p95 {traffic.p95_ms:,.0f} ms")
    if traffic.last_error:
        parts.append(f"last failure: {traffic.last_error}")
    return ", ".join(parts)
