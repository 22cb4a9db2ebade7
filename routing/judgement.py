"""How hard a request is for this user: the analysis, what was learned, and what they have said."""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread

from tierwise.routing.complexity import Complexity, analyze
from tierwise.routing.feedback import RecentCalls
from tierwise.routing.learning.description import describe
from tierwise.routing.learning.layer import MOST_OUTCOMES, Layer, explored, tier_of
from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.settings import LearningSettings, RoutingSettings
from tierwise.routing.steering import Steering, cuts_for_share, overridden
from tierwise.storage.errors import StorageError
from tierwise.storage.outcomes import OutcomeRecord, OutcomeSource, StoredOutcome, Verdict
from tierwise.storage.ports import Store

_log = logging.getLogger(__name__)

_SCORES_FOR_SHARE = 1000
"""Recent calls whose scores `strong_share` goes by."""
_SCORES_LIFETIME = 30.0
"""Seconds until they are read again."""
_RELEARN_SECONDS = 300.0
"""Outcomes that other processes have noted are learned from so often."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found of one request."""

    complexity: Complexity | None
    """None of what is not answered in words."""
    features: bytes | None
    """What may be kept of the prompt to learn from; None where nothing is learned."""
    steering: Steering


class Judgement:
    """Judges requests, and learns from how they turned out."""

    def __init__(self, routing: RoutingSettings, learning: LearningSettings, store: Store) -> None:
        self._routing = routing
        self._learning = learning
        self._store = store
        self._recent = RecentCalls()
        self._layer = Layer()
        self._news = anyio.Event()
        self._scores: list[float] = []
        self._scores_stale_at = 0.0

    async def judge(self, request: ChatRequest, *, explore: bool = False) -> Judged:
        """How hard `request` is; `explore` allows a try of a lower tier where the settings want some."""
        if request.task is not None:
            return Judged(None, None, Steering())
        routing, cuts = self._routing, await self.cuts()
        found = analyze(request.prompt, request.history, factors=routing.complexity_factors, cuts=cuts)
        features = None
        if self._learning.enabled:
            features = describe(request.prompt, request.history, found, self._store.digest_key)
            learned = self._layer.adjust(found, features)
            found = learned if learned is found else replace(learned, tier=tier_of(learned.score, cuts))
        if explore and self._learning.exploration > 0:
            found = explored(found, self._learning.exploration, random.random())  # noqa: S311  guards nothing
        return Judged(found, features, self._steering(request, found.tier))

    async def cuts(self) -> tuple[float, float]:
        """The scores at which standard and complex begin: the fixed ones, or those that give
        `strong_share` of the recent calls to the complex tier."""
        fixed, share = self._routing.rules.cuts(), self._routing.strong_share
        if share is None:
            return fixed
        if time.monotonic() >= self._scores_stale_at:
            self._scores = await self._store.recent_scores(_SCORES_FOR_SHARE)
            self._scores_stale_at = time.monotonic() + _SCORES_LIFETIME
        return cuts_for_share(self._scores, share, fixed)

    async def rate(self, call_id: str, verdict: Verdict, note: str | None = None) -> None:
        """Keep somebody's verdict on a call. One that was too weak raises the tier for the rest of its
        conversation at once.

        Raises:
            UnknownCall: the ledger has no such call.
        """
        await self._keep(call_id, verdict, OutcomeSource.RATED, note)
        if verdict is Verdict.TOO_WEAK:
            self._recent.raise_floor(call_id)

    async def note_served(self, call_id: str, request: ChatRequest, tier: Tier, *, escalated: bool) -> None:
        """What a recorded call says of answers: of a cheaper one that did not do in its own cascade,
        and of the one that its caller was not content with."""
        earlier = self._recent.retried(request, tier)
        self._recent.remember(call_id, request, tier)
        try:
            if escalated:
                await self._keep(call_id, Verdict.TOO_WEAK, OutcomeSource.ESCALATED)
            if earlier is not None:
                await self._keep(earlier, Verdict.TOO_WEAK, OutcomeSource.RETRIED)
        except StorageError as error:
            _log.warning("An outcome was not kept: %s", error)

    async def learn_regularly(self) -> None:
        """Learn from the outcomes in the store now, whenever one is added, and from time to time."""
        while self._learning.enabled:
            self._news = anyio.Event()
            try:
                outcomes = await self._store.outcomes(MOST_OUTCOMES)
                self._layer = await anyio.to_thread.run_sync(self._fitted, outcomes, abandon_on_cancel=True)
            except StorageError as error:
                _log.warning("Outcomes cannot be learned from: %s", error)
            with anyio.move_on_after(_RELEARN_SECONDS):
                await self._news.wait()

    def _fitted(self, outcomes: Sequence[StoredOutcome]) -> Layer:
        return Layer.fit(
            outcomes,
            key=self._store.digest_key,
            min_outcomes=self._learning.min_outcomes,
            cuts=self._routing.rules.cuts(),
        )

    async def _keep(
        self, call_id: str, verdict: Verdict, source: OutcomeSource, note: str | None = None
    ) -> None:
        at = time.time_ns() // 1_000_000
        await self._store.add_outcome(
            OutcomeRecord(call_id=call_id, at=at, verdict=verdict, source=source, note=note)
        )
        self._news.set()

    def _steering(self, request: ChatRequest, judged: Tier) -> Steering:
        steering = overridden(request, self._routing.overrides)
        floor = self._recent.floor(request)
        if floor is not None:
            reason = "an answer in this conversation was too weak"
            return Steering(tier=steering.tier, floor=floor, reason=reason)
        risen = request.remembered and request.remembered.tier
        if risen and risen.rank > judged.rank:
            reason = f"{risen}: the conversation was that hard before"
            return replace(steering, floor=risen, reason=steering.reason or reason)
        return steering
