"""A second attempt beside one that is slow: the first of the two that has something to show wins."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from tierwise.routing.attempt import PutOff, Signs
from tierwise.storage.errors import TierwiseError

T = TypeVar("T")

Start = Callable[[Signs], Awaitable[T]]
"""Makes an attempt that gives these signs."""


@dataclass(slots=True, eq=False)
class _Contender(Generic[T]):
    start: Start[T]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    sent: anyio.Event = field(default_factory=anyio.Event)
    shown: anyio.Event = field(default_factory=anyio.Event)
    """It has begun to write, or has ended."""
    beaten: bool = False
    """The other one was first."""
    answers: list[T] = field(default_factory=list[T])
    """Its answer, once it is there."""
    error: TierwiseError | PutOff | None = None

    async def run(self, other: "_Contender[T]") -> None:
        """Make the attempt. Once it shows something the other one is given up."""

        def wrote() -> None:
            self.shown.set()
            if not self.beaten:  # what is cancelled may still write before it notices
                other.beaten = True
                other.scope.cancel()

        with self.scope:
            try:
                self.answers.append(await self.start(Signs(self.sent.set, wrote)))
                wrote()
            except (TierwiseError, PutOff) as error:
                self.error = error
        self.sent.set()
        self.shown.set()


async def first_of(first: Start[T], second: Start[T], delay: float) -> T:
    """What `first` gives; or `second`, which is started if `first` shows nothing for `delay` seconds after
    it was sent.

    The one that writes first, or else answers first, wins. The other is cancelled, and has ended when this
    returns. If none answers, the error of the first is raised, or where there is none that of the second.
    """
    one, two = _Contender(first), _Contender(second)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run, two)
        await one.sent.wait()
        with anyio.move_on_after(delay):
            await one.shown.wait()
        if not one.shown.is_set():
            tasks.start_soon(two.run, one)
    for answer in (*two.answers, *one.answers) if one.beaten else (*one.answers, *two.answers):
        return answer
    raise one.error or two.error or RuntimeError("Both attempts were cancelled.")
