"""The core that every way in shares: analyse, plan, look into the cache, call, write it down."""

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import anyio
import anyio.abc

from tierwise.routing.asking import Asking
from tierwise.routing.attempt import Attempts
from tierwise.routing.cache.answers import Answers
from tierwise.routing.calls import (
    Call,
    Flight,
    FlightKey,
    call_record,
    flight_key,
    receipt,
)
from tierwise.routing.candidates import Candidate
from tierwise.routing.catalog.catalog import Catalog
from tierwise.routing.catalog.inventory import Inventory
from tierwise.routing.catalog.models import Model
from tierwise.routing.checks import check_request
from tierwise.routing.conversations import OpenConversations
from tierwise.routing.engine_settings import (
    EngineSettings,
    attempt_settings,
    queue_limits,
    retry_settings,
)
from tierwise.routing.journal import Journal
from tierwise.routing.judgement import Judgement
from tierwise.routing.kept_calls import KeptCalls
from tierwise.routing.money.books import Books
from tierwise.routing.money.spending import Spending, Tab
from tierwise.routing.order import policy_settings, strategy_of
from tierwise.routing.policy import Plan, cheapest_first, plan
from tierwise.routing.prompt_caching import WarmModels
from tierwise.routing.providers.registry import Providers
from tierwise.routing.reliability.breaker import CircuitBreakers
from tierwise.routing.reliability.endpoint_checks import Checks
from tierwise.routing.reliability.health import Vitals
from tierwise.routing.reliability.rate_limits import RateLimits
from tierwise.routing.reliability.upstream_queue import UpstreamQueue
from tierwise.routing.request import ChatRequest, Tier
from tierwise.routing.router import Router
from tierwise.routing.run import Served
from tierwise.storage.budgets import Committed
from tierwise.storage.errors import StorageError, TierwiseError
from tierwise.storage.memory import MemoryConversations
from tierwise.storage.ports import Store

_log = logging.getLogger(__name__)

_TOKENS_PER_SECOND = 50
"""What a large model writes at a moderate pace; tells which answers may outlast the wait for them."""
_TIME_TO_COMMIT = 1.0
"""Seconds for which a call whose deadline has come waits for a locked database before it is spooled."""
_PURGE_INTERVAL = 600.0
"""Seconds between two clearings of expired answers."""


@asynccontextmanager
async def open_engine(
    settings: EngineSettings, store: Store, environ: Mapping[str, str]
) -> AsyncGenerator["Engine"]:
    """An engine on `store`, which stays the caller's to close.

    Leaving the block cancels what is still under way; each call is written down before it ends.

    Raises:
        SemanticUnavailable: similar prompts are to share answers, but the extra is not installed.
        StorageError: the budgets of the settings cannot be put into the store.
    """
    hold = settings.reliability.deadline
    spending = Spending(store, settings.time_zone, hold=hold, tracking=settings.tracking)
    await spending.adopt(settings.budgets)
    async with Providers(settings.local) as providers, anyio.create_task_group() as tasks:
        engine = Engine(settings, store, environ, providers, spending, tasks)
        tasks.start_soon(engine.purge_regularly)
        tasks.start_soon(engine.catch_up)
        tasks.start_soon(engine.judgement.learn_regularly)
        tasks.start_soon(engine.queue.refill_regularly)
        tasks.start_soon(engine.inventory.look_again_when_wanted)
        tasks.start_soon(engine.checks.run_regularly)
        yield engine
        tasks.cancel_scope.cancel()


class Engine:
    """One per process; safe for concurrent tasks."""

    def __init__(
        self,
        settings: EngineSettings,
        store: Store,
        environ: Mapping[str, str],
        providers: Providers,
        spending: Spending,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self.store = store
        self.spending = spending
        self._books = Books(store, spending, settings.spool, tasks, tracking=settings.tracking)
        self.listeners = self._books.listeners
        """Called with each record after it was committed."""
        self.alarms = self._books.alarms
        """Called with each threshold of a budget that a call has crossed; must neither block nor raise."""
        self.environ = environ
        """Where the keys are."""
        self._settings = settings
        self._policy = policy_settings(settings.routing, settings.defaults)
        self._providers = providers
        self._tasks = tasks
        limits = settings.reliability.rate_limits
        self.inventory = Inventory(
            settings.litellm, settings.routing, settings.pricing, settings.local, environ, tuple(limits)
        )
        self._answers = Answers(store, settings.cache_ttl_ms, settings.semantic_threshold)
        breakers = CircuitBreakers(
            store, settings.reliability.breaker, attempt_timeout=settings.litellm.timeout
        )
        self.vitals = Vitals(store, breakers)
        self.checks = Checks(settings.reliability.health, breakers, self.inventory.known, self._api_key)
        self.queue = UpstreamQueue(queue_limits(settings), RateLimits(limits))
        attempts = Attempts(providers.of, self._api_key, self.queue, breakers, attempt_settings(settings))
        asking = Asking(attempts, settings.reliability, prompt_caching=settings.routing.prompt_caching)
        self._router = Router(asking, self.queue, retry_settings(settings), settings.routing.cascade)
        kept = store if settings.conversations.storage == "database" else MemoryConversations()
        self._conversations = OpenConversations(kept, settings.conversations, self._content)
        self._warm = WarmModels()
        self.judgement = Judgement(settings.routing, settings.learning, store)
        self._flights: dict[FlightKey, Flight] = {}
        """Those that identical calls may join."""
        self._in_flight: set[Flight] = set()
        self._kept = KeptCalls(settings.media_memory_bytes)

    async def catalog(self) -> Catalog:
        """Every model that can come into question.

        Raises:
            UnknownModel: the settings name a model that does not exist.
        """
        return await self.inventory.catalog()

    async def load_ahead(self) -> None:
        """Begin in the background what the first call would have to wait for."""
        try:
            catalog = await self.catalog()
        except TierwiseError as error:  # every call will say so; the server stays up to say it
            _log.error("%s", error)
            return
        for models in catalog.tiers.values():
            for model in models[:1]:
                self._providers.of(model).start_loading()

    async def plan(self, request: ChatRequest, *, explore: bool = False) -> Plan:
        """Where `request` would go, and why; calls nobody. `explore` is for a call that will be made.

        Raises:
            InvalidRequest: parts of the request do not fit together, or a schema cannot be used.
            UnknownModel: the request or the settings name a model that does not exist.
        """
        check_request(request)
        if request.temperature is None:
            request = replace(request, temperature=self._settings.defaults.temperature)
        judged = await self.judgement.judge(request, explore=explore)
        catalog, today = await self.catalog(), datetime.now(UTC).date()
        budgets = await self.spending.applying_to(request)
        health = await self.vitals.health(strategy_of(request, self._policy))
        decided = plan(
            request, judged.complexity, catalog, self._policy, today, judged.steering, budgets, health
        )
        if self._settings.routing.prompt_caching:
            decided = self._warm.preferred(decided)
        return replace(decided, features=judged.features)

    async def _content(self, request: ChatRequest) -> str:
        call = await self.start(request)
        try:
            await call.wait(self._settings.reliability.deadline)
        finally:
            call.cancel()  # if whoever needs it has gone
        return call.receipt().content

    async def _cheaper(self, decided: Plan) -> Plan:
        return cheapest_first(decided, await self.catalog(), self._policy)

    async def start(self, request: ChatRequest, *, watched: bool = False) -> Call:
        """Set a call off; it runs on its own until it is done or given up.

        `watched` says that somebody looks at the text while it grows.

        Raises:
            InvalidRequest, NoCandidate: nothing can serve it; nothing was spent.
            StorageError: its conversation cannot be read.
        """
        decided = await self.plan(await self._conversations.open(request), explore=True)
        first = decided.first
        key = None
        if self._settings.cache_ttl_ms is not None and request.use_cache and request.task is None:
            key = flight_key(decided)
        streaming = request.task is None and (watched or self._may_outlast_its_wait(first, request))
        flight = self._flights.get(key) if key else None
        if flight and self.queue.full:  # it is served from the cache, or refused
            key = flight = None
        if flight is None or flight.scope.cancel_called or (watched and not flight.journal.streaming):
            journal = Journal(streaming=streaming)
            turn = self.vitals.take_turn(first.model) if decided.changing else None
            flight = Flight(key, journal, Tab(self.spending, journal, decided.budgets), turn)
            self._in_flight.add(flight)
            self._tasks.start_soon(self._fly, flight)
        else:
            flight.joined.append(request.tenant)
            self.queue.join(request.tenant)
        call = Call(flight.settled(decided), flight)
        flight.calls.append(call)
        if key:
            self._flights[key] = flight
        return call

    def give_up(self) -> None:
        """Cancel every call under way; each is written down and its upstream request closed."""
        for flight in self._in_flight:
            flight.scope.cancel()

    def keep(self, call: Call) -> None:
        """Let `call` be found by its id later on: its caller goes on without its answer, or without the
        images or the sound that it has made."""
        self._kept.keep(call)

    def find(self, call_id: str) -> Call | None:
        """A call that was kept, done or not."""
        return self._kept.find(call_id)

    async def catch_up(self) -> None:
        """Write the calls down that an earlier engine could not."""
        await self._books.replay()

    async def purge_regularly(self) -> None:
        """Clear expired answers and conversations now, and again from time to time."""
        while True:
            try:
                await self.store.purge_answers(now=_now())
                await self._conversations.purge()
            except StorageError as error:
                _log.warning("What has expired could not be cleared: %s", error)
            await anyio.sleep(_PURGE_INTERVAL)

    def _api_key(self, model: Model) -> str | None:
        # A judge is asked whether or not its key is there: without one the provider says so.
        return self.environ.get(model.key_variable, "").strip() or None if model.key_variable else None

    def _may_outlast_its_wait(self, candidate: Candidate, request: ChatRequest) -> bool:
        long = (request.max_tokens or 0) > _TOKENS_PER_SECOND * self._settings.answer_within
        return long or candidate.tier is not Tier.SIMPLE

    async def _fly(self, flight: Flight) -> None:
        """The upstream work of one flight, from take-off until its calls are written down."""
        payer = flight.calls[0]
        outcome: Served | TierwiseError | None = None

        async def serve(decided: Plan) -> Served:
            find_answer = partial(self._answers.find, decided)
            return await self._router.serve(decided, flight.journal, find_answer, flight.tab.admit)

        try:
            with flight.scope:
                outcome = await flight.tab.serve(payer.plan, serve, self._cheaper)
        except TierwiseError as error:
            outcome = error
        except Exception:  # noqa: BLE001  the last line of defence: one broken call must not end the server
            _log.exception("A call failed in an unexpected way")
            outcome = TierwiseError(
                "tierwise itself failed on this call; its log on stderr says how. Please report it."
            )
        finally:
            if flight.turn and not flight.journal.attempts:
                self.vitals.give_back(flight.turn)
            if flight.key and self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            with anyio.CancelScope(shield=True):
                await self._land(flight, outcome)
            self._in_flight.discard(flight)
            for tenant in flight.joined:
                self.queue.leave(tenant)

    def _time_left(self, flight: Flight) -> float:
        """Seconds until the deadline of its calls."""
        return flight.journal.started + self._settings.reliability.deadline - time.monotonic()

    async def _land(self, flight: Flight, outcome: Served | TierwiseError | None) -> None:
        """Write each call of the flight down, and hand out what it gave. The first call pays."""
        calls = flight.land()
        due = anyio.current_time() + max(_TIME_TO_COMMIT, self._time_left(flight))
        for call in flight.left:
            await self._books.record(call_record(call, None, ()), None, due)
            call.finish(None)
        for place, call in enumerate(calls):
            pays = place == 0
            attempts, tab = (flight.journal.attempts, flight.tab) if pays else ([], None)
            record = call_record(call, outcome, attempts, tab)
            answer = None
            if pays and isinstance(outcome, Served):
                answer = await self._answers.entry(call.plan, outcome)
            written = await self._books.record(record, answer, due)
            if isinstance(outcome, Served):
                await self._conversations.add(call.plan, outcome.completion)
                if not outcome.from_cache:
                    self._warm.remember(call.plan.request, outcome.candidate.model, outcome.completion.usage)
            warning = await self._books.warning(record, call.plan.budgets, written)
            call.finish(receipt(call, record, outcome, warning) if isinstance(outcome, Served) else outcome)
            learns = call.plan.complexity is not None and self._settings.tracking
            if isinstance(outcome, Served) and isinstance(written, Committed) and learns:
                await self.judgement.note_served(
                    call.id,
                    call.plan.request,
                    outcome.candidate.tier,
                    escalated=outcome.escalated is not None,
                )


def _now() -> int:
    return time.time_ns() // 1_000_000
