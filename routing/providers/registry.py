"""Which provider carries a model's calls. Each is made when the first of its models is called."""

from types import TracebackType
from typing import Self

from tierwise.routing.catalog.models import Model
from tierwise.routing.providers.base import Provider
from tierwise.routing.providers.demo import DemoProvider
from tierwise.routing.providers.embedded import EmbeddedProvider
from tierwise.routing.providers.litellm import LiteLLMProvider
from tierwise.routing.settings import LocalSettings


class Providers:
    """Owns the providers; leaving its block closes them."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._made: dict[str, Provider] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for provider in self._made.values():
            await provider.aclose()

    def of(self, model: Model) -> Provider:
        """The provider for `model`."""
        kind = model.provider if model.provider in ("demo", "embedded") else "litellm"
        if kind not in self._made:
            self._made[kind] = self._make(kind)
        return self._made[kind]

    def _make(self, kind: str) -> Provider:
        if kind == "demo":
            return DemoProvider()
        if kind == "embedded":
            return EmbeddedProvider(self._settings.embedded_model)
        return LiteLLMProvider()
