"""Sends alerts of budgets to a webhook or a command, in the background: no call waits for either."""

import hashlib
import hmac
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from tierwise.routing.pricing import usd
from tierwise.routing.spending import Alert
from tierwise.server.errors import ConfigurationError
from tierwise.server.settings import AlertSettings

_log = logging.getLogger(__name__)

SIGNATURE = "X-Tierwise-Signature"
"""Holds `sha256=` and the HMAC of the body, in hexadecimal."""
_WAITING = 100
"""Alerts that may wait for one that is being delivered; more are dropped."""
_TRIES = 6
_FIRST_PAUSE = 0.5
"""Seconds before the second try; doubles with each one, to 15.5 s in all."""
_PATIENCE = 10.0
"""Seconds that one request, or the command, may take."""
_FAREWELL = 2.0
"""Seconds for what still waits when the process ends."""

_Deliver = Callable[[bytes], Awaitable[None]]


@asynccontextmanager
async def open_alerts(
    settings: AlertSettings, environ: Mapping[str, str]
) -> AsyncGenerator[Callable[[Alert], None]]:
    """What takes an alert and has it delivered, at once and without a wait.

    Raises:
        ConfigurationError: the variable with the webhook's secret is not set.
    """
    ways: list[_Deliver] = []
    if settings.webhook is not None:
        ways.append(_webhook(settings.webhook, _secret(settings, environ)))
    if settings.command:
        ways.append(_command(settings.command))
    queues = [anyio.create_memory_object_stream[bytes](_WAITING) for _ in ways]

    def send(alert: Alert) -> None:
        for queue, _ in queues:
            try:
                queue.send_nowait(_body(alert))
            except anyio.WouldBlock:
                _log.error("An alert is lost, since %d others wait to be delivered", _WAITING)

    async with anyio.create_task_group() as tasks:
        for way, (_, waiting) in zip(ways, queues, strict=True):
            tasks.start_soon(_deliver_all, way, waiting)
        try:
            yield send
        finally:
            for queue, _ in queues:
                queue.close()
            tasks.cancel_scope.deadline = anyio.current_time() + _FAREWELL


async def _deliver_all(deliver: _Deliver, waiting: MemoryObjectReceiveStream[bytes]) -> None:
    async with waiting:
        async for body in waiting:
            await deliver(body)


def _webhook(url: str, secret: str | None) -> _Deliver:
    import httpx2  # which nobody without a webhook need wait for

    async def post(body: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "tierwise"}
        if secret is not None:
            headers[SIGNATURE] = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
        fault = ""
        for tries in range(_TRIES):
            await anyio.sleep(_FIRST_PAUSE * 2 ** (tries - 1) if tries else 0)
            async with httpx2.AsyncClient(timeout=_PATIENCE) as client:
                try:
                    (await client.post(url, content=body, headers=headers)).raise_for_status()
                except httpx2.HTTPStatusError as error:
                    fault = f"it answered {error.response.status_code}"
                except httpx2.HTTPError as error:
                    fault = type(error).__name__
                else:
                    return
        _log.error("An alert did not get through to the webhook: %s, %d times", fault, _TRIES)

    return post


def _command(command: Sequence[str]) -> _Deliver:
    async def run(body: bytes) -> None:
        try:
            with anyio.fail_after(_PATIENCE):
                ended = await anyio.run_process(command, input=body, check=False)
        except (OSError, TimeoutError) as error:
            _log.error("The command for alerts, %s, failed: %s", command[0], error or "it took too long")
            return
        if ended.returncode:
            _log.error("The command for alerts, %s, failed with exit code %d", command[0], ended.returncode)

    return run


def _secret(settings: AlertSettings, environ: Mapping[str, str]) -> str | None:
    variable = settings.webhook_secret_env
    if variable is None:
        return None
    if not environ.get(variable):
        raise ConfigurationError(
            f"alerts.webhook_secret_env names {variable}, which is not set; put the webhook's secret into it."
        )
    return environ[variable]


def _body(alert: Alert) -> bytes:
    budget = alert.budget
    told = {
        "event": "budget_threshold",
        "budget": budget.name,
        "scope": budget.scope,
        "value": budget.scope_value,
        "period": budget.period,
        "period_start": _iso(alert.period_start),
        "period_end": None if alert.period_end is None else _iso(alert.period_end),
        "threshold_percent": alert.percent,
        "limit_usd": usd(budget.limit_nano_usd),
        "spent_usd": usd(alert.spent_nano_usd),
        "at_limit": budget.at_limit,
        "message": alert.message,
    }
    return json.dumps(told).encode()


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1000, UTC).isoformat()
