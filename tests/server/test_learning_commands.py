"""`tune`, `eval` and `outcomes`, as a shell sees them."""

import json
from pathlib import Path

import pytest

from tests.server.harness import Installation

pytestmark = pytest.mark.anyio

HARD = "Name the river that flows through the town of number {}"
EASY = "Compute the integral of x to the power {} over the unit circle, step by step, and prove it"


def labelled(folder: Path, count: int = 40) -> Path:
    """What looks hard is easy here, and the other way round."""
    lines = [
        {"prompt": text.format(number), "weak_ok": weak, "strong_ok": 1.0}
        for number in range(count)
        for text, weak in ((HARD, 0.0), (EASY, 1.0))
    ]
    path = folder / "labelled.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


async def test_tuning_changes_what_analyze_says_and_resetting_undoes_it(demo: Installation):
    asked = b"\n".join(json.dumps({"prompt": text.format("seven")}).encode() for text in (HARD, EASY))
    before = (await demo.run("analyze", "--jsonl", stdin=asked)).stdout
    tuned = await demo.run("tune", str(labelled(demo.folder)))
    assert tuned.returncode == 0, tuned.stderr
    assert b"80 labelled prompts taken in; 80 outcomes in the store." in tuned.stdout
    after = (await demo.run("analyze", "--jsonl", stdin=asked)).stdout
    old, new = ([json.loads(line)["score"] for line in text.splitlines()] for text in (before, after))
    assert new[0] > old[0]
    assert new[1] < old[1]
    assert b"80 outcomes forgotten" in (await demo.run("outcomes", "reset")).stdout
    assert (await demo.run("analyze", "--jsonl", stdin=asked)).stdout == before


async def test_tuning_keeps_no_prompt_text_and_exports_what_it_keeps(demo: Installation):
    await demo.run("tune", str(labelled(demo.folder)))
    assert b"integral" not in demo.stored()
    lines = (await demo.run("outcomes", "export")).stdout.splitlines()
    assert len(lines) == 80
    assert {json.loads(line)["source"] for line in lines} == {"measured"}
    again = await demo.run("tune", str(labelled(demo.folder, 20)), "--reset")
    assert b"40 outcomes in the store" in again.stdout


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("no JSON", "line 2: Invalid JSON"),
        ('{"prompt": "Hi"}', "line 2: Value error, give one label"),
        ('{"prompt": "Hi", "weak_ok": 1}', "line 2: Value error, weak_ok and strong_ok go together"),
        ('{"prompt": "Hi", "tier": "hard"}', "line 2: tier: "),
        ('{"prompt": "Hi", "weak_ok": 2, "strong_ok": 1}', "line 2: weak_ok: "),
    ],
)
async def test_one_malformed_line_means_that_nothing_is_taken_in(
    demo: Installation, line: str, sentence: str
):
    path = demo.folder / "broken.jsonl"
    path.write_text(f'{{"prompt": "Hello", "tier": "simple"}}\n{line}\n')
    ended = await demo.run("tune", str(path))
    assert ended.returncode == 1
    assert sentence in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr
    assert (await demo.run("outcomes", "export")).stdout == b""


async def test_eval_prints_the_table_the_curve_and_cuts_and_writes_a_picture(demo: Installation):
    path, picture = labelled(demo.folder), demo.folder / "curve.svg"
    ended = await demo.run("eval", str(path), "--out", str(picture), "--saving", "0.5", "--quality", "0.9")
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.decode()
    assert all(word in said for word in ("APGR", "AUCwk", "prompt length", "random", "strong calls"))
    assert said.count("model_routing.rules.complex.min_complexity = ") == 2
    assert picture.read_text().startswith("<svg ")


async def test_eval_of_tiers_and_of_outcomes_needs_no_other_label(demo: Installation):
    path = demo.folder / "tiers.jsonl"
    path.write_text('{"prompt": "Hello", "tier": "simple"}\n{"prompt": "Prove it", "tier": "complex"}\n')
    assert b"concordance" in (await demo.run("eval", str(path))).stdout
    await demo.run("tune", str(labelled(demo.folder)))
    measured = await demo.run("eval", "--from-outcomes")
    assert b"measured" in measured.stdout
    assert b"before learning" in measured.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["eval"], 2, "Give either a FILE or --from-outcomes."),
        (["eval", "--from-outcomes"], 1, "There is nothing to measure"),
        (["eval", "missing.jsonl"], 1, "missing.jsonl cannot be read"),
    ],
)
async def test_eval_says_what_it_lacks(demo: Installation, arguments: list[str], code: int, sentence: str):
    ended = await demo.run(*arguments)
    assert ended.returncode == code
    assert sentence in ended.stderr.decode()
