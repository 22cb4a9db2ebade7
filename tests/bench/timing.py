"""Times in ms, and how they are told."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Sample:
    """Times in ms."""

    times: list[float]

    @property
    def p50(self) -> float:
        return median(self.times)

    @property
    def p99(self) -> float:
        return quantiles(self.times, n=100)[-1]

    def __str__(self) -> str:
        return f"{self.p50:.2f} ({self.p99:.2f})"


def interleaved(count: int, *timed: Callable[[], float]) -> list[Sample]:
    """Run the timed actions in turn, `count` rounds after a tenth as many to warm up."""
    rounds = [[action() for action in timed] for _ in range(count + count // 10)]
    return [Sample(list(times)) for times in zip(*rounds[count // 10 :], strict=True)]


def timed(action: Callable[[], object]) -> Callable[[], float]:
    """The action, answering how many ms it took."""

    def run() -> float:
        start = time.perf_counter()
        action()
        return (time.perf_counter() - start) * 1000

    return run


async def repeated(count: int, action: Callable[[], Awaitable[object]]) -> tuple[Sample, Sample]:
    """Await the action `count` times after one to warm up; also how much of the time this process computed,
    which others on the machine hardly change."""
    pairs: list[tuple[float, float]] = []
    for _ in range(count + 1):
        start, computed = time.perf_counter(), time.process_time()
        await action()
        pairs.append((time.perf_counter() - start, time.process_time() - computed))
    took, computed = ([seconds * 1000 for seconds in column] for column in zip(*pairs[1:], strict=True))
    return Sample(took), Sample(computed)
