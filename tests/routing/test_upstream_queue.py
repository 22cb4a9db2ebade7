"""Who may send a request when, on a clock that the test moves."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from math import inf

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup

from tierwise.routing.catalog.models import Model
from tierwise.routing.errors import Busy
from tierwise.routing.reliability.rate_limits import RateLimits
from tierwise.routing.reliability.upstream_queue import QueueLimits, Ticket, UpstreamQueue
from tierwise.routing.reliability_settings import RateLimitSettings

pytestmark = pytest.mark.anyio

A, B = (Model(id=f"{name}/model", provider=name, name="model") for name in "ab")


@dataclass
class Row:
    """A queue, and the requests that have been sent through it."""

    queue: UpstreamQueue
    tasks: TaskGroup
    sent: list[str] = field(default_factory=list[str])
    given_up: list[str] = field(default_factory=list[str])
    ends: dict[str, anyio.Event] = field(default_factory=dict[str, anyio.Event])
    scopes: dict[str, anyio.CancelScope] = field(default_factory=dict[str, anyio.CancelScope])
    turns: dict[str, anyio.Event] = field(default_factory=dict[str, anyio.Event])
    """Set when a request is sent."""

    async def ask(
        self, name: str, model: Model = A, *, tenant: str = "", tokens: int = 1, within: float = inf
    ) -> None:
        """Let a request called `name` wait for its turn; it then runs until `end`."""
        self.ends[name], self.scopes[name] = anyio.Event(), anyio.CancelScope()
        self.turns[name] = anyio.Event()
        self.tasks.start_soon(self._run, name, Ticket(tenant, model, lambda: tokens), within)
        await anyio.wait_all_tasks_blocked()

    async def _run(self, name: str, ticket: Ticket, within: float) -> None:
        with self.scopes[name], suppress(Busy):
            async with self.queue.slot(ticket, lambda: within) as slot:
                if slot is None:
                    self.given_up.append(name)
                    return
                slot.sent = True
                self.sent.append(name)
                self.turns[name].set()
                await self.ends[name].wait()

    async def end(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
            await anyio.wait_all_tasks_blocked()

    async def cancel(self, name: str) -> None:
        self.scopes[name].cancel()
        await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def row(
    *, at_once: int = 100, queued: int = 100, of_a: int | None = None, **rates: RateLimitSettings
) -> AsyncGenerator[Row]:
    limits = QueueLimits(
        max_concurrent=at_once, max_queued=queued, of_provider={} if of_a is None else {"a": of_a}
    )
    queue = UpstreamQueue(limits, RateLimits(rates))
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.refill_regularly)
            yield Row(queue, tasks)
            tasks.cancel_scope.cancel()


async def test_no_more_run_at_once_than_may_and_the_next_goes_when_one_ends() -> None:
    async with row(at_once=2) as it:
        for name in ("1", "2", "3", "4"):
            await it.ask(name)
        assert it.sent == ["1", "2"]
        await it.end("2")
        assert it.sent == ["1", "2", "3"]
        await it.end("1", "3", "4")
        assert it.sent == ["1", "2", "3", "4"]


async def test_those_who_wait_for_one_provider_hold_nothing_that_another_needs() -> None:
    async with row(at_once=3, of_a=1) as it:
        for name in ("a1", "a2", "a3", "a4"):
            await it.ask(name, A)
        for name in ("b1", "b2"):
            await it.ask(name, B)
        assert it.sent == ["a1", "b1", "b2"]
        await it.end("b1")
        assert it.sent == ["a1", "b1", "b2"]
        await it.end("a1")
        assert it.sent == ["a1", "b1", "b2", "a2"]


async def test_tenants_take_turns_however_much_one_of_them_asks() -> None:
    async with row(at_once=1) as it:
        await it.ask("first", tenant="greedy")
        for number in range(5):
            await it.ask(f"greedy {number}", tenant="greedy")
        await it.ask("modest", tenant="modest")
        await it.ask("shy", tenant="shy")
        await it.end("first", "greedy 0", "modest", "shy", "greedy 1")
        assert it.sent == ["first", "greedy 0", "modest", "shy", "greedy 1", "greedy 2"]


async def test_a_request_that_is_cancelled_while_it_waits_leaves_its_place_to_the_next() -> None:
    async with row(at_once=1) as it:
        for name in ("1", "2", "3"):
            await it.ask(name)
        await it.cancel("2")
        await it.end("1")
        assert it.sent == ["1", "3"]
        await it.end("3")
        await it.ask("4")
        assert it.sent == ["1", "3", "4"]


async def test_a_request_that_is_cancelled_while_it_runs_makes_room() -> None:
    async with row(at_once=1) as it:
        await it.ask("1")
        await it.ask("2")
        await it.cancel("1")
        assert it.sent == ["1", "2"]


async def test_a_request_that_is_cancelled_just_as_its_turn_comes_gives_it_on() -> None:
    async with row(at_once=1) as it:
        for name in ("1", "2", "3"):
            await it.ask(name)
        it.ends["1"].set()
        await anyio.lowlevel.checkpoint()
        it.scopes["2"].cancel()
        await anyio.wait_all_tasks_blocked()
        await it.end("2")
        assert it.sent[-1] == "3"


async def test_a_request_waits_no_longer_than_it_may() -> None:
    async with row(at_once=1) as it:
        await it.ask("1")
        await it.ask("2", within=0)
        assert it.given_up == ["2"]
        await it.end("1")
        await it.ask("3", within=0)
        assert it.sent == ["1", "3"]


async def test_what_a_rate_limit_holds_up_goes_when_there_is_room_again_and_others_need_not_wait() -> None:
    async with row(a=RateLimitSettings(tokens_per_minute=60)) as it:  # one a second, once they are used up
        await it.ask("all", A, tokens=60)
        await it.ask("a", A)
        await it.ask("b", B)
        await it.turns["a"].wait()
        assert it.sent == ["all", "b", "a"]


async def test_a_large_request_is_not_overtaken_by_small_ones_for_ever() -> None:
    async with row(a=RateLimitSettings(tokens_per_minute=600)) as it:  # ten a second
        await it.ask("all", tokens=600)
        await it.ask("large", tenant="x", tokens=10)
        await it.ask("small", tenant="y", tokens=1)
        await it.turns["small"].wait()
        assert it.sent == ["all", "large", "small"]


async def test_what_was_never_sent_does_not_use_the_rate_limit_up() -> None:
    async with row(a=RateLimitSettings(requests_per_minute=1)) as it:
        async with it.queue.slot(Ticket("", A, lambda: 1)) as slot:
            assert slot
        assert it.queue.ready_in(Ticket("", A, lambda: 1)) == 0
        await it.ask("1")
        assert it.queue.ready_in(Ticket("", A, lambda: 1)) > 59


async def test_when_a_request_could_go_is_told_where_only_time_decides() -> None:
    async with row(of_a=1, a=RateLimitSettings(requests_per_minute=2)) as it:
        assert it.queue.ready_in(Ticket("", A, lambda: 1)) == 0
        await it.ask("1")
        assert it.queue.ready_in(Ticket("", A, lambda: 1)) == inf
        assert it.queue.ready_in(Ticket("", B, lambda: 1)) == 0
        await it.end("1")
        await it.ask("2")
        await it.end("2")
        assert 0 < it.queue.ready_in(Ticket("", A, lambda: 1)) <= 30
        await it.ask("3")
        assert it.queue.ready_in(Ticket("", A, lambda: 1)) == inf  # somebody else waits first


async def test_beyond_what_may_wait_calls_are_refused_with_a_time_to_come_back() -> None:
    async with row(at_once=2, queued=1) as it:
        for name in ("1", "2", "3"):
            it.queue.enter("", lambda: True)
            await it.ask(name)
        assert it.queue.full
        with pytest.raises(
            Busy, match=r"^busy: 2 requests are under way and 1 calls wait already"
        ) as refused:
            it.queue.enter("", lambda: True)
        assert refused.value.retry_after == 5
        assert "retry in 5 s" in str(refused.value)
        it.queue.leave("")
        it.queue.enter("", lambda: True)


async def test_a_provider_that_hangs_leaves_room_for_calls_to_others() -> None:
    async with row(at_once=3, queued=2, of_a=1) as it:
        for name in ("1", "2", "3"):
            it.queue.enter("", lambda: True)
            await it.ask(name, A)
        with pytest.raises(Busy):
            it.queue.enter("", lambda: False)
        it.queue.enter("", lambda: True)
        await it.ask("b", B)
        assert it.sent == ["1", "b"]


async def test_how_long_to_stay_away_follows_from_how_long_requests_took() -> None:
    now = 0.0
    limits = QueueLimits(max_concurrent=2, max_queued=4, of_provider={})
    queue = UpstreamQueue(limits, RateLimits({}), lambda: now)
    for _ in range(200):
        async with queue.slot(Ticket("", A, lambda: 1)) as slot:
            assert slot
            slot.sent = True
            now += 30
    for _ in range(6):
        queue.enter("", lambda: True)
    async with queue.slot(Ticket("", A, lambda: 1)), queue.slot(Ticket("", A, lambda: 1)):
        with pytest.raises(Busy) as refused:
            queue.enter("", lambda: True)
    assert refused.value.retry_after == pytest.approx(5 * 30 / 2, abs=1)


async def test_where_all_places_are_taken_a_tenant_with_few_calls_takes_that_of_one_with_many() -> None:
    async with row(at_once=1, queued=3) as it:
        for name in ("1", "2", "3", "4"):
            it.queue.enter("greedy", lambda: True)
            await it.ask(name, tenant="greedy")
        with pytest.raises(Busy):
            it.queue.enter("greedy", lambda: True)
        it.queue.enter("modest", lambda: True)
        await it.ask("m", tenant="modest")
        it.queue.leave("greedy")  # the newest of its calls is refused
        with pytest.raises(Busy):
            it.queue.enter("modest", lambda: True)  # that would be as many as the other has
        await it.end("1", "2", "m", "3")
        assert it.sent == ["1", "2", "m", "3"]
