"""Answers to calls that say the same in other words."""

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from tierwise.routing.cache.semantic import EMBEDDING_SPACE, MAX_CHARS, Embedder, locate_vectors
from tierwise.routing.cache.wording import essence
from tierwise.routing.calls import call_digest
from tierwise.routing.candidates import Candidate
from tierwise.routing.policy import Plan
from tierwise.storage.ports import AnswerCache
from tierwise.storage.records import CachedAnswer, Likeness

if TYPE_CHECKING:
    from tierwise.routing.cache.semantic import Vector

_MOST_COMPARED = 100
"""Newest first; the wordings of one essence are hardly ever that many."""
_STORED = "<f2"
"""Half precision: 512 bytes an embedding, similarities right to 0.001."""


class Likenesses:
    """Compares calls that differ in nothing but the wording of their prompt."""

    def __init__(self, cache: AnswerCache, threshold: float) -> None:
        """`threshold` is the least cosine between two embeddings at which an answer may be shared.

        Raises:
            SemanticUnavailable: there is nothing to embed with.
        """
        self._cache = cache
        self._threshold = threshold
        self._folder = locate_vectors()
        self._embedder: Embedder | None = None
        self._loading = anyio.Lock()

    async def of(self, plan: Plan, candidate: Candidate) -> Likeness | None:
        """What later calls are compared with; None if none may be given this call's answer.

        Raises:
            SemanticUnavailable: the vectors cannot be loaded.
        """
        scope = self._scope(plan, candidate)
        if scope is None:
            return None
        embedding = await self._embed(plan.request.prompt)
        return Likeness(scope=scope, embedding=embedding.astype(_STORED).tobytes())

    async def find(self, plan: Plan, candidate: Candidate, *, now: int) -> tuple[CachedAnswer, float] | None:
        """The answer to the most similar call and how similar that is, if it is enough.

        Raises:
            SemanticUnavailable: the vectors cannot be loaded.
        """
        scope = self._scope(plan, candidate)
        kept = await self._cache.find_alike(scope, now=now, limit=_MOST_COMPARED) if scope else ()
        if not kept:
            return None
        embedding = await self._embed(plan.request.prompt)
        similarity, digest = max((_cosine(other, embedding), digest) for digest, other in kept)
        if similarity < self._threshold:
            return None
        answer = await self._cache.find_answer(digest, now=now)
        return answer and (answer, similarity)

    def _scope(self, plan: Plan, candidate: Candidate) -> bytes | None:
        """Equal for calls that may be compared: the model, all that it is sent beside the prompt, and
        what of the prompt must agree."""
        prompt = plan.request.prompt
        core = essence(prompt) if len(prompt) <= MAX_CHARS and not plan.request.images else None
        if core is None:
            return None
        beside = replace(plan.request.payload, messages=plan.request.messages[:-1])
        return call_digest(self._cache.digest_key, candidate, beside, (EMBEDDING_SPACE, *core))

    async def _embed(self, text: str) -> "Vector":
        async with self._loading:
            if self._embedder is None:
                self._embedder = await to_thread.run_sync(Embedder, self._folder, self._cache.digest_key)
        return self._embedder.embed(text)


def _cosine(stored: bytes, embedding: "Vector") -> float:
    import numpy as np

    return min(1.0, float(np.frombuffer(stored, _STORED) @ embedding))
