"""How each deployment fares: its circuit breaker, its traffic of late, and the last look at its endpoint."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from tierwise.routing.catalog import gateways
from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.catalog.models import Model
from tierwise.routing.engine import Engine
from tierwise.routing.reliability.endpoint_checks import Check
from tierwise.routing.reliability.health import Health
from tierwise.routing.reliability.observations import MOST_CALLS, WINDOW_MS
from tierwise.storage.breakers import BreakerState

MAX_MODELS = 200
"""Most models that are listed: an agent reads all of it, and an endpoint may offer thousands."""
_WORDS = {
    "authentication_failed": "its key was refused",
    "bad_response": "an answer that is none",
    "connection_failed": "no connection",
    "format_mismatch": "an answer of another form than asked for",
    "model_not_found": "no such model there",
    "quota_exhausted": "its budget or credit there is spent",
    "rate_limited": "rate limited",
    "server_failed": "an error of its server",
    "timeout": "no answer in time",
    "unsafe_response": "an answer that was not safe to read",
}
"""Failures in our own words, by their codes."""


class Traffic(BaseModel):
    """What the ledger tells of the attempts of late; what is not known is left out."""

    attempts: int
    success_rate: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    ms_per_token: float | None = None
    failovers: int
    last_error: str | None = None
    last_error_at: str | None = None


class EndpointCheck(BaseModel):
    at: str
    error: str | None


class DeploymentHealth(BaseModel):
    """One model at one endpoint."""

    model: str
    provider: str
    endpoint: str | None = None
    state: BreakerState
    failures_in_a_row: int
    note: str | None = None
    """Why it is left alone, and until when."""
    retry_in_s: float | None = None
    traffic: Traffic | None = None
    check: EndpointCheck | None = None


class GatewayHealth(BaseModel):
    """An endpoint that is asked for its models, such as a LiteLLM proxy."""

    provider: str
    endpoint: str
    models: int | None
    """How many it offers; null if it has never said so."""
    fault: str | None
    """Why it could not be asked the last time, and what to do."""
    asked_s_ago: float


class ProvidersHealth(BaseModel):
    """All deployments, `MAX_MODELS` at most; `traffic` is that of the last `window_s`, and of `most_calls`
    at most."""

    window_s: int
    most_calls: int
    deployments: list[DeploymentHealth]
    gateways: list[GatewayHealth] = []


async def providers_health(engine: Engine) -> ProvidersHealth:
    """How each model of the catalogue fares that has its key.

    Raises:
        UnknownModel: the settings name a model that does not exist.
    """
    await engine.inventory.look_again()
    catalog, health = await engine.catalog(), await engine.vitals.health()
    asked = [_gateway(found) for found in engine.inventory.gateways.health()]
    return ProvidersHealth(
        window_s=WINDOW_MS // 1000,
        most_calls=MOST_CALLS,
        deployments=[_deployment(model, health, engine) for model in _usable(catalog)[:MAX_MODELS]],
        **({"gateways": asked} if asked else {}),
    )


def traffic_of(model: Model, health: Health) -> Traffic | None:
    """The model's traffic of late; None if there was none."""
    seen = health.observation(model)
    if seen is None:
        return None
    known: dict[str, Any] = {
        "success_rate": _rounded(seen.success_rate, 4),
        "p50_ms": _rounded(seen.p50_ms, 1),
        "p95_ms": _rounded(seen.p95_ms, 1),
        "ms_per_token": _rounded(seen.ms_per_token, 2),
        "last_error": seen.last_error and _WORDS.get(seen.last_error, seen.last_error.replace("_", " ")),
        "last_error_at": None if seen.last_error_at is None else _instant(seen.last_error_at),
    }
    return Traffic(attempts=seen.attempts, failovers=seen.failovers, **_given(known))


def _gateway(found: gateways.GatewayHealth) -> GatewayHealth:
    return GatewayHealth(
        provider=found.provider,
        endpoint=found.api_base,
        models=found.models,
        fault=found.fault,
        asked_s_ago=round(found.checked_ms_ago / 1000, 1),
    )


def _usable(catalog: Catalog) -> list[Model]:
    return [model for model, _ in catalog.models() if model.key_present]


def _deployment(model: Model, health: Health, engine: Engine) -> DeploymentHealth:
    breaker, rest = health.breakers.get(model.deployment), health.rest(model)
    optional: dict[str, Any] = {
        "endpoint": model.endpoint,
        "note": rest.reason if rest else health.trial(model),
        "retry_in_s": rest.retry_after if rest else None,
        "traffic": traffic_of(model, health),
        "check": _check(engine.checks.results.get(model.endpoint or "")),
    }
    return DeploymentHealth(
        model=model.id,
        provider=model.provider,
        state=breaker.state(health.now) if breaker else BreakerState.CLOSED,
        failures_in_a_row=breaker.failures if breaker else 0,
        **_given(optional),
    )


def _check(check: Check | None) -> EndpointCheck | None:
    return check and EndpointCheck(
        at=_instant(check.at), error=check.error and _WORDS.get(check.error, check.error)
    )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _instant(epoch_ms: int) -> str:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="seconds")
