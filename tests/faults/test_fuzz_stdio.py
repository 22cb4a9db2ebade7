"""Whatever bytes come over stdin: only messages go out, and each request is answered once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.hostile import EXAMPLES, Json, almost_requests, garbage, requests, writers
from tests.server.harness import Installation, Process, keyless, request

_numbers = count(1)


class Peer:
    """Types bytes into a server, and reads what it answers."""

    def __init__(self, process: Process, portal: BlockingPortal) -> None:
        self.process = process
        self._portal = portal

    def write(self, *parts: bytes) -> None:
        self._portal.call(self.process.write, *parts)

    def read_until(self, expected: Sequence[int | str]) -> Counter[int | str]:
        """Read until each of these ids is answered, and one that is sent after them; says how often each was
        that was answered."""
        return self._portal.call(self._read_until, expected)

    async def _read_until(self, expected: Sequence[int | str]) -> Counter[int | str]:
        answers = Counter[int | str]()
        await self._read(expected, answers)
        last = next(_numbers)
        await self.process.send(request(last, "ping"))
        await self._read([last], answers)
        del answers[last]
        return answers

    async def _read(self, expected: Sequence[int | str], answers: Counter[int | str]) -> None:
        while not all(answers[identity] for identity in expected):
            message = await self.process.receive()
            assert message["jsonrpc"] == "2.0"
            if "method" not in message:
                assert ("result" in message) != ("error" in message)
                answers[message["id"]] += 1


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    installation = Installation(tmp_path_factory.mktemp("fuzz"), keyless())
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(installation.process("serve", "--toolset", "full")) as process,
    ):
        portal.call(process.handshake)
        yield Peer(process, portal)


@dataclass(frozen=True)
class Line:
    """A message that lacks its id."""

    message: Json
    write: Callable[[Json], bytes]
    in_words: bool
    """Its id is text."""
    cut: float | None
    """The part of it that is sent; None for all."""

    def with_id(self, number: int) -> tuple[bytes, int | str, bool]:
        """The line, its id, and whether that has to be answered."""
        identity = f"a {number} \N{SNOWMAN}" if self.in_words else number
        line = self.write({**self.message, "id": identity})
        if self.cut is not None:
            return line[: int(self.cut * (len(line) - 1))], identity, False
        return line, identity, not self.message.keys() & {"result", "error"}


lines = st.builds(
    Line, requests | almost_requests, writers, st.booleans(), st.none() | st.none() | st.floats(0, 1)
)


@settings(max_examples=EXAMPLES * 5, deadline=None)
@given(talk=st.lists(lines | garbage, min_size=1, max_size=6), cuts=st.lists(st.floats(0, 1), max_size=5))
def test_whatever_comes_in_only_messages_go_out_and_each_request_is_answered_once(
    peer: Peer, talk: list[Line | bytes], cuts: list[float]
):
    sent, expected, possible = b"", list[int | str](), set[int | str]()
    for part in talk:
        if isinstance(part, bytes):
            sent += part + b"\n"
            continue
        line, identity, asks = part.with_id(next(_numbers))
        sent += line + b"\n"
        possible.add(identity)
        expected += [identity] if asks else []
    places = [0, *sorted(int(cut * len(sent)) for cut in cuts), len(sent)]
    peer.write(*(sent[start:end] for start, end in pairwise(places)))
    answers = peer.read_until(expected)
    assert answers.keys() <= possible
    assert all(times == 1 for times in answers.values())
    assert "Traceback" not in peer.process.stderr


@settings(max_examples=max(3, EXAMPLES // 5), deadline=None)
@given(line=requests.map(lambda message: json.dumps({**message, "id": 1}).encode()), at=st.floats(0, 1))
def test_half_a_message_and_then_nothing_ends_the_server_in_good_order(
    tmp_path_factory: pytest.TempPathFactory, line: bytes, at: float
):
    installation = Installation(tmp_path_factory.mktemp("half"), keyless())

    async def leave_half_way() -> int:
        async with installation.process() as process:
            await process.handshake()
            await process.write(line[: int(len(line) * at)])
            await process.close_stdin()
            return await process.ended(within=30)

    assert anyio.run(leave_half_way) == 0
    assert "Traceback" not in (installation.folder / "stderr").read_text()
