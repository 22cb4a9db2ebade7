"""The analysis together with what was learned, for commands that judge prompts without calling anyone."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from tierwise.routing.complexity import Complexity, analyze
from tierwise.routing.learning.description import describe
from tierwise.routing.learning.layer import MOST_OUTCOMES, Layer
from tierwise.routing.request import Message
from tierwise.server.runtime import open_storage
from tierwise.server.settings import Settings, database_path
from tierwise.storage.ports import Store

UNTAUGHT = Layer()


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges prompts as the settings say."""

    settings: Settings
    key: bytes = b""
    """The store's `digest_key`."""
    layer: Layer = UNTAUGHT

    def judge(self, prompt: str, history: Sequence[Message]) -> Complexity:
        """How hard the prompt is, with what was learned."""
        if not self.layer.outcomes:
            return self.prior(prompt, history)
        prior, features = self.described(prompt, history)
        return self.layer.adjust(prior, features)

    def prior(self, prompt: str, history: Sequence[Message]) -> Complexity:
        """The same without it."""
        routing = self.settings.model_routing
        return analyze(prompt, history, factors=routing.complexity_factors, cuts=routing.rules.cuts())

    def described(self, prompt: str, history: Sequence[Message]) -> tuple[Complexity, bytes]:
        """`prior`, and what may be kept of the prompt to learn from."""
        prior = self.prior(prompt, history)
        return prior, describe(prompt, history, prior, self.key)


async def learned_judge(settings: Settings) -> Judge:
    """With what the outcomes in the store teach; makes no store where there is none.

    Raises:
        StorageError: the database cannot be used.
    """
    if not settings.learning.enabled or not await anyio.Path(database_path(settings)).exists():
        return Judge(settings)
    async with open_storage(settings) as store:
        return await judge_of(settings, store)


async def judge_of(settings: Settings, store: Store) -> Judge:
    """The same, on a store that is open."""
    outcomes = await store.outcomes(MOST_OUTCOMES)
    layer = Layer.fit(
        outcomes,
        key=store.digest_key,
        min_outcomes=settings.learning.min_outcomes,
        cuts=settings.model_routing.rules.cuts(),
    )
    return Judge(settings, store.digest_key, layer)
