"""Many prompts at once, each routed on its own, and none paid for twice."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import anyio
from anyio import to_thread

from tierwise.routing.engine import Engine
from tierwise.routing.errors import InvalidRequest
from tierwise.routing.money.pricing import usd
from tierwise.routing.money.spending import most
from tierwise.routing.request import ChatRequest
from tierwise.server.batch_file import BatchFile, Line
from tierwise.server.settings import Settings
from tierwise.server.tools.chat import CHAT, chat_result_of, load_request
from tierwise.storage.errors import TierwiseError

_LONGEST_ID = 512
"""Characters of a `custom_id`, as many as OpenAI's batches take."""


@dataclass(slots=True)
class Purse:
    """What a batch may spend, in nano-USD; None is no limit. The most that each line under way can cost is
    held back, so that the limit holds as long as providers respect `max_tokens`."""

    limit: int | None
    spent: int
    _held: int = 0
    _holders: int = 0
    _released: anyio.Event = field(default_factory=anyio.Event)

    async def hold(self, worst: int) -> bool:
        """Hold `worst` back, once lines under way have left enough; False if that will never be."""
        while self.limit is not None and self.spent + self._held + worst > self.limit:
            if not self._holders:
                return False
            await self._released.wait()
        self._held += worst
        self._holders += 1
        return True

    def release(self, worst: int, cost: int) -> None:
        """Give back what was held for a line that cost `cost`."""
        self._held -= worst
        self._holders -= 1
        self.spent += cost
        self._released.set()
        self._released = anyio.Event()


@dataclass(frozen=True, slots=True)
class _Question:
    """A line that is fit to be asked."""

    line: Line
    request: ChatRequest
    custom_id: str | None
    worst: int
    """nano-USD that are held back for it."""


class Batch:
    """One run over the lines of a file; `told` hears of each line, with its error if it has one."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        file: BatchFile,
        purse: Purse,
        told: Callable[[Line, str | None], None],
    ) -> None:
        self.stopped_at: tuple[Line, int] | None = None
        """The first line that was left unasked, because it may cost more (nano-USD) than is left."""
        self._engine = engine
        self._settings = settings
        self._file = file
        self._purse = purse
        self._told = told
        self._writing = anyio.Lock()

    async def run(self, lines: Iterator[Line], concurrency: int) -> None:
        """Ask every line that has no answer, `concurrency` of them at a time.

        Raises:
            UnusableFile: the output cannot be written, or the input not be read.
        """
        slots = anyio.Semaphore(concurrency)
        async with anyio.create_task_group() as tasks:
            while (line := await to_thread.run_sync(next, lines, None)) is not None:
                if self._file.is_answered(line):
                    continue
                question = await self._question(line)
                if question is None:
                    continue
                await slots.acquire()
                if not await self._purse.hold(question.worst):
                    self.stopped_at = line, question.worst
                    return
                tasks.start_soon(self._ask, question, slots)

    async def _question(self, line: Line) -> _Question | None:
        """What to ask; None if the line is not fit for that, which is written and told."""
        custom_id = None
        try:
            arguments, custom_id = _parsed(line)
            request, worst = await self._prepare(arguments)
        except TierwiseError as error:
            await self._write(line, _failure(error, custom_id, 0))
            self._told(line, str(error))
            return None
        return _Question(line, request, custom_id, worst)

    async def _prepare(self, arguments: dict[str, Any]) -> tuple[ChatRequest, int]:
        """What to ask, and the most that it can cost in nano-USD, which is what its first model may cost;
        0 where nothing limits it.

        Raises:
            InvalidRequest: the arguments do not fit.
            NoCandidate: no model can serve it.
        """
        if "conversation_id" in arguments:
            raise InvalidRequest("`conversation_id` is not for lines that go out together; give history.")
        request = await load_request(CHAT.parse(arguments), self._settings)
        if self._purse.limit is None:
            return request, 0
        plan = await self._engine.plan(request)
        costs = (most(candidate, request.payload) for candidate in (plan.first, *plan.candidates))
        worst = next((cost for cost in costs if cost is not None), 0)
        return replace(request, max_cost_usd=usd(worst)), worst

    async def _ask(self, question: _Question, slots: anyio.Semaphore) -> None:
        cost = 0
        try:
            result, error, cost = await self._result(question)
            await self._write(question.line, result)
        finally:
            self._purse.release(question.worst, cost)
            slots.release()
        self._told(question.line, error)

    async def _result(self, question: _Question) -> tuple[dict[str, Any], str | None, int]:
        """What is written of a line, its error if it has one, and what it cost in nano-USD."""
        call = None
        try:
            call = await self._engine.start(question.request)
            await call.wait(None)
            receipt = call.receipt()
        except TierwiseError as error:
            cost = call.cost if call else 0
            return _failure(error, question.custom_id, cost), str(error), cost
        finally:
            if call is not None:
                call.cancel()
        told = chat_result_of(receipt).model_dump(mode="json", exclude_unset=True)
        return _named(question.custom_id) | told, None, receipt.cost or 0

    async def _write(self, line: Line, result: dict[str, Any]) -> None:
        with anyio.CancelScope(shield=True):  # what was paid for is kept
            async with self._writing:
                await to_thread.run_sync(self._file.add, line, result)


def _parsed(line: Line) -> tuple[dict[str, Any], str | None]:
    """The arguments of `chat` in a line, and its `custom_id`.

    Raises:
        InvalidRequest: they are not there.
    """
    try:
        found: Any = json.loads(line.text)
    except (ValueError, RecursionError):
        raise InvalidRequest("This is not JSON; write one object a line, with a prompt.") from None
    if not isinstance(found, dict):
        raise InvalidRequest('This is no JSON object; write {"prompt": "…"}.')
    arguments = cast("dict[str, Any]", found)
    custom_id = arguments.pop("custom_id", None)
    if custom_id is not None and not (isinstance(custom_id, str) and len(custom_id) <= _LONGEST_ID):
        raise InvalidRequest(f"`custom_id` must be text, no longer than {_LONGEST_ID}.")
    return arguments, custom_id


def _failure(error: TierwiseError, custom_id: str | None, cost: int) -> dict[str, Any]:
    return _named(custom_id) | {"status": "failed", "error": str(error), "cost_usd": usd(cost)}


def _named(custom_id: str | None) -> dict[str, Any]:
    return {} if custom_id is None else {"custom_id": custom_id}
