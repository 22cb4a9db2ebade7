"""Sends alerts of budgets to a webhook or a command, in the background: no call waits for either."""

import hashlib
import hmac
import json
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from subprocess import DEVNULL, PIPE

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from tierwise.routing.keys import holds_a_model_key
from tierwise.routing.money.pricing import usd
from tierwise.routing.money.spending import Alert
from tierwise.server.errors import ConfigurationError
from tierwise.server.settings import TOKEN_VARIABLE, AlertSettings, Settings, named_variables

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
    settings: Settings, environ: Mapping[str, str]
) -> AsyncGenerator[Callable[[Alert], None]]:
    """What takes an alert and has it delivered, at once and without a wait.

    Raises:
        ConfigurationError: the variable with the webhook's secret is not set.
    """
    ways: list[_Deliver] = []
    alerts = settings.alerts
    if alerts.webhook is not None:
        ways.append(_webhook(alerts.webhook, _secret(alerts, environ)))
    if alerts.command:
        ways.append(_command(alerts.command, settings))
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


def _command(command: Sequence[str], settings: Settings) -> _Deliver:
    async def run(body: bytes) -> None:
        try:
            with anyio.fail_after(_PATIENCE):
                code = await _run(command, body, settings)
        except (OSError, TimeoutError) as error:
            _log.error("The command for alerts, %s, failed: %s", command[0], error or "it took too long")
            return
        if code:
            _log.error("The command for alerts, %s, failed with exit code %d", command[0], code)

    return run


async def _run(command: Sequence[str], body: bytes, settings: Settings) -> int:
    """Run the command with `body` on its stdin, and without our keys; says its exit code."""
    ours = {TOKEN_VARIABLE, *named_variables(settings)}
    environ = {
        name: value for name, value in os.environ.items() if name not in ours and not holds_a_model_key(name)
    }
    async with await anyio.open_process(command, stdin=PIPE, stdout=DEVNULL, stderr=None, env=environ) as it:
        assert it.stdin  # noqa: S101  because of PIPE
        with suppress(anyio.BrokenResourceError):  # it ended without reading
            await it.stdin.send(body)
        await it.stdin.aclose()
        return await it.wait()


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
