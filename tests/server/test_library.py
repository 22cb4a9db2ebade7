"""Tierwise as a library: what a program that embeds it gets."""

import sys
import typing
from contextlib import aclosing
from pathlib import Path
from subprocess import run

import anyio
import pytest

import tierwise
from tests.fake_provider import FakeProvider, cut_mid_stream, ok, refusal, status
from tests.server.harness import (
    KEY,
    KEY_VARIABLE,
    MARKS,
    PATHS,
    Hanging,
    Installation,
    chat,
    structured,
    through,
)
from tierwise.routing.request import ChatRequest
from tierwise.server import library
from tierwise.server.configuration import load_settings
from tierwise.server.tools.chat import ChatArguments
from tierwise.server.tools.usage import SummaryArguments

pytestmark = MARKS


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)


@pytest.fixture
def config(fake: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings as a program writes them."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return {**through(fake.url), "data_dir": str(tmp_path / "data")}


def test_the_public_names_are_these():
    assert set(tierwise.__all__) == {
        *("open", "Router", "Stream", "ChatOptions", "UsageOptions", "Settings", "usd"),
        *("Receipt", "Plan", "Candidate", "Message", "Tier", "ToolCall", "UsageSummary"),
        *("TierwiseError", "ConfigurationError", "StorageError", "InvalidRequest", "UnknownModel"),
        *("NoCandidate", "BudgetExceeded", "DeadlineExceeded", "AllCandidatesFailed"),
        *("UpstreamError", "RequestRejected"),
    }
    assert all(getattr(tierwise, name) is not None for name in tierwise.__all__)
    assert set(tierwise.__all__) <= set(dir(tierwise))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tierwise.nonsense  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def test_the_options_are_the_arguments_of_the_tools_and_fields_of_a_request():
    assert {*library.ChatOptions.__annotations__, "prompt"} == set(ChatArguments.model_fields)
    assert set(library.ChatOptions.__annotations__) <= set(ChatRequest.__dataclass_fields__)
    assert set(library.UsageOptions.__annotations__) == set(SummaryArguments.model_fields)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import tierwise", {"tierwise.server", "anyio", "pydantic", "mcp", "litellm"}),
        ("import tierwise; tierwise.open", {"mcp", "litellm"}),
    ],
)
def test_importing_it_loads_little(statement: str, absent: set[str]):
    loaded = run(  # noqa: S603  a line of ours
        [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"],
        env={"PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "tierwise" in loaded
    assert absent.isdisjoint(loaded)


async def test_a_chat_gives_a_receipt_and_is_in_the_usage(config: dict[str, object], fake: FakeProvider):
    async with tierwise.open(config) as router:
        answer = await router.chat(
            "Hello", tier="simple", tenant="acme", history=[tierwise.Message("user", "Hi")]
        )
        again = await router.chat(
            "Hello", tier=tierwise.Tier.SIMPLE, history=[{"role": "user", "content": "Hi"}]
        )
        usage = await router.usage(days=1, group_by="tenant", filters={"tier": "simple"})
    assert (answer.content, answer.model) == ("answer from small: Hello", "fake/small")
    assert (again.content, again.cached) == (answer.content, True)
    [request] = fake.requests
    assert [turn["content"] for turn in request.json["messages"]] == ["Hi", "Hello"]
    assert answer.cost
    assert usage.total_cost_usd == tierwise.usd(answer.cost)
    assert sorted((group.key, group.calls) for group in usage.groups) == [("", 1), ("acme", 1)]


async def test_tool_calls_go_back_in_as_they_came(config: dict[str, object], fake: FakeProvider):
    history = [
        tierwise.Message("user", "What is the weather?"),
        tierwise.Message(
            "assistant", "", tool_calls=(tierwise.ToolCall(id="a", name="look", arguments="{}"),)
        ),
        tierwise.Message("tool", "Sunny", tool_call_id="a"),
    ]
    async with tierwise.open(config) as router:
        await router.chat("", tier="simple", history=history, tools=[{"name": "look"}])
    _, asked, told = fake.requests[0].json["messages"]
    assert asked["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
    assert (told["role"], told["content"], told["tool_call_id"]) == ("tool", "Sunny", "a")


async def test_an_analysis_is_the_plan_that_chat_follows(config: dict[str, object], fake: FakeProvider):
    async with tierwise.open(config) as router:
        plan = await router.analyze("Hello", fallback_models=["fake/large"])
        assert [it.model.id for it in plan.candidates] == ["fake/small", "fake/large"]
        assert fake.requests == []
        fake.always("small", status(401))
        assert (await router.chat("Hello", fallback_models=["fake/large"])).model == "fake/large"


async def test_a_stream_gives_the_answer_as_it_is_written(config: dict[str, object], fake: FakeProvider):
    hanging = Hanging("one ", "two ")
    fake.next("small", hanging)
    async with tierwise.open(config) as router:
        stream = router.stream("Hello", tier="simple")
        with pytest.raises(RuntimeError, match="no receipt before"):
            _ = stream.receipt
        read: list[str] = []
        async for piece in stream:
            read.append(piece)
            if "".join(read) == "one two ":
                hanging.released.set()  # not before: so the first pieces came while the rest was unwritten
        assert "".join(read) == stream.receipt.content == "one two the end"
        assert "" not in read
        with pytest.raises(RuntimeError, match="can be read once"):
            aiter(stream)
        cached = router.stream("Hello", tier="simple")
        assert [piece async for piece in cached] == ["one two the end"]
        assert cached.receipt.cached


async def test_an_empty_piece_voids_what_a_model_wrote_before_it_failed(
    config: dict[str, object], fake: FakeProvider
):
    fake.always("small", cut_mid_stream(2))
    fake.always("standard", ok(pieces=["all ", "is ", "well"]))
    async with tierwise.open(config) as router:
        stream = router.stream("Hello", tier="simple")
        read = [piece async for piece in stream]
    assert read.count("") == 1
    assert "".join(read[: read.index("")]) in "piece 0 piece 1 "
    assert "".join(read[read.index("") :]) == stream.receipt.content == "all is well"
    assert stream.receipt.model == "fake/standard"


async def test_a_stream_can_go_on_where_it_broke_off(config: dict[str, object], fake: FakeProvider):
    fake.always("small", cut_mid_stream(2))
    fake.always("standard", ok(pieces=["and ", "all is ", "well"]))
    async with tierwise.open({**config, "reliability": {"broken_stream": "continue"}}) as router:
        stream = router.stream("Hello", tier="simple")
        read = [piece async for piece in stream]
    assert "" not in read
    assert "".join(read) == stream.receipt.content == "piece 0 piece 1 and all is well"


async def test_an_image_goes_along_with_the_prompt(config: dict[str, object], fake: FakeProvider):
    async with tierwise.open(config) as router:
        await router.chat("What is it?", tier="simple", images=[PIXEL])
        with pytest.raises(tierwise.InvalidRequest, match=r"`images\[0\]`"):
            await router.chat("What is it?", images=["data:text/plain,hello"])
    kinds = [part["type"] for part in fake.requests[0].json["messages"][0]["content"]]
    assert "image_url" in kinds


async def test_two_readers_of_the_same_answer_read_all_of_it(config: dict[str, object], fake: FakeProvider):
    fake.always("small", ok(pieces=[f"{number} " for number in range(20)], drip=0.001))
    answers: list[str] = []

    async with tierwise.open(config) as router, anyio.create_task_group() as readers:

        async def read() -> None:
            answers.append("".join([piece async for piece in router.stream("Hello", tier="simple")]))

        readers.start_soon(read)
        readers.start_soon(read)
    assert len(fake.requests) == 1
    assert answers == ["".join(f"{number} " for number in range(20))] * 2


async def test_who_stops_reading_gives_the_call_up(config: dict[str, object], fake: FakeProvider):
    hanging = Hanging("one ")
    fake.always("small", hanging)
    async with tierwise.open(config) as router:
        stream = router.stream("Hello", tier="simple")
        async with aclosing(typing.cast("typing.AsyncGenerator[str]", aiter(stream))) as pieces:
            assert await anext(pieces) == "one "
        with anyio.fail_after(30):
            await hanging.left.wait()
    async with tierwise.open(config) as router:
        usage = await router.usage(days=1)
    assert (usage.cancelled_calls, usage.total_tokens > 0) == (1, True)


async def test_cancelling_the_task_gives_the_call_up(config: dict[str, object], fake: FakeProvider):
    hanging = Hanging()
    fake.always("small", hanging)
    async with tierwise.open(config) as router:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: router.chat("Hello", tier="simple"))
            with anyio.fail_after(30):
                await hanging.arrived.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(30):
            await hanging.left.wait()


async def test_leaving_the_block_gives_up_what_is_under_way_and_writes_it_down(
    config: dict[str, object], fake: FakeProvider
):
    hanging = Hanging()
    fake.always("small", hanging)
    async with anyio.create_task_group() as tasks, tierwise.open(config) as router:

        async def ask() -> None:
            with pytest.raises(tierwise.TierwiseError, match="was cancelled"):
                await router.chat("Hello", tier="simple")

        tasks.start_soon(ask)
        with anyio.fail_after(30):
            await hanging.arrived.wait()
    async with tierwise.open(config) as router:
        assert (await router.usage(days=1)).cancelled_calls == 1


async def test_failures_are_the_errors_that_the_tools_tell(config: dict[str, object], fake: FakeProvider):
    fake.always("large", status(401))
    fake.always("small", refusal(400, "no such parameter"))
    async with tierwise.open(config) as router:
        with pytest.raises(tierwise.AllCandidatesFailed, match="rejected its API key"):
            await router.chat("Hello", tier="complex")
        with pytest.raises(tierwise.RequestRejected, match="no such parameter"):
            _ = [piece async for piece in router.stream("Hello", tier="simple")]
        with pytest.raises(tierwise.UnknownModel, match="There is no model 'nobody'"):
            await router.analyze("Hello", model="nobody")
        with pytest.raises(tierwise.InvalidRequest, match="`prompt` is empty"):
            await router.chat(" ")
        with pytest.raises(tierwise.InvalidRequest, match="`temperature` must be at most 2"):
            router.stream("Hello", temperature=3)
        with pytest.raises(tierwise.InvalidRequest, match="did you mean `max_tokens`"):
            await router.chat("Hello", max_token=5)  # pyright: ignore[reportCallIssue]
        with pytest.raises(tierwise.InvalidRequest, match="`days` and `start` contradict"):
            await router.usage(days=3, start="2026-11-01")


async def test_an_error_leaves_the_block_as_it_was_raised(config: dict[str, object]):
    own = ExceptionGroup("several", [ValueError("one")])
    with pytest.raises(ExceptionGroup) as caught:
        async with tierwise.open(config):
            raise own
    assert caught.value is own
    with pytest.raises(tierwise.InvalidRequest):
        async with tierwise.open(config) as router:
            await router.chat("")


async def test_a_router_is_of_no_use_after_its_block(config: dict[str, object]):
    async with tierwise.open(config) as router:
        pass
    with pytest.raises(RuntimeError, match="This router is closed"):
        await router.chat("Hello")
    with pytest.raises(RuntimeError, match="This router is closed"):
        router.stream("Hello")
    with pytest.raises(RuntimeError, match="This router is closed"):
        await router.analyze("Hello")
    with pytest.raises(RuntimeError, match="This router is closed"):
        await router.usage()


async def test_settings_come_from_a_file_a_dict_or_where_the_command_finds_them(installation: Installation):
    environ = installation.environ
    settings = load_settings(config=None, environ=environ)
    for config in (None, installation.config, str(installation.config), settings):
        async with tierwise.open(config, environ=environ) as router:
            assert (await router.chat("Hello", tier="simple", use_cache=False)).model == "fake/small"
    async with installation.client() as client:
        assert structured(await client.call_tool("today_usage"))["calls"] == 4
        assert (await chat(client, "Hello", tier="simple"))["cached"] is True


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"litelm": {}}, "the nearest is litellm"),
        ({"server": {"port": "x"}}, "server.port"),
        ("/nowhere/tierwise.toml", "/nowhere/tierwise.toml does not exist"),
    ],
)
async def test_wrong_settings_are_told_before_anything_happens(config: dict[str, object] | str, said: str):
    with pytest.raises(tierwise.ConfigurationError, match=said):
        async with tierwise.open(config, environ={}):
            pass
