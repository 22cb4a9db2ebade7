"""The weights that ship are those that the report is about."""

import gzip
import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest

from tierwise.routing.complexity import analyze

TRAINING = Path(__file__).parents[2] / "routing" / "training"
PIN = re.compile(r"^\| (\S+) \| (0\.\d{3}) \| (0\.\d{3}) \|$", re.MULTILINE)
LIMIT = 300_000
"""Bytes that the weights file may have."""


def reported() -> dict[str, tuple[float, float]]:
    text = (TRAINING / "REPORT.md").read_text(encoding="utf-8").partition("## The shipped weights")[2]
    return {source: (float(score), float(fails)) for source, score, fails in PIN.findall(text)}


def rows() -> list[dict[str, str]]:
    lines = gzip.decompress((TRAINING / "data" / "routing-dev.jsonl.gz").read_bytes()).decode().splitlines()
    lines += (TRAINING / "data" / "everyday.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "history" not in row]


def test_the_shipped_weights_reproduce_the_report() -> None:
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows():
        complexity = analyze(row["prompt"])
        found[row["source"]].append((complexity.score, complexity.p_cheap_fails))
    means = {source: tuple(map(fmean, zip(*pairs, strict=True))) for source, pairs in found.items()}
    expected = reported()
    assert means.keys() == expected.keys()
    for source, pair in means.items():
        assert pair == pytest.approx(expected[source], abs=0.0006)


def test_the_weights_file_is_small() -> None:
    assert (TRAINING.parent / "analysis" / "weights.json").stat().st_size < LIMIT
