"""A second attempt beside a slow one, without any provider: who wins, and what becomes of the other."""

from dataclasses import dataclass, field

import anyio
import pytest

from tierwise.routing.attempt import PutOff, Signs
from tierwise.routing.errors import ServerFailed
from tierwise.routing.reliability.hedging import first_of
from tierwise.storage.errors import TierwiseError

pytestmark = pytest.mark.anyio

NEVER = 3600
AT_ONCE = 0


@dataclass
class Runner:
    """An attempt that does what the test says, when it says so."""

    answer: str = ""
    error: Exception | None = None
    writes: bool = False
    at_once: bool = False
    begun: bool = False
    cancelled: bool = False
    go: anyio.Event = field(default_factory=anyio.Event)
    end: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, signs: Signs) -> str:
        self.begun = True
        signs.sent()
        try:
            if not self.at_once:
                await self.go.wait()
            if self.writes:
                signs.wrote()
                await self.end.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        if self.error:
            raise self.error
        return self.answer


async def outcome(first: Runner, second: Runner, delay: float, *events: anyio.Event) -> str:
    """How the race ends in which these events happen, one after another, once nobody moves any more."""
    ended: list[str] = []

    async def race() -> None:
        try:
            ended.append(await first_of(first, second, delay))
        except (TierwiseError, PutOff) as error:
            ended.append(repr(error))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(race)
            for event in events:
                await anyio.wait_all_tasks_blocked()
                event.set()
    return ended[0]


async def test_as_long_as_the_first_is_in_time_there_is_no_second() -> None:
    first, second = Runner("one", at_once=True), Runner("two")
    assert await outcome(first, second, NEVER) == "one"
    assert not second.begun


async def test_a_first_that_fails_in_time_has_no_second() -> None:
    first, second = Runner(error=ServerFailed("down"), at_once=True), Runner("two")
    assert "down" in await outcome(first, second, NEVER)
    assert not second.begun


async def test_a_first_that_writes_in_time_is_waited_for() -> None:
    first, second = Runner("one", writes=True, at_once=True), Runner("two", at_once=True)
    assert await outcome(first, second, NEVER, first.end) == "one"
    assert not second.begun


async def test_the_second_answers_first_and_the_first_is_cancelled() -> None:
    first, second = Runner("one"), Runner("two")
    assert await outcome(first, second, AT_ONCE, second.go) == "two"
    assert first.cancelled


async def test_the_first_answers_after_all_and_the_second_is_cancelled() -> None:
    first, second = Runner("one"), Runner("two")
    assert await outcome(first, second, AT_ONCE, first.go) == "one"
    assert second.cancelled


async def test_the_one_that_writes_first_has_won_though_it_takes_its_time() -> None:
    first, second = Runner("one"), Runner("two", writes=True)
    assert await outcome(first, second, AT_ONCE, second.go, first.go, second.end) == "two"
    assert first.cancelled


async def test_where_one_fails_the_other_is_waited_for() -> None:
    first, second = Runner(error=ServerFailed("down")), Runner("two")
    assert await outcome(first, second, AT_ONCE, first.go, second.go) == "two"
    first, second = Runner("one"), Runner(error=PutOff())
    assert await outcome(first, second, AT_ONCE, second.go, first.go) == "one"
    assert not first.cancelled


async def test_where_both_fail_the_error_is_that_of_the_first() -> None:
    first, second = Runner(error=ServerFailed("one is down")), Runner(error=ServerFailed("two is down"))
    assert "one is down" in await outcome(first, second, AT_ONCE, second.go, first.go)


async def test_where_the_winner_breaks_off_the_error_is_its_own() -> None:
    first, second = Runner("one"), Runner(error=ServerFailed("broke off"), writes=True)
    assert "broke off" in await outcome(first, second, AT_ONCE, second.go, second.end)
    assert first.cancelled


async def test_of_two_that_write_at_the_same_moment_only_one_is_given_up() -> None:
    both = anyio.Event()
    first, second = Runner("one", writes=True, go=both), Runner("two", writes=True, go=both)
    assert await outcome(first, second, AT_ONCE, both, first.end, second.end) == "one"
    assert (first.cancelled, second.cancelled) == (False, True)


async def test_of_two_that_answer_at_the_same_moment_one_is_taken() -> None:
    both = anyio.Event()
    first, second = Runner("one", go=both), Runner("two", go=both)
    assert await outcome(first, second, AT_ONCE, both) == "one"


async def test_giving_up_cancels_both() -> None:
    first, second = Runner(), Runner()
    with anyio.move_on_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first_of, first, second, AT_ONCE)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert (first.cancelled, second.cancelled) == (True, True)
