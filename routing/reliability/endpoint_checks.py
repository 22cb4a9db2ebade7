"""Looks after endpoints while nobody calls them: never on the way of a call, and for next to nothing.

An endpoint is asked for its list of models. One that does not answer, or with a 5xx, counts as a failure
of each of its models, so calls pass it by before the first has run into it. One that does may be tried
again before its cool-down is over; whether its models answer too is for that call to find out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import anyio

from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.catalog.models import Model
from tierwise.routing.catalog.plain_http import FAILURES, get
from tierwise.routing.errors import ConnectionFailed, ServerFailed, UpstreamTimeout
from tierwise.routing.money.pricing import FREE
from tierwise.routing.reliability.breaker import CircuitBreakers
from tierwise.routing.reliability_settings import HealthSettings
from tierwise.storage.breakers import BreakerState

_PATIENCE = 5.0
"""Seconds in which an endpoint lists its models."""


@dataclass(frozen=True, slots=True)
class Check:
    """What came of asking one endpoint."""

    at: int
    """Epoch ms."""
    error: str | None
    """The code of the failure; None if it answered."""


class Checks:
    """The endpoints of a catalogue, checked as the settings say.

    `catalog` gives the catalogue if there is one: nothing is looked up for the checks' sake.
    """

    def __init__(
        self,
        settings: HealthSettings,
        breakers: CircuitBreakers,
        catalog: Callable[[], Catalog | None],
        api_key_of: Callable[[Model], str | None],
    ) -> None:
        self.results: dict[str, Check] = {}
        """The last of each endpoint, by this process."""
        self._settings = settings
        self._breakers = breakers
        self._catalog = catalog
        self._api_key_of = api_key_of

    async def run_regularly(self) -> None:
        """Check from time to time, the first time after one interval, until cancelled."""
        while self._settings.checks != "off":
            await anyio.sleep_until(anyio.current_time() + self._settings.interval)
            await self.check_all(paid=self._settings.checks == "all")

    async def check_all(self, *, paid: bool) -> None:
        """Check each endpoint now, all at once; those of models that cost something only if `paid`."""
        catalog = self._catalog()
        models = [model for model, _ in catalog.models() if paid or model.price == FREE] if catalog else []
        async with anyio.create_task_group() as tasks:
            for endpoint, served in _by_endpoint(models).items():
                tasks.start_soon(self._check, endpoint, served)

    async def _check(self, endpoint: str, models: list[Model]) -> None:
        error = await _failure(endpoint, self._api_key_of(models[0]))
        self.results[endpoint] = Check(self._breakers.now(), error)
        if not self._breakers.enabled:
            return
        breakers = await self._breakers.known()
        for model in models:
            breaker = breakers.get(model.deployment)
            is_open = breaker is not None and breaker.state(self._breakers.now()) is BreakerState.OPEN
            if is_open and error is None:
                await self._breakers.half_open(model)
            elif error is not None and not is_open:
                await self._breakers.note_failure(model, error)


def _by_endpoint(models: Iterable[Model]) -> Mapping[str, list[Model]]:
    found: defaultdict[str, list[Model]] = defaultdict(list)
    for model in models:
        if model.endpoint and model.key_present:
            found[model.endpoint].append(model)
    return found


async def _failure(endpoint: str, key: str | None) -> str | None:
    """The code of what keeps the endpoint from answering; None if it does, be it to say no."""
    try:
        with anyio.fail_after(_PATIENCE):
            status, _ = await get(f"{endpoint.rstrip('/')}/models", bearer=key)
    except TimeoutError:
        return UpstreamTimeout.code
    except FAILURES:
        return ConnectionFailed.code
    return ServerFailed.code if status >= 500 else None
