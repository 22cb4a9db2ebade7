"""`tierwise batch`: every line answered once, in order, whatever happens on the way."""

import json
import resource
import signal
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.fake_provider import FakeProvider, ok, status
from tests.server.harness import MARKS, Hanging, Installation, Json
from tierwise.server.batch_file import Line, open_batch
from tierwise.server.errors import UnusableFile

pytestmark = MARKS

PRICED = {"prompt_tokens": 999_998, "completion_tokens": 1, "total_tokens": 999_999}
"""What costs a dollar at `small`."""


class Batch:
    """The files of one batch, and its runs."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.source = installation.folder / "in.jsonl"
        self.out = installation.folder / "out.jsonl"
        self.part = installation.folder / "out.jsonl.part"

    def write(self, *lines: Json | str) -> None:
        texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
        self.source.write_text("".join(f"{text}\n" for text in texts))

    def ask(self, *prompts: str, **arguments: Any) -> None:
        """One line for each prompt, of the simple tier and past the cache."""
        self.write(
            *({"prompt": prompt, "tier": "simple", "use_cache": False, **arguments} for prompt in prompts)
        )

    @property
    def command(self) -> tuple[str, ...]:
        return ("batch", str(self.source), str(self.out))

    async def run(self, *options: str) -> tuple[int, str]:
        """The exit code, and what it says on stderr."""
        done = await self.installation.run(*self.command, *options)
        assert done.stdout == b""
        return done.returncode, done.stderr.decode()

    @property
    def answers(self) -> list[Json]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]


@pytest.fixture
def batch(installation: Installation) -> Batch:
    return Batch(installation)


def prompts(fake: FakeProvider) -> Counter[str]:
    """How often each prompt was asked."""
    return Counter(request.json["messages"][-1]["content"] for request in fake.requests)


@contextmanager
def no_file_larger_than(size: int) -> Generator[None]:
    """Writing past that fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def parts(batch: Batch, count: int) -> None:
    """Wait until so many answers are kept."""
    with anyio.fail_after(60):
        while not batch.part.exists() or batch.part.read_bytes().count(b"\n") < count:  # noqa: ASYNC110
            await anyio.sleep(0.02)  # it is another process that writes


async def test_each_line_is_routed_on_its_own_and_answered_in_order(batch: Batch, fake: FakeProvider):
    batch.write(
        {"custom_id": "first", "prompt": "Hello", "tier": "complex", "tenant": "acme"},
        "",
        {"prompt": "What is the capital of France?"},
        {"custom_id": "", "prompt": "Hello", "model": "fake/unpriced", "system_prompt": "Be brief"},
    )
    code, said = await batch.run()
    first, second, third = batch.answers
    assert code == 0
    assert [it["line"] for it in batch.answers] == [1, 3, 4]
    assert (first["custom_id"], first["model"], first["status"]) == ("first", "fake/large", "done")
    assert ("custom_id" in second, second["model"]) == (False, "fake/small")
    assert second["content"] == "answer from small: What is the capital of France?"
    assert (third["custom_id"], third["cost_usd"]) == ("", None)
    cost = first["cost_usd"] + second["cost_usd"]
    assert said == f"3 of 3 answered · ${cost:.6f} · {batch.out}\n"  # and no progress bar
    assert not batch.part.exists()
    assert (await batch.installation.ledger())["calls"] == 3


async def test_answers_that_come_out_of_order_are_put_into_order(batch: Batch, fake: FakeProvider):
    slow = Hanging()
    fake.next("small", slow)
    batch.ask("slow")
    with batch.source.open("a") as source:
        source.writelines(json.dumps({"prompt": f"{n}", "model": "fake/large"}) + "\n" for n in range(5))
    async with batch.installation.process(*batch.command) as run:
        await parts(batch, 5)
        assert not batch.out.exists()
        slow.released.set()
        assert await run.ended(30) == 0
    assert [it["line"] for it in batch.answers] == [1, 2, 3, 4, 5, 6]
    assert batch.answers[0]["content"] == "the end"


async def test_no_more_lines_are_under_way_than_may_be(batch: Batch, fake: FakeProvider):
    slow = [Hanging() for _ in range(2)]
    fake.next("small", *slow)
    batch.ask(*"abcdef")
    async with batch.installation.process(*batch.command, "--concurrency", "2") as run:
        with anyio.fail_after(60):
            for hanging in slow:
                await hanging.arrived.wait()
        assert fake.open_requests == len(fake.requests) == 2
        for hanging in slow:
            hanging.released.set()
        assert await run.ended(30) == 0
    assert len(fake.requests) == 6


# Going on


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
async def test_a_run_that_was_stopped_goes_on_and_pays_for_no_answer_twice(
    batch: Batch, fake: FakeProvider, end: signal.Signals
):
    batch.ask("one", "two", "stuck", "four")
    hanging = Hanging()
    fake.next("small", ok(), ok(), hanging)
    async with batch.installation.process(*batch.command, "--concurrency", "1") as run:
        await parts(batch, 2)
        with anyio.fail_after(60):
            await hanging.arrived.wait()
        run.child.send_signal(end)
        assert await run.ended(30) == (130 if end is signal.SIGINT else -end)
        assert ("The same command goes on from here" in run.stderr) == (end is signal.SIGINT)
    code, said = await batch.run()
    assert code == 0
    assert said.startswith("4 of 4 answered")
    assert prompts(fake) == {"one": 1, "two": 1, "stuck": 2, "four": 1}
    assert [it["line"] for it in batch.answers] == [1, 2, 3, 4]


async def test_half_a_line_that_a_killed_run_has_left_is_asked_again(batch: Batch, fake: FakeProvider):
    batch.ask("one", "two")
    assert (await batch.run())[0] == 0
    whole = batch.out.read_bytes()
    batch.out.rename(batch.part)
    batch.part.write_bytes(whole[:-20])
    assert (await batch.run())[0] == 0
    assert prompts(fake) == {"one": 1, "two": 2}
    assert [it["content"] for it in batch.answers] == ["answer from small: one", "answer from small: two"]


async def test_what_failed_is_asked_again_and_what_was_answered_is_not(batch: Batch, fake: FakeProvider):
    batch.ask("good", "bad", fallback_models=[])
    fake.next("small", ok(), status(401))
    code, said = await batch.run("--concurrency", "1")
    assert code == 1
    assert "line 2: Every model that could serve this call failed" in said
    assert "1 of 2 answered, 1 failed" in said
    assert [it["status"] for it in batch.answers] == ["done", "failed"]
    assert "rejected its API key" in batch.answers[1]["error"]
    code, said = await batch.run()
    assert (code, prompts(fake)) == (0, {"good": 1, "bad": 2})
    assert [it["status"] for it in batch.answers] == ["done", "done"]
    assert (await batch.run())[0] == 0
    assert len(fake.requests) == 3


async def test_a_line_that_was_changed_is_asked_anew_and_one_that_is_gone_is_dropped(
    batch: Batch, fake: FakeProvider
):
    batch.ask("one", "two", "three")
    await batch.run()
    batch.ask("one", "other")
    assert (await batch.run())[0] == 0
    assert prompts(fake) == {"one": 1, "two": 1, "three": 1, "other": 1}
    assert [it["content"] for it in batch.answers] == ["answer from small: one", "answer from small: other"]


# What it may cost


async def test_a_batch_stops_before_it_costs_more_than_it_may_and_goes_on_with_more(
    batch: Batch, fake: FakeProvider
):
    fake.always("small", ok(usage=PRICED))
    batch.ask("one", "two", "three", "four", max_tokens=100_000)  # may cost 20 cents, and costs a dollar
    code, said = await batch.run("--max-cost", "2", "--concurrency", "1")
    assert code == 1
    assert "Line 3 and those after it are left: it may cost up to $0.2" in said
    assert "and $2.00 of --max-cost $2.00 is spent" in said
    assert [it["line"] for it in batch.answers] == [1, 2]
    code, said = await batch.run("--max-cost", "10")
    assert code == 0
    assert "4 of 4 answered · $4.00" in said
    assert prompts(fake) == {"one": 1, "two": 1, "three": 1, "four": 1}


async def test_lines_under_way_hold_back_what_they_may_cost(batch: Batch, fake: FakeProvider):
    hanging = Hanging()
    fake.next("small", hanging)
    batch.ask("one", "two", max_tokens=100_000)
    async with batch.installation.process(*batch.command, "--max-cost", "0.3") as run:
        with anyio.fail_after(60):
            await hanging.arrived.wait()
        assert len(fake.requests) == 1
        hanging.released.set()
        assert await run.ended(30) == 0
    assert len(fake.requests) == 2


async def test_under_a_limit_no_model_without_a_price_is_asked(batch: Batch, fake: FakeProvider):
    batch.ask("one", model="fake/unpriced", fallback_models=[])
    batch.source.write_text(batch.source.read_text().replace('"tier": "simple", ', ""))
    code, said = await batch.run("--max-cost", "5")
    assert code == 1
    assert "no price is known for unpriced" in said
    assert fake.requests == []


# Bad input


async def test_bad_lines_are_named_and_the_rest_is_answered(batch: Batch, fake: FakeProvider):
    lines: list[Json | str] = [
        "not json",
        "[1]",
        {"prompt": ""},
        {"prompt": "Hello", "tire": "simple"},
        {"custom_id": 5, "prompt": "Hello"},
        {"custom_id": "kept", "prompt": "Hello", "model": "nobody"},
        {"prompt": "Hello", "conversation_id": "c"},
        "[" * 100_000,
        {"prompt": "Hello", "tier": "simple"},
    ]
    batch.write(*lines)
    with batch.source.open("ab") as source:
        source.write(b"\xff\xfe\n")
    code, said = await batch.run()
    assert code == 1
    errors = [it["error"] for it in batch.answers if it["status"] == "failed"]
    assert [it["line"] for it in batch.answers if it["status"] == "done"] == [9]
    assert [error.partition(";")[0] for error in errors] == [
        "This is not JSON",
        "This is no JSON object",
        "`prompt` is empty",
        "`tire` is not an argument of chat",
        "`custom_id` must be text, no longer than 512.",
        errors[5].partition(";")[0],
        "`conversation_id` is not for lines that go out together",
        "This is not JSON",
        "This is not JSON",
    ]
    assert errors[5].startswith("There is no model 'nobody'")
    assert batch.answers[5]["custom_id"] == "kept"
    assert "line 4: `tire` is not an argument of chat; did you mean `tier`?\n" in said
    assert "1 of 10 answered, 9 failed" in said


async def test_of_many_failures_the_first_are_named(batch: Batch):
    batch.write(*["?"] * 50)
    code, said = await batch.run()
    assert code == 1
    assert said.count("line ") == 20
    assert "… further failures are in the output only." in said
    assert len(batch.answers) == 50


async def test_files_that_cannot_be_used_are_refused_and_left_alone(batch: Batch, fake: FakeProvider):
    code, said = await batch.run()
    assert code == 1
    assert f"{batch.source} cannot be read (No such file or directory)" in said
    assert not batch.part.exists()
    batch.ask("one")
    batch.out.write_text('{"mine": 1}\n')
    code, said = await batch.run()
    assert code == 1
    assert f"{batch.out}, line 1: this is no answer of a batch. Name another file." in said
    assert batch.out.read_text() == '{"mine": 1}\n'
    assert fake.requests == []


def test_two_batches_cannot_write_to_one_file(tmp_path: Path):
    out = tmp_path / "out.jsonl"
    with open_batch(out), pytest.raises(UnusableFile, match="Another batch is writing to"), open_batch(out):
        pass
    with open_batch(out):
        pass


def test_a_full_disk_loses_no_answer_that_was_kept(tmp_path: Path):
    out, lines = tmp_path / "out.jsonl", [Line(1, b"one"), Line(2, b"two")]
    with open_batch(out) as file:
        file.add(lines[0], {"status": "done", "content": "1"})
        with (
            no_file_larger_than(out.with_name("out.jsonl.part").stat().st_size + 9),
            pytest.raises(UnusableFile, match="File too large"),
        ):
            file.add(lines[1], {"status": "done", "content": "2"})
    with open_batch(out) as file:
        assert [file.is_answered(line) for line in lines] == [True, False]
        file.add(lines[1], {"status": "done", "content": "2"})
        file.finish(iter(lines))
    assert [json.loads(line)["content"] for line in out.read_text().splitlines()] == ["1", "2"]


def test_answers_are_kept_where_only_their_owner_reads_them(tmp_path: Path):
    out, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    with open_batch(out) as file:
        assert part.stat().st_mode & 0o777 == 0o600
        file.finish(iter(()))
    assert out.stat().st_mode & 0o777 == 0o600
    out.unlink()
    part.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnusableFile, match="Cannot write"), open_batch(out):
        pass
    assert not (tmp_path / "elsewhere").exists()
