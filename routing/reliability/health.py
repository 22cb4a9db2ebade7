"""What is known of the deployments when a plan is made, and where that comes from."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tierwise.routing.catalog.models import Model
from tierwise.routing.reliability.breaker import CircuitBreakers, Rest, failures, rest
from tierwise.routing.reliability.observations import ModelKey, Observation, Observations
from tierwise.routing.request import Strategy
from tierwise.routing.strategies import OBSERVING
from tierwise.storage.breakers import Breaker, BreakerState
from tierwise.storage.ports import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the deployments are at one instant, and whose turn it is."""

    now: int = 0
    """Epoch ms."""
    breakers: Mapping[str, Breaker] = field(default_factory=dict[str, Breaker])
    """By deployment; those that are closed may be left out."""
    observed: Mapping[ModelKey, Observation] = field(default_factory=dict[ModelKey, Observation])
    turns: Mapping[str, int] = field(default_factory=dict[str, int])
    """When each deployment was last given a call first, epoch ms, as far as this process did it."""
    chance: float = 0.5
    """A number from [0, 1), for strategies that leave something to it."""

    def rest(self, model: Model) -> Rest | None:
        """Why the model is not to be tried now; None if it may be."""
        return rest(self.breakers.get(model.deployment), self.now)

    def trial(self, model: Model) -> str | None:
        """What is to be said of a model that is tried again for the first time; None of others."""
        breaker = self.breakers.get(model.deployment)
        if breaker is None or breaker.state(self.now) is not BreakerState.HALF_OPEN:
            return None
        return f"tried again after {failures(breaker)}"

    def observation(self, model: Model) -> Observation | None:
        return self.observed.get((model.provider, model.id))

    def used_at(self, model: Model) -> int:
        """When it had its last turn; where this process has not given it one, when others last used it."""
        observation = self.observation(model)
        return self.turns.get(model.deployment, observation.last_used_at if observation else 0)


@dataclass(frozen=True, slots=True)
class Turn:
    """One that a call has taken, and what was there before."""

    deployment: str
    at: int
    before: int | None


class Vitals:
    """Gathers what plans need to know, for one process."""

    def __init__(self, store: Store, breakers: CircuitBreakers) -> None:
        self.breakers = breakers
        self._observations = Observations(store)
        self._turns: dict[str, int] = {}
        self._chance = random.random()  # noqa: S311  spreads load, guards nothing

    async def health(self, strategy: Strategy | None = None) -> Health:
        """How things stand, for plans by `strategy` or, without one, to be shown.

        Asking changes nothing: until a turn is taken, the same calls get the same plans.
        """
        breakers = await self.breakers.known()
        observing = strategy is None or strategy in OBSERVING
        return Health(
            now=self.breakers.now(),
            breakers=breakers,
            observed=await self._observations.known(fresh=strategy is None) if observing else {},
            turns=self._turns,
            chance=self._chance,
        )

    def take_turn(self, model: Model) -> Turn:
        """Note that a call has been given to `model` first, and draw for the next one."""
        self._chance = random.random()  # noqa: S311
        latest = max(self._turns.values(), default=0)
        turn = Turn(model.deployment, max(self.breakers.now(), latest + 1), self._turns.get(model.deployment))
        self._turns[turn.deployment] = turn.at
        return turn

    def give_back(self, turn: Turn) -> None:
        """Undo a turn that has led to no attempt, if it was that deployment's last."""
        if self._turns.get(turn.deployment) != turn.at:
            return
        if turn.before is None:
            del self._turns[turn.deployment]
        else:
            self._turns[turn.deployment] = turn.before
