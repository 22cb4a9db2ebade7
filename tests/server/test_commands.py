"""The command line, as a shell sees it."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.server.harness import Installation, Json

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).with_name("api.json")


def parsed(ended: CompletedProcess[bytes]) -> Json:
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout)


def complaint(ended: CompletedProcess[bytes], code: int) -> str:
    """What a command says that fails with that exit code."""
    assert ended.returncode == code
    assert ended.stdout == b""
    said = ended.stderr.decode()
    assert "Traceback" not in said
    return said


async def test_chat_prints_the_answer_to_stdout_and_the_receipt_to_stderr(demo: Installation):
    ended = await demo.run("chat", "-", stdin=b"What is the capital of France?")
    assert ended.returncode == 0
    assert ended.stdout.startswith(b"No model was called: this is demo/small")
    assert ended.stdout.count(b"\n") == 1
    assert b"demo/small (simple)" in ended.stderr


async def test_chat_models_and_usage_print_json_that_agrees(demo: Installation):
    receipt = parsed(await demo.run("chat", "Hello", "--tier", "complex", "--json"))
    assert (receipt["model"], receipt["tier"], receipt["cached"]) == ("demo/large", "complex", False)
    models = parsed(await demo.run("models", "--json"))
    assert {item["model"] for item in models["models"]} == {"demo/small", "demo/standard", "demo/large"}
    usage = parsed(await demo.run("usage", "--days", "1", "--json"))
    assert usage["total_calls"] == 1
    assert usage["model_breakdown"]["demo/large"]["tokens"] == receipt["total_tokens"]


async def test_the_tables_name_every_model_and_the_total(demo: Installation):
    models = await demo.run("models")
    assert models.returncode == 0
    assert b"demo/standard" in models.stdout
    usage = await demo.run("usage")
    assert usage.returncode == 0
    assert b"total" in usage.stdout


async def test_analyze_shows_the_plan_that_chat_would_follow_and_calls_nobody(demo: Installation):
    found = parsed(await demo.run("analyze", "Prove that there are infinitely many primes.", "--json"))
    assert (found["tier"], found["selected_model"]) == ("complex", "demo/large")
    table = await demo.run("analyze", "Hello")
    assert table.returncode == 0
    assert b"demo/small" in table.stdout
    assert (await demo.ledger())["calls"] == 0


async def test_jsonl_answers_each_line_in_order_and_reports_the_broken_ones(demo: Installation):
    lines = [
        b'{"id": "a", "prompt": "Hello"}',
        b"this is no JSON",
        b'{"id": 2, "prompt": "Prove that there are infinitely many primes of the form 4k+3"}',
        b"",
        b'{"id": "c"}',
        b'{"id": "d", "prompt": "And now?", "history": [{"role": "user", "content": "hi"}], "more": 1}',
        b"\xff\xfe",
    ]
    ended = await demo.run("analyze", "--jsonl", stdin=b"\n".join(lines))
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 1
    assert [(answer.get("id"), answer.get("tier"), answer.get("line")) for answer in answers] == [
        ("a", "simple", None),
        (None, None, 2),
        (2, "complex", None),
        ("c", None, 5),
        ("d", answers[4]["tier"], None),
        (None, None, 7),
    ]
    assert answers[3]["error"].startswith("prompt: ")
    assert set(answers[0]) == {"id", "score", "tier", "p_cheap_fails"}


async def test_jsonl_answers_a_line_before_the_next_one_is_there(demo: Installation):
    async with demo.process("analyze", "--jsonl") as command:
        for number in range(3):
            await command.send({"id": number, "prompt": "Hello"})
            assert (await command.receive())["id"] == number
        await command.close_stdin()
        assert await command.ended(within=10) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["chat", "Hello", "--tier", "hard"], "'hard' is not one of 'simple', 'standard', 'complex'"),
        (["--config", "/does/not/exist.toml", "usage"], "/does/not/exist.toml does not exist"),
        (["analyze"], "Give a PROMPT, or --jsonl"),
    ],
)
async def test_wrong_usage_and_wrong_settings_exit_with_2(
    demo: Installation, arguments: list[str], sentence: str
):
    assert sentence in complaint(await demo.run(*arguments), 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["chat", " "], "`prompt` is empty; say what the model should answer."),
        (["chat", "Hello", "--model", "parrot-7b"], "There is no model 'parrot-7b'"),
    ],
)
async def test_arguments_that_make_no_sense_exit_with_2(
    demo: Installation, arguments: list[str], sentence: str
):
    assert complaint(await demo.run(*arguments), 2).startswith(f"Error: {sentence}")


async def test_a_call_that_fails_exits_with_1(demo: Installation):
    said = complaint(await demo.run("chat", "Hello", "--model", "demo/huge"), 1)
    assert said.startswith("Error: Every model that could serve this call failed. demo/huge")


async def test_a_database_that_cannot_be_used_exits_with_1(demo: Installation):
    demo.data.write_text("this is a file, not a folder")
    assert "TIERWISE_DATA_DIR" in complaint(await demo.run("usage"), 1)


async def test_the_example_of_other_tools_without_a_key_names_the_variable(demo: Installation):
    demo.config.write_text(EXAMPLE.read_text())
    said = complaint(await demo.run("chat", "Hello"), 1)
    assert "ANTHROPIC_API_KEY" in said
    assert "`env` of the tierwise entry" in said


async def test_the_demo_routes_caches_and_sums_up(demo: Installation):
    shown = parsed(await demo.run("demo", "--json"))
    answers = shown["answers"]
    assert len({answer["tier"] for answer in answers}) == 3
    assert [answer["cached"] for answer in answers] == [False] * (len(answers) - 1) + [True]
    assert shown["usage"]["total_calls"] == len(answers)
    assert shown["usage"]["cached_calls"] == 1
    assert not demo.data.exists()


async def test_the_demo_that_fails_says_why_in_a_sentence(demo: Installation):
    demo.config.write_text(EXAMPLE.read_text())
    ended = await demo.run("demo", "--json")
    assert ended.returncode == 1
    assert b"ANTHROPIC_API_KEY" in ended.stderr
    assert b"Traceback" not in ended.stderr
