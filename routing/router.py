"""Carries a plan out: one candidate after another, inside one deadline, every attempt on record."""

import logging
import random
from dataclasses import dataclass, replace

import anyio

from tierwise.routing.asking import Asking
from tierwise.routing.attempt import PutOff
from tierwise.routing.candidates import Candidate
from tierwise.routing.cascade import judge_payload, judge_rejects, weakness
from tierwise.routing.errors import (
    BudgetExceeded,
    Busy,
    ContextWindowExceeded,
    RateLimited,
    RequestRejected,
    UpstreamError,
)
from tierwise.routing.journal import Journal
from tierwise.routing.policy import Plan
from tierwise.routing.reliability.upstream_queue import UpstreamQueue
from tierwise.routing.run import Admit, FindAnswer, Run, Served
from tierwise.routing.settings import CascadeSettings

_log = logging.getLogger(__name__)

_JITTER = 0.25
"""Part of a back-off that is left to chance, so that parallel calls do not retry in step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """Seconds and counts of the one place that retries."""

    max_retries: int
    retry_delay: float
    deadline: float


class Router:
    """The only owner of retries, back-off and fallback."""

    def __init__(
        self, asking: Asking, queue: UpstreamQueue, settings: RetrySettings, cascade: CascadeSettings
    ) -> None:
        self._asking = asking
        self._queue = queue
        self._settings = settings
        self._cascade = cascade

    async def serve(self, plan: Plan, journal: Journal, find_answer: FindAnswer, admit: Admit) -> Served:
        """The first answer that a candidate of `plan` gives.

        Each attempt is let in by `admit`, and set down in `journal` with what it cost, also when it
        fails or is cancelled.

        Raises:
            NoCandidate: the plan has none.
            Busy: too many calls are there already; nothing was sent.
            BudgetExceeded: `admit` did not let the next attempt in, and there is no answer yet.
            RequestRejected: a provider says that the request itself is wrong.
            AllCandidatesFailed: each was tried; the message says how each failed.
            DeadlineExceeded: time ran out first.
        """
        run = Run(plan, journal, find_answer, admit, self._settings.deadline)
        try:
            with anyio.move_on_after(run.seconds_left):
                return await self._known_to_peers(run) or await self._serve(run)
        finally:
            if run.entered:
                self._queue.leave(plan.request.tenant)
        if run.answer is None:
            raise run.too_late()
        return run.answer

    async def _serve(self, run: Run) -> Served:
        if not run.plan.candidates:
            raise run.plan.nothing_left()
        while (candidate := run.next()) is not None:
            try:
                served = await run.find_answer(candidate) or await self._try_candidate(run, candidate)
            except (BudgetExceeded, Busy):
                if run.answer is None:
                    raise
                return run.answer
            if served is None:
                continue
            escalated = run.answer and run.answer.escalated
            run.answer = replace(served, escalated=escalated)
            stronger = run.above(served.candidate)
            fault = await self._fault(run, served) if stronger else None
            if fault is None:
                return run.answer
            run.answer = replace(served, escalated=fault)
            run.journal.draft.set_aside(served.candidate.model.id, fault)
            run.climb(stronger)
        if run.answer is None:
            raise run.all_failed()
        return run.answer  # better than nothing, now that all stronger models have failed

    async def _known_to_peers(self, run: Run) -> Served | None:
        """A cached answer that is as good as asking the plan's first candidate."""
        plan = run.plan
        for candidate in (*plan.candidates[:1], *plan.peers) if plan.peers else ():
            served = await run.find_answer(candidate)
            if served and not (plan.cascade and weakness(served.completion, self._cascade)):
                return served
        return None

    # A cascade

    async def _fault(self, run: Run, served: Served) -> str | None:
        """What is wrong with an answer, in a cascade; its attempt is marked as escalated."""
        fault = weakness(served.completion, self._cascade)
        if served.place is None:
            return fault
        if fault is None and run.plan.judge:
            fault = await self._judge(run, run.plan.judge, served.completion.content)
        if fault is not None:
            run.journal.blame(served.place, "escalated", fault)
        return fault

    async def _judge(self, run: Run, judge: Candidate, answer: str) -> str | None:
        question = judge_payload(run.plan.request.prompt, answer)
        try:
            verdict = await self._asking.judge(run, judge, question)
        except (UpstreamError, BudgetExceeded, Busy, PutOff) as error:
            # Not its message: a provider may quote the answer that it was to judge.
            kind = type(error).__name__
            _log.warning("The judge model %s failed (%s), so the answer passes", judge.model.id, kind)
            return None
        return f"{judge.model.id} judged it not good enough" if judge_rejects(verdict) else None

    # One candidate

    async def _try_candidate(self, run: Run, candidate: Candidate) -> Served | None:
        """One candidate with its retries; None when it is time for the next one."""
        self._enter(run, candidate)
        retries = 0
        while True:
            try:
                return await self._asking.answer(run, candidate)
            except PutOff:
                run.put_off(candidate)
                return None
            except UpstreamError as error:
                if self._asks_too_much(run, error):
                    continue
                if isinstance(error, RequestRejected):
                    raise
                run.note_failure(candidate, error)
                pause = self._pause(run, error, retries)
            if pause is None or pause >= run.seconds_left:
                return None
            await anyio.sleep(pause)
            retries += 1

    def _enter(self, run: Run, candidate: Candidate) -> None:
        """Before its first request a call takes its place among those that are there, or is refused."""

        def ready() -> bool:
            return any(self._asking.ready(run, it) for it in (candidate, *run.upcoming))

        if not run.entered:
            self._queue.enter(run.plan.request.tenant, ready)
            run.entered = True

    def _asks_too_much(self, run: Run, error: UpstreamError) -> bool:
        """Was it going on from a broken answer that the model refused? Then it may start over."""
        draft = run.journal.draft
        if not draft.kept or not isinstance(error, RequestRejected | ContextWindowExceeded):
            return False
        draft.start_over()
        return True

    def _pause(self, run: Run, error: UpstreamError, retries: int) -> float | None:
        """Seconds to wait before the same candidate is tried again; None to go on to the next."""
        others = bool(run.upcoming)
        if retries >= self._settings.max_retries or (others and run.journal.draft.interrupted):
            return None
        if isinstance(error, RateLimited):
            return None if others else max(error.retry_after or 0, self._back_off(retries))
        return self._back_off(retries) if error.retryable else None

    def _back_off(self, retries: int) -> float:
        delay = self._settings.retry_delay * 2**retries
        return delay * (1 - _JITTER * random.random())  # noqa: S311  spreads load, guards nothing
