"""Carries a plan out: one candidate after another, inside one deadline, every attempt on record."""

import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread

from tierwise.routing import pricing
from tierwise.routing.abilities import adapted
from tierwise.routing.breaker import CircuitBreakers
from tierwise.routing.cascade import judge_payload, judge_rejects, weakness
from tierwise.routing.consumption import worst_cost
from tierwise.routing.errors import (
    AllCandidatesFailed,
    BudgetExceeded,
    ContextWindowExceeded,
    DeadlineExceeded,
    FormatMismatch,
    RateLimited,
    RequestRejected,
    UpstreamError,
    UpstreamTimeout,
)
from tierwise.routing.fitting import misfits, mismatch, repair, trimmed
from tierwise.routing.journal import Journal, Recorder
from tierwise.routing.models import Model
from tierwise.routing.policy import Candidate, Exclusion, Plan
from tierwise.routing.prompt_caching import marked
from tierwise.routing.providers.base import Completion, Provider, UpstreamCall
from tierwise.routing.request import Payload
from tierwise.routing.settings import RoutingSettings
from tierwise.storage.records import CachedAnswer

_log = logging.getLogger(__name__)

_JITTER = 0.25
"""Part of a back-off that is left to chance, so that parallel calls do not retry in step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """Seconds and counts of the one place that retries."""

    max_retries: int
    retry_delay: float
    attempt_timeout: float
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An answer and the candidate that gave it, fresh or from the cache."""

    candidate: Candidate
    completion: Completion
    cost: int | None
    """What this answer cost when it was written, in nano-USD; None if that is unknown."""
    from_cache: CachedAnswer | None = None
    escalated: str | None = None
    """What was wrong with a cheaper model's answer, in a cascade."""
    similarity: float | None = None
    """Of the prompt that the cached answer was given to; None if it was this one."""
    downgraded: str | None = None
    """Why a cheaper model than those of the plan served."""


FindAnswer = Callable[[Candidate], Awaitable[Served | None]]
"""Looks the candidate's answer up in the cache."""

Admit = Callable[[Candidate, Payload], Awaitable[None]]
"""Lets an attempt be made that sends this payload, or raises `BudgetExceeded`."""


class Router:
    """The only owner of retries, back-off and fallback."""

    def __init__(
        self,
        provider_of: Callable[[Model], Provider],
        api_key_of: Callable[[Model], str | None],
        settings: RetrySettings,
        routing: RoutingSettings,
        breakers: CircuitBreakers,
    ) -> None:
        self._provider_of = provider_of
        self._api_key_of = api_key_of
        self._breakers = breakers
        self._settings = settings
        self._cascade = routing.cascade
        self._prompt_caching = routing.prompt_caching

    async def serve(self, plan: Plan, journal: Journal, find_answer: FindAnswer, admit: Admit) -> Served:
        """The first answer that a candidate of `plan` gives.

        Each attempt is let in by `admit`, and appended to `journal` with what it cost, also when it
        fails or is cancelled.

        Raises:
            NoCandidate: the plan has none.
            BudgetExceeded: `admit` did not let the next attempt in, and there is no answer yet.
            RequestRejected: a provider says that the request itself is wrong.
            AllCandidatesFailed: each was tried; the message says how each failed.
            DeadlineExceeded: time ran out first.
        """
        if (known := await self._known_to_peers(plan, find_answer)) is not None:
            return known
        if not plan.candidates:
            raise plan.nothing_left()
        run = _Run(plan, journal, admit, self._settings.deadline)
        weak: Served | None = None
        candidate: Candidate | None = plan.first
        while candidate is not None:
            try:
                served = await find_answer(candidate) or await self._try_candidate(run, candidate)
            except BudgetExceeded:
                if weak is None:
                    raise
                return weak
            if served is None:
                candidate = run.next_after(candidate)
                continue
            stronger = run.stronger_than(candidate)
            fault = await self._fault(run, served) if stronger else None
            if fault is None:
                return replace(served, escalated=weak and weak.escalated)
            weak = replace(served, escalated=fault)
            candidate = stronger
        if weak is not None:
            return weak  # better than nothing, now that all stronger models have failed
        raise AllCandidatesFailed(_all_failed(run.failures, plan.excluded))

    async def _known_to_peers(self, plan: Plan, find_answer: FindAnswer) -> Served | None:
        """A cached answer that is as good as asking the plan's first candidate."""
        for candidate in (*plan.candidates[:1], *plan.peers) if plan.peers else ():
            served = await find_answer(candidate)
            if served and not (plan.cascade and weakness(served.completion, self._cascade)):
                return served
        return None

    async def _fault(self, run: "_Run", served: Served) -> str | None:
        """What is wrong with an answer, in a cascade; its attempt is marked as escalated."""
        marked = len(run.journal.attempts) - 1
        fault = weakness(served.completion, self._cascade)
        if fault is None and run.plan.judge and not served.from_cache:
            fault = await self._judge(run, run.plan.judge, served.completion.content)
        if fault is not None and not served.from_cache:
            run.blame("escalated", fault, place=marked)
        return fault

    async def _judge(self, run: "_Run", judge: Candidate, answer: str) -> str | None:
        question = judge_payload(run.plan.request.prompt, answer)
        try:
            verdict = await self._attempt(run, judge, question, shown=False)
        except (UpstreamError, BudgetExceeded) as error:
            # Not its message: a provider may quote the answer that it was to judge.
            kind = type(error).__name__
            _log.warning("The judge model %s failed (%s), so the answer passes", judge.model.id, kind)
            return None
        return f"{judge.model.id} judged it not good enough" if judge_rejects(verdict.content) else None

    async def _try_candidate(self, run: "_Run", candidate: Candidate) -> Served | None:
        """One candidate with its retries; None when it is time for the next one."""
        for retries in range(self._settings.max_retries + 1):
            try:
                completion = await self._fitting(run, candidate)
                cost = run.journal.attempts[-1].cost_nano_usd
                return Served(candidate=candidate, completion=completion, cost=cost)
            except RequestRejected:
                raise
            except UpstreamError as error:
                run.failures.append((candidate, error))
                time_left = run.time_left()
                pause = self._pause(error, retries, last=run.next_after(candidate) is None)
                if pause is None or pause >= time_left:
                    return None
                await anyio.sleep(pause)
        return None

    def _pause(self, error: UpstreamError, retries: int, *, last: bool) -> float | None:
        """Seconds to wait before the same candidate is tried again; None to go on to the next."""
        if retries >= self._settings.max_retries:
            return None
        if isinstance(error, RateLimited):
            return max(error.retry_after or 0, self._back_off(retries)) if last else None
        return self._back_off(retries) if error.retryable else None

    def _back_off(self, retries: int) -> float:
        delay = self._settings.retry_delay * 2**retries
        return delay * (1 - _JITTER * random.random())  # noqa: S311  spreads load, guards nothing

    async def _fitting(self, run: "_Run", candidate: Candidate) -> Completion:
        """The candidate's answer in the form that was asked for; one that has not is sent back once."""
        asked = run.plan.request.payload
        sent = adapted(asked, candidate.model)
        if self._prompt_caching:
            sent = marked(sent, candidate.model)
        completion = trimmed(await self._attempt(run, candidate, sent), asked)
        if wrong := await _misfits(completion, asked):
            run.blame(FormatMismatch.code)
            again = repair(sent, completion, wrong)
            completion = trimmed(await self._attempt(run, candidate, again), asked)
            if wrong := await _misfits(completion, asked):
                run.blame(FormatMismatch.code)
                raise mismatch(candidate.model.id, completion, wrong)
        return completion

    async def _attempt(
        self, run: "_Run", candidate: Candidate, payload: Payload, *, shown: bool = True
    ) -> Completion:
        """`_ask`, as far as the model's circuit breaker lets it."""
        async with self._breakers.guard(candidate.model, run.out_of_time):
            return await self._ask(run, candidate, payload, shown=shown)

    async def _ask(self, run: "_Run", candidate: Candidate, payload: Payload, *, shown: bool) -> Completion:
        """Send `payload` to `candidate` once, and record it; what is `shown` can be watched as it grows."""
        provider = self._provider_of(candidate.model)
        await provider.ready()
        run.keep_cap(candidate, payload)
        await run.admit(candidate, payload)
        timeout = min(self._settings.attempt_timeout, run.time_left())
        call = self._upstream_call(run.plan, candidate, payload, timeout)
        record = Recorder(run.journal, candidate, payload)
        on_text = run.journal.pieces.append if run.journal.streaming and shown else None
        run.journal.pieces.clear()
        try:
            with anyio.fail_after(timeout):
                completion = await provider.complete(call, on_text)
        except UpstreamError as error:
            record.failed(error)
            raise
        except TimeoutError:
            timed_out = UpstreamTimeout(f"{candidate.model.id} did not answer within {round(timeout, 2):g} s")
            record.failed(timed_out)
            raise timed_out from None
        except anyio.get_cancelled_exc_class():
            record.cancelled()
            raise
        record.answered(completion)
        return completion

    def _upstream_call(
        self, plan: Plan, candidate: Candidate, payload: Payload, timeout: float
    ) -> UpstreamCall:
        model = candidate.model
        return UpstreamCall(
            provider=model.provider,
            model=model.name,
            payload=payload,
            max_tokens=candidate.max_tokens_sent,
            api_base=model.api_base,
            api_key=self._api_key_of(model),
            timeout=timeout,
            logprobs=plan.cascade and self._cascade.min_mean_logprob is not None,
        )


class _Run:
    """The state of one `serve`."""

    def __init__(self, plan: Plan, journal: Journal, admit: Admit, seconds: float) -> None:
        self.plan = plan
        self.journal = journal
        self.admit = admit
        self.failures: list[tuple[Candidate, UpstreamError]] = []
        self._seconds = seconds
        self._deadline = journal.started + seconds

    def time_left(self) -> float:
        """Seconds until the deadline.

        Raises:
            DeadlineExceeded: it has passed.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            last = f" The last failure: {self.failures[-1][1]}" if self.failures else ""
            raise DeadlineExceeded(
                f"No model answered within {self._seconds:g} s (reliability.deadline).{last}"
            )
        return left

    def out_of_time(self) -> bool:
        """Is the deadline over?"""
        return time.monotonic() >= self._deadline

    def keep_cap(self, candidate: Candidate, payload: Payload) -> None:
        """The plan keeps `max_cost_usd` for each attempt; this keeps it for all of them together.

        Raises:
            UpstreamError: one more attempt could pass it, after what the others have cost. A cheaper
                candidate may still do.
        """
        cap = self.plan.request.max_cost_usd
        if cap is None or candidate.model.price is None or not self.journal.cost:
            return
        spent, worst = self.journal.cost, worst_cost(payload, candidate.model, candidate.max_tokens) or 0
        if spent + worst > pricing.nano_usd(cap):
            raise UpstreamError(
                f"max_cost_usd has no room for a further attempt: ${pricing.usd(spent):.6f} of ${cap:.6f} is"
                f" spent, and it may cost up to ${pricing.usd(worst):.6f}. Raise it, or lower max_tokens"
            )

    def blame(self, outcome: str, error: str | None = None, *, place: int = -1) -> None:
        """Mark an attempt, by default the last, that has answered but not well enough."""
        attempt = self.journal.attempts[place]
        self.journal.attempts[place] = replace(attempt, outcome=outcome, error=error)

    def stronger_than(self, candidate: Candidate) -> Candidate | None:
        """In a cascade, the first candidate of a higher tier."""
        rank = candidate.tier.rank
        higher = (other for other in self.plan.candidates if other.tier.rank > rank)
        return next(higher, None) if self.plan.cascade else None

    def next_after(self, candidate: Candidate) -> Candidate | None:
        """The next candidate; after a context overflow the next with a larger window, after an answer
        of the wrong form the first of a higher tier, once."""
        rest = self.plan.candidates[self.plan.candidates.index(candidate) + 1 :]
        unfit = {failed.tier.rank for failed, error in self.failures if isinstance(error, FormatMismatch)}
        if len(unfit) > 1:
            return None
        rest = tuple(other for other in rest if other.tier.rank > max(unfit, default=-1))
        overflown = [
            failed.model.context_window or 0
            for failed, error in self.failures
            if isinstance(error, ContextWindowExceeded)
        ]
        smallest = max(overflown, default=-1)
        return next(
            (other for other in rest if (other.model.context_window or smallest + 1) > smallest), None
        )


async def _misfits(completion: Completion, asked: Payload) -> list[str]:
    if asked.response_schema is None and not asked.tools and not completion.tool_calls:
        return []
    return await anyio.to_thread.run_sync(misfits, completion, asked)  # a large answer takes its time


def _all_failed(failures: list[tuple[Candidate, UpstreamError]], excluded: tuple[Exclusion, ...]) -> str:
    """One sentence for each model that was tried, with how it failed last, and for those left alone."""
    last = {candidate.model.id: error for candidate, error in failures}
    resting = [item for item in excluded if item.retry_after is not None]
    told = [f"{model}: {error}" for model, error in last.items()]
    told += (f"{item.model.id}: {item.reason}" for item in resting)
    waits = [error.retry_after for error in (*last.values(), *resting) if error.retry_after is not None]
    hint = f" Try again in {min(waits):g} s." if waits else ""
    return f"Every model that could serve this call failed. {'; '.join(told)}.{hint}".replace("..", ".")
