"""Endpoints that are asked for their models, such as LiteLLM proxies, and how they are."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
from anyio import to_thread

from tierwise.routing.catalog.listings import Listing, read_model_info, read_models
from tierwise.routing.catalog.plain_http import FAILURES, get
from tierwise.routing.catalog.resolver import key_variable
from tierwise.routing.settings import ProviderSettings

_PATIENCE = 5.0
"""Seconds that an endpoint may take for its listing; nobody waits longer for the others."""
_MOST_BYTES = 32_000_000
"""A proxy with a wildcard for every provider lists 4,000 models in 8 KB each."""

_Readers = tuple[tuple[str, Callable[[bytes], Listing]], ...]
_READERS: _Readers = (("model/info", read_model_info), ("models", read_models))
"""Where models are listed below `api_base`, with and without `/v1`; the second where the first is not
known or not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHealth:
    """How an endpoint was when it was last asked for its models."""

    provider: str
    api_base: str
    models: int | None
    """How many chat models it offers; None if it has never said so."""
    fault: str | None
    """Why they could not be listed, and what to do; None if they could."""
    checked_ms_ago: int


@dataclass(frozen=True, slots=True)
class _State:
    listing: Listing | None
    """The last one that there was."""
    fault: str | None
    checked_at: float


class Gateways:
    """Knows what each provider with `discover` offers. Asks only when it is told to."""

    def __init__(self, providers: Mapping[str, ProviderSettings], environ: Mapping[str, str]) -> None:
        self._providers = {name: settings for name, settings in providers.items() if settings.discover}
        self._environ = environ
        self._states: dict[str, _State] = {}

    def __bool__(self) -> bool:
        return bool(self._providers)

    @property
    def listings(self) -> dict[str, Listing]:
        """What is known of each endpoint that has answered at least once."""
        return {name: state.listing for name, state in self._states.items() if state.listing is not None}

    @property
    def age(self) -> float:
        """Seconds since all were last asked."""
        asked = min((state.checked_at for state in self._states.values()), default=float("-inf"))
        return time.monotonic() - asked

    def health(self) -> tuple[GatewayHealth, ...]:
        """How each of them was when it was last asked."""
        now = time.monotonic()
        return tuple(
            GatewayHealth(
                provider=name,
                api_base=self._providers[name].api_base or "",
                models=len(state.listing.offers) if state.listing else None,
                fault=state.fault,
                checked_ms_ago=int((now - state.checked_at) * 1000),
            )
            for name, state in self._states.items()
        )

    async def refresh(self) -> None:
        """Ask all of them at once. One that does not answer keeps what it said before."""
        async with anyio.create_task_group() as asking:
            for name, settings in self._providers.items():
                asking.start_soon(self._ask, name, settings)

    async def _ask(self, name: str, settings: ProviderSettings) -> None:
        known = self._states.get(name)
        found: Listing | str = f"{name} did not answer within {_PATIENCE:g} s; check its api_base."
        with anyio.move_on_after(_PATIENCE):
            variable = key_variable(name, settings, self._environ)
            key = self._environ.get(variable, "").strip() if variable else ""
            found = await _listing(name, settings.api_base or "", key, variable)
        listing, fault = (found, None) if isinstance(found, Listing) else (known and known.listing, found)
        self._states[name] = _State(listing, fault, time.monotonic())


async def _listing(name: str, api_base: str, key: str, variable: str | None) -> Listing | str:
    """What the endpoint lists, or what is wrong with it and what to do."""
    fault = ""
    for path, read in _READERS:
        try:
            status, body = await get(
                f"{api_base.rstrip('/')}/{path}",
                bearer=key if key.isascii() and key.isprintable() else None,
                most_bytes=_MOST_BYTES,
            )
            if status == 200:
                return await to_thread.run_sync(read, body)
        except (ValueError, RecursionError):
            fault = f"{name} sent no list of models that can be read; check its api_base."
        except FAILURES:
            return f"{name} cannot be reached; check that it runs, and its api_base."
        else:
            named = f"the key in {variable}" if variable else "whether it needs a key (api_key_env)"
            fault = f"{name} answered {status} when asked for its models; check its api_base and {named}."
    return fault
