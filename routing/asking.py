"""Gets one candidate's answer: in the form that was asked for, and with a second attempt where it is slow."""

from dataclasses import replace
from functools import partial
from math import inf
from typing import Protocol

import anyio.to_thread

from tierwise.routing.abilities import adapted
from tierwise.routing.attempt import NO_SIGNS, Attempted, Attempts, Signs
from tierwise.routing.candidates import Candidate
from tierwise.routing.draft import Draft
from tierwise.routing.errors import FormatMismatch, UpstreamError
from tierwise.routing.fitting import misfits, mismatch, repair, trimmed
from tierwise.routing.prompt_caching import marked
from tierwise.routing.providers.base import Completion
from tierwise.routing.reliability.hedging import first_of
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.routing.request import Payload
from tierwise.routing.run import Run, Served

_WAITS = "it would have had to wait for its turn"
_SLOW = "it was slow"


class Asking:
    """Asks candidates. Safe for concurrent tasks."""

    def __init__(self, attempts: Attempts, settings: ReliabilitySettings, *, prompt_caching: bool) -> None:
        self._attempts = attempts
        self._settings = settings
        self._prompt_caching = prompt_caching

    def ready(self, run: Run, candidate: Candidate) -> bool:
        """Could the candidate be asked at once?"""
        return self._attempts.ready_in(run, candidate) == 0

    async def answer(self, run: Run, candidate: Candidate) -> Served:
        """What the candidate answers; with hedging, what the next one does where it is faster.

        Raises:
            UpstreamError: it failed.
            BudgetExceeded: a budget has no room for it.
            PutOff: it would have to wait for its turn, while others need not.
        """
        delay = self._hedge_after(run, candidate)
        if delay is None:
            return await self._first(run, candidate)
        second = next(iter(run.upcoming), candidate)
        return await first_of(
            partial(self._first, run, candidate), partial(self._second, run, candidate, second), delay
        )

    async def judge(self, run: Run, judge: Candidate, question: Payload) -> str:
        """What the judge model replies, which nobody is shown.

        Raises:
            UpstreamError, BudgetExceeded, Busy: it failed, or may not be asked.
            PutOff: it would keep an answer waiting that is there already.
        """
        make = partial(self._attempts.make, patience=lambda: self._settings.patience)
        return (await make(run, judge, question, draft=Draft())).completion.content

    async def _first(self, run: Run, candidate: Candidate, signs: Signs = NO_SIGNS) -> Served:
        make = partial(
            self._attempts.make, run, candidate, patience=partial(self._patience, run), signs=signs
        )
        served = await self._fitting(run, candidate, make)
        return replace(served, instead=_WAITS) if run.plan.first in run.upcoming else served

    async def _second(self, run: Run, first: Candidate, second: Candidate, signs: Signs) -> Served:
        """What `second` answers while `first` is still asked; it never waits for its turn."""
        if second != first and (known := await run.find_answer(second)):
            return replace(known, instead=_SLOW)
        under_way = first.worst_cost or 0
        make = partial(
            self._attempts.make, run, second, patience=lambda: 0.0, signs=signs, under_way=under_way
        )
        try:
            return replace(await self._fitting(run, second, make), instead=_SLOW)
        except UpstreamError as error:
            run.note_failure(second, error)
            if not error.retryable and second != first:
                run.drop(second)
            raise

    async def _fitting(self, run: Run, candidate: Candidate, make: "_Make") -> Served:
        """The candidate's answer in the form that was asked for; one that has not is sent back once."""
        asked, draft = run.plan.request.payload, run.journal.draft
        sent = adapted(asked, candidate.model)
        if self._prompt_caching:
            sent = marked(sent, candidate.model)
        payload = sent
        while True:
            answer, place = await make(payload, draft=draft)
            completion = trimmed(answer, asked)
            wrong = await _misfits(completion, asked)
            if not wrong:
                return Served(
                    candidate=candidate,
                    completion=completion,
                    cost=run.journal.cost_at(place),
                    place=place,
                    begun_by=tuple(draft.authors),
                )
            run.journal.blame(place, FormatMismatch.code)
            draft.set_aside(candidate.model.id, "the answer did not have the form that was asked for")
            if payload is not sent:
                raise mismatch(candidate.model.id, completion, wrong)
            payload = repair(sent, completion, wrong)

    def _hedge_after(self, run: Run, candidate: Candidate) -> float | None:
        """Seconds after which a second request is due; None if none is ever sent."""
        hedging = self._settings.hedging
        if not hedging.enabled:
            return None
        p95 = self._attempts.latencies.p95(
            candidate.model, streamed=run.journal.streaming, min_samples=hedging.min_samples
        )
        return hedging.delay if p95 is None else p95

    def _patience(self, run: Run) -> float:
        """Seconds for which a candidate's turn may be waited for, as others may be ready sooner."""
        soonest = min((self._attempts.ready_in(run, it) for it in run.upcoming), default=inf)
        return soonest + self._settings.patience


class _Make(Protocol):
    """Makes an attempt."""

    async def __call__(self, payload: Payload, *, draft: Draft) -> Attempted: ...


async def _misfits(completion: Completion, asked: Payload) -> list[str]:
    if asked.response_schema is None and not asked.tools and not completion.tool_calls:
        return []
    return await anyio.to_thread.run_sync(misfits, completion, asked)  # a large answer takes its time
