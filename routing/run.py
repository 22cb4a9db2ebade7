"""How far one call has come with its plan: what is left to try, of the candidates, the time and the money."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cached_property

from tierwise.routing.candidates import Candidate
from tierwise.routing.errors import (
    AllCandidatesFailed,
    ContextWindowExceeded,
    DeadlineExceeded,
    FormatMismatch,
    UpstreamError,
)
from tierwise.routing.journal import Journal
from tierwise.routing.money import pricing
from tierwise.routing.money.consumption import worst_cost
from tierwise.routing.policy import Plan
from tierwise.routing.providers.base import Completion
from tierwise.routing.request import Payload
from tierwise.routing.tokens import estimate_prompt_tokens
from tierwise.storage.records import CachedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An answer and the candidate that gave it, fresh or from the cache."""

    candidate: Candidate
    completion: Completion
    cost: int | None
    """What this answer cost when it was written, in nano-USD; None if that is unknown."""
    place: int | None = None
    """Of its attempt in the journal; None if it is from the cache."""
    from_cache: CachedAnswer | None = None
    escalated: str | None = None
    """What was wrong with a cheaper model's answer, in a cascade."""
    similarity: float | None = None
    """Of the prompt that the cached answer was given to; None if it was this one."""
    downgraded: str | None = None
    """Why a cheaper model than those of the plan served."""
    begun_by: tuple[str, ...] = ()
    """The models that wrote the beginning of the answer before their streams broke off."""
    instead: str = "that failed"
    """Why the plan's first model did not serve, if it did not."""


FindAnswer = Callable[[Candidate], Awaitable[Served | None]]
"""Looks the candidate's answer up in the cache."""

Admit = Callable[[Candidate, Payload], AbstractAsyncContextManager[None]]
"""Surrounds an attempt that sends this payload, or raises `BudgetExceeded`."""


_NARROWING = (FormatMismatch, ContextWindowExceeded)
"""Failures after which not all of the other candidates come into question."""


class Run:
    """The state of one `Router.serve`, which may take `seconds` from when the call was started."""

    def __init__(
        self, plan: Plan, journal: Journal, find_answer: FindAnswer, admit: Admit, seconds: float
    ) -> None:
        self.plan = plan
        self.journal = journal
        self.find_answer = find_answer
        self.admit = admit
        self.failures: list[tuple[Candidate, UpstreamError]] = []
        self.answer: Served | None = None
        """The best so far, in a cascade."""
        self.entered = False
        """The call is counted among those that are present in the queue."""
        self._left = list(plan.candidates)
        self._seconds = seconds
        self._deadline = journal.started + seconds

    @cached_property
    def prompt_tokens(self) -> int:
        """About how many the plan's request has."""
        return estimate_prompt_tokens(self.plan.request.payload)

    # Time

    @property
    def seconds_left(self) -> float:
        """Until the deadline; 0 or less when it has passed."""
        return self._deadline - time.monotonic()

    def out_of_time(self) -> bool:
        return self.seconds_left <= 0

    def too_late(self) -> DeadlineExceeded:
        """What to tell the caller when the deadline has passed."""
        late = f"No model answered within {self._seconds:g} s (reliability.deadline)"
        if self.failures:
            told = f"; try again later, or raise it. The last failure: {self.failures[-1][1]}."
        elif self.journal.attempts:
            told = "; try again later, or raise it."
        else:
            told = ". It was still waiting for its turn; try again later, or raise the limits in reliability."
        return DeadlineExceeded(f"{late}{told}{self._loss()}".replace("..", "."))

    # Candidates

    @property
    def upcoming(self) -> list[Candidate]:
        """Those that may be tried after the current one: after a context overflow only larger windows, after
        an answer of the wrong form the first of a higher tier, once."""
        if not self.failures:
            return self._left
        failed = {kind: [it for it, error in self.failures if isinstance(error, kind)] for kind in _NARROWING}
        unfit = {it.tier.rank for it in failed[FormatMismatch]}
        if len(unfit) > 1:
            return []
        windows = [it.model.context_window or 0 for it in failed[ContextWindowExceeded]]
        least_rank, least_window = max(unfit, default=-1) + 1, max(windows, default=-1) + 1
        return [
            it
            for it in self._left
            if it.tier.rank >= least_rank and (it.model.context_window or least_window) >= least_window
        ]

    def next(self) -> Candidate | None:
        """The candidate to try now; None if all were."""
        self._left = self.upcoming
        return self._left.pop(0) if self._left else None

    def put_off(self, candidate: Candidate) -> None:
        """Let the others go first, because this one would have to wait."""
        self._left.append(candidate)

    def drop(self, candidate: Candidate) -> None:
        """Do not try it any more."""
        self._left = [it for it in self._left if it != candidate]

    def above(self, candidate: Candidate) -> list[Candidate]:
        """In a cascade, those left of the tiers above the candidate's."""
        rank = candidate.tier.rank
        return [it for it in self._left if it.tier.rank > rank] if self.plan.cascade else []

    def climb(self, candidates: list[Candidate]) -> None:
        """Go on with these alone."""
        self._left = candidates

    # Money

    def keep_cap(self, candidate: Candidate, payload: Payload, under_way: int = 0) -> None:
        """The plan keeps `max_cost_usd` for each attempt; this keeps it for all of them together, with
        those `under_way`, which may cost so many nano-USD.

        Raises:
            UpstreamError: one more attempt could pass it. A cheaper candidate may still do.
        """
        cap = self.plan.request.max_cost_usd
        worst = worst_cost(payload, candidate.model, candidate.max_tokens)
        spent = self.journal.cost + under_way
        if cap is None or worst is None or not spent:
            return
        if spent + worst > pricing.nano_usd(cap):
            raise UpstreamError(
                f"max_cost_usd has no room for a further attempt: ${pricing.usd(spent):.6f} of ${cap:.6f} is"
                f" spent, and it may cost up to ${pricing.usd(worst):.6f}. Raise it, or lower max_tokens"
            )

    # Failures

    def note_failure(self, candidate: Candidate, error: UpstreamError) -> None:
        """Remember how an attempt failed, each once."""
        if all(error is not known for _, known in self.failures):
            self.failures.append((candidate, error))

    def all_failed(self) -> AllCandidatesFailed:
        """One sentence for each model that was tried, with how it failed last, and for those left alone."""
        last = {candidate.model.id: error for candidate, error in self.failures}
        resting = [item for item in self.plan.excluded if item.retry_after is not None]
        told = [f"{model}: {error}" for model, error in last.items()]
        told += (f"{item.model.id}: {item.reason}" for item in resting)
        waits = [it.retry_after for it in (*last.values(), *resting) if it.retry_after is not None]
        hint = f" Try again in {min(waits):g} s." if waits else ""
        failed = f"Every model that could serve this call failed. {'; '.join(told)}."
        return AllCandidatesFailed(f"{failed}{hint}{self._loss()}".replace("..", "."))

    def _loss(self) -> str:
        return " What had been written of an answer is lost." if self.journal.draft.setback else ""
