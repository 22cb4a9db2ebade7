"""The cache of answers as calls see it: looking one up, and saying how a fresh one is kept."""

import logging
import time

from tierwise.routing.cache.alike import Likenesses
from tierwise.routing.calls import call_digest
from tierwise.routing.candidates import Candidate
from tierwise.routing.errors import SemanticUnavailable
from tierwise.routing.policy import Plan
from tierwise.routing.providers.base import Completion
from tierwise.routing.run import Served
from tierwise.storage.errors import StorageError
from tierwise.storage.ports import AnswerCache
from tierwise.storage.records import CachedAnswer, Likeness, Usage

_log = logging.getLogger(__name__)


class Answers:
    """Finds the answer to the same call, and if wanted that to one which says the same."""

    def __init__(self, cache: AnswerCache, ttl_ms: int | None, threshold: float | None) -> None:
        """`ttl_ms` None switches the cache off; `threshold` None finds answers to the same call only,
        otherwise it is the least similarity of another.

        Raises:
            SemanticUnavailable: there is a threshold, but nothing to embed with.
        """
        self._cache = cache
        self._ttl_ms = ttl_ms
        self._likenesses = None if ttl_ms is None or threshold is None else Likenesses(cache, threshold)

    async def find(self, plan: Plan, candidate: Candidate) -> Served | None:
        """The answer to serve in place of asking the candidate; trouble with the cache is only logged."""
        if self._ttl_ms is None or not plan.request.use_cache or plan.request.task:
            return None
        try:
            return await self._find_same(plan, candidate) or await self._find_alike(plan, candidate)
        except StorageError as error:
            _log.warning("The cache cannot be read: %s", error)
            return None

    async def entry(self, plan: Plan, served: Served) -> CachedAnswer | None:
        """What to keep of an answer; None if it was not fresh, not in words, cut short by a filter, or put
        together from what several models wrote."""
        completion, candidate = served.completion, served.candidate
        whole = completion.finish_reason in ("stop", "length") and not completion.tool_calls
        alone = served.from_cache is None and not served.begun_by
        reusable = whole and alone and plan.request.task is None
        if self._ttl_ms is None or not reusable:
            return None
        now = _now()
        return CachedAnswer(
            digest=self._digest(plan, candidate),
            provider=candidate.model.provider,
            model=candidate.model.id,
            tier=candidate.tier,
            content=completion.content,
            finish_reason=completion.finish_reason,
            input_tokens=completion.usage.input_tokens,
            output_tokens=completion.usage.output_tokens,
            cost_nano_usd=served.cost,
            created_at=now,
            expires_at=now + self._ttl_ms,
            likeness=await self._likeness(plan, candidate),
        )

    async def _find_same(self, plan: Plan, candidate: Candidate) -> Served | None:
        answer = await self._cache.find_answer(self._digest(plan, candidate), now=_now())
        return answer and _served(candidate, answer)

    async def _find_alike(self, plan: Plan, candidate: Candidate) -> Served | None:
        try:
            found = self._likenesses and await self._likenesses.find(plan, candidate, now=_now())
        except SemanticUnavailable as error:
            return self._go_without(error)
        return found and _served(candidate, *found)

    async def _likeness(self, plan: Plan, candidate: Candidate) -> Likeness | None:
        try:
            return self._likenesses and await self._likenesses.of(plan, candidate)
        except SemanticUnavailable as error:
            return self._go_without(error)

    def _go_without(self, error: SemanticUnavailable) -> None:
        """Once is enough: loading what cannot be loaded would delay every call."""
        _log.warning("Similar prompts are not looked for: %s", error)
        self._likenesses = None

    def _digest(self, plan: Plan, candidate: Candidate) -> bytes:
        return call_digest(self._cache.digest_key, candidate, plan.request.payload)


def _served(candidate: Candidate, answer: CachedAnswer, similarity: float | None = None) -> Served:
    usage = Usage(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
    completion = Completion(content=answer.content, finish_reason=answer.finish_reason, usage=usage)
    return Served(
        candidate=candidate,
        completion=completion,
        cost=answer.cost_nano_usd,
        from_cache=answer,
        similarity=similarity,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
