"""One request to one model: it waits for its turn, is paid for, sent, timed and written down."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import NamedTuple

import anyio

from tierwise.routing.candidates import TYPICAL_OUTPUT_TOKENS, Candidate
from tierwise.routing.catalog.models import Model
from tierwise.routing.draft import Draft, Writer
from tierwise.routing.errors import RateLimited, UpstreamError, UpstreamTimeout
from tierwise.routing.journal import Recorder
from tierwise.routing.providers.base import Completion, Provider, RateStatus, UpstreamCall
from tierwise.routing.reliability.breaker import CircuitBreakers
from tierwise.routing.reliability.latencies import Latencies
from tierwise.routing.reliability.upstream_queue import Slot, Ticket, UpstreamQueue
from tierwise.routing.reliability_settings import ReliabilitySettings
from tierwise.routing.request import ChatRequest, Payload
from tierwise.routing.run import Run
from tierwise.storage.records import Usage


class PutOff(Exception):
    """The candidate's turn is too far off to wait for; another one goes first."""


def _nobody() -> None:
    """Wants to know."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Called while an attempt is under way."""

    sent: Callable[[], None] = _nobody
    wrote: Callable[[], None] = _nobody
    """The first text has come."""


NO_SIGNS = Signs()


class Attempted(NamedTuple):
    """The answer of one attempt."""

    completion: Completion
    place: int
    """Of the attempt in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSettings:
    """How attempts are made."""

    timeout: float
    """Seconds that one may take in all."""
    logprobs: bool
    """Ask for the tokens' log probabilities in a cascade."""
    reliability: ReliabilitySettings


class Attempts:
    """Makes attempts. Safe for concurrent tasks."""

    def __init__(
        self,
        provider_of: Callable[[Model], Provider],
        api_key_of: Callable[[Model], str | None],
        queue: UpstreamQueue,
        breakers: CircuitBreakers,
        settings: AttemptSettings,
    ) -> None:
        self.latencies = Latencies()
        self._provider_of = provider_of
        self._api_key_of = api_key_of
        self._queue = queue
        self._breakers = breakers
        self._settings = settings

    def ready_in(self, run: Run, candidate: Candidate) -> float:
        """Seconds until the call's next request could go, were it to this candidate; inf if nothing tells."""
        return self._queue.ready_in(_ticket(run, candidate))

    async def make(
        self,
        run: Run,
        candidate: Candidate,
        payload: Payload,
        *,
        draft: Draft,
        patience: Callable[[], float] = lambda: inf,
        signs: Signs = NO_SIGNS,
        under_way: int = 0,
    ) -> Attempted:
        """Send `payload` to `candidate` once, or what `draft` lacks of the answer to it, and record it.

        `patience` says for how many seconds its turn may be waited for, and `under_way` what an attempt
        beside this one may cost, in nano-USD.

        Raises:
            UpstreamError: it failed, its circuit breaker is open, or waiting for its rate limit would outlast
                the call's deadline.
            BudgetExceeded: a budget has no room for it.
            PutOff: its turn is further off than `patience`.
        """
        sent = draft.asking(payload)
        provider = self._provider_of(candidate.model)
        await provider.ready()
        run.keep_cap(candidate, sent, under_way)
        ticket = _ticket(run, candidate)
        async with self._queue.slot(ticket, partial(self._may_wait, run, ticket, patience)) as slot:
            if slot is None:
                raise PutOff
            async with self._breakers.guard(candidate.model, run.out_of_time), run.admit(candidate, sent):
                writer = draft.begin(candidate.model.id)
                attempt = _Attempt(
                    run=run,
                    call=self._upstream_call(run, candidate, sent),
                    streamed=run.journal.streaming and draft is run.journal.draft,
                    slot=slot,
                    signs=signs,
                    writer=writer,
                    record=Recorder(run.journal, candidate, sent, writer),
                    latencies=self.latencies if self._settings.reliability.hedging.enabled else None,
                    model=candidate.model,
                    keep=self._keeps(run.plan.request),
                )
                answer = await attempt.send(provider)
                return Attempted(draft.completed(answer, payload), attempt.record.place)

    def _may_wait(self, run: Run, ticket: Ticket, patience: Callable[[], float]) -> float:
        """Seconds for which the turn may be waited for."""
        within, delay = patience(), self._queue.rate_delay(ticket)
        if delay > within:
            raise PutOff
        if delay >= run.seconds_left:
            raise RateLimited(
                f"{ticket.model.id} has used up its rate limit for the next {delay:.3g} s; wait for that, or"
                " let another model serve.",
                retry_after=round(delay, 3),
            )
        return within

    def _keeps(self, request: ChatRequest) -> bool:
        """Is text that a broken stream has brought gone on from? What must have a form begins anew."""
        continues = self._settings.reliability.broken_stream == "continue"
        return continues and not request.tools and request.response_schema is None

    def _upstream_call(self, run: Run, candidate: Candidate, payload: Payload) -> UpstreamCall:
        model, reliability = candidate.model, self._settings.reliability
        return UpstreamCall(
            provider=model.provider,
            model=model.name,
            payload=payload,
            max_tokens=candidate.max_tokens_sent,
            api_base=model.api_base,
            api_key=self._api_key_of(model),
            timeout=max(min(self._settings.timeout, run.seconds_left), 0.001),
            connect_timeout=reliability.connect_timeout,
            first_token_timeout=reliability.first_token_timeout,
            between_tokens_timeout=reliability.between_tokens_timeout,
            logprobs=run.plan.cascade and self._settings.logprobs,
        )


@dataclass(slots=True, eq=False, kw_only=True)
class _Attempt:
    """One attempt from when it is sent until it is written down."""

    run: Run
    call: UpstreamCall
    streamed: bool
    slot: Slot
    signs: Signs
    writer: Writer
    record: Recorder
    latencies: Latencies | None
    """Where to note how long it takes; None if nobody asks."""
    model: Model
    keep: bool
    """The next attempt goes on from what this one has brought, should it break off."""
    sent_at: float = field(default_factory=time.monotonic)
    wrote_at: float | None = None

    async def send(self, provider: Provider) -> Completion:
        self.slot.sent = True
        self.signs.sent()
        try:
            with anyio.fail_after(self.call.timeout):
                completion = await provider.complete(self.call, self._write if self.streamed else None)
        except UpstreamError as error:
            self._failed(error)
            raise
        except TimeoutError:
            raise self._timed_out() from None
        except anyio.get_cancelled_exc_class():
            if self.run.out_of_time():
                self._timed_out()
            else:
                self._cancelled()
            raise
        self._settle(self.record.answered(completion), completion.rate)
        self._note_latency()
        return completion

    def _write(self, piece: str) -> None:
        if self.wrote_at is None:
            self.wrote_at = time.monotonic()
            self.signs.wrote()
        self.writer.write(piece)

    def _failed(self, error: UpstreamError) -> None:
        self._settle(self.record.failed(error), error.rate)
        if isinstance(error, RateLimited):
            self.slot.refused(error.retry_after)
        self.writer.draft.break_off(self.writer, self.model.id, keep=self.keep)

    def _timed_out(self) -> UpstreamTimeout:
        seconds = round(self.call.timeout, 2)
        error = UpstreamTimeout(
            f"{self.model.id} did not answer within {seconds:g} s; try again later, or choose a faster model"
        )
        self._failed(error)
        return error

    def _cancelled(self) -> None:
        self._settle(self.record.cancelled(), None)
        self.writer.draft.end(self.writer)
        self._note_latency()  # it has taken at least so long

    def _settle(self, usage: Usage, rate: RateStatus | None) -> None:
        self.slot.ended(usage.total_tokens, rate)

    def _note_latency(self) -> None:
        if self.latencies:
            seconds = (self.wrote_at or time.monotonic()) - self.sent_at
            self.latencies.note(self.model, streamed=self.streamed, seconds=seconds)


def _ticket(run: Run, candidate: Candidate) -> Ticket:
    def estimate() -> int:
        return run.prompt_tokens + min(candidate.max_tokens, TYPICAL_OUTPUT_TOKENS[candidate.tier])

    return Ticket(run.plan.request.tenant, candidate.model, estimate)
