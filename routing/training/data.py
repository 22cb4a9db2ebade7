"""The labelled prompts, as arrays of features."""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tierwise.routing.analysis.features import Features, extract

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
FOLDER = Path(__file__).parent / "data"
EVERYDAY = "everyday"
"""Our own source."""
TIERS = ("simple", "standard", "complex")


@dataclass(frozen=True, slots=True)
class Prompts:
    """Labelled prompts; arrays have one element, or row, a prompt."""

    texts: list[str]
    source: NDArray[np.str_]
    features: list[Features]
    labels: Array
    """Tier rows: (n,) 0, 1, 2. Outcome rows: (n, 2), what the cheap and the premium model scored, 0..1."""

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sources(self) -> list[str]:
        return sorted({str(name) for name in self.source})

    def where(self, chosen: Mask) -> "Prompts":
        """Those prompts for which `chosen`, (n,), is true."""
        at = np.flatnonzero(chosen)
        return Prompts(
            [self.texts[i] for i in at], self.source[at], [self.features[i] for i in at], self.labels[at]
        )

    def matrix(self, names: Sequence[str]) -> Array:
        """(n, names) of feature values."""
        return np.array([[found.values.get(name, 0.0) for name in names] for found in self.features])


def load() -> tuple[Prompts, Prompts]:
    """The rows with tiers, and those with outcomes. Rows with a history are for the tests only."""
    rows = [row for row in _rows() if "history" not in row]
    tiers = [row for row in rows if "tier" in row]
    outcomes = [row for row in rows if "weak_ok" in row]
    return (
        _prompts(tiers, [TIERS.index(row["tier"]) for row in tiers]),
        _prompts(outcomes, [(row["weak_ok"], row["strong_ok"]) for row in outcomes]),
    )


def _rows() -> Iterator[dict[str, Any]]:
    with gzip.open(FOLDER / "routing-dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
    with (FOLDER / "everyday.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _prompts(rows: Sequence[dict[str, Any]], labels: Sequence[Any]) -> Prompts:
    texts = [str(row["prompt"]) for row in rows]
    sources = np.array([str(row["source"]) for row in rows])
    return Prompts(texts, sources, [extract(text) for text in texts], np.array(labels, dtype=float))
