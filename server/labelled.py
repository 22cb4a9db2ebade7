"""Files of labelled prompts: JSON lines that say of each prompt what it needs."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError, model_validator

from tierwise.routing.request import Message, Tier
from tierwise.server.errors import UnusableFile
from tierwise.server.judging import Judge
from tierwise.server.tools.conversation import Turn, messages
from tierwise.storage.outcomes import OutcomeSource, StoredOutcome, Verdict

_WELL = 0.5
"""A model did well that scored at least this."""


class Labelled(BaseModel):
    """One line; what else it holds is ignored."""

    prompt: str = Field(min_length=1)
    history: list[Turn] = []
    source: str = "prompts"
    """Figures are given for each source on its own."""
    weak_ok: float | None = Field(None, ge=0, le=1)
    """What a cheap model scored, and below, what a premium model did."""
    strong_ok: float | None = Field(None, ge=0, le=1)
    tier: Tier | None = None
    """The tier that the prompt needs."""
    verdict: Verdict | None = None
    """How an answer of `tier_served` was found; by default of the tier that the analysis chooses."""
    tier_served: Tier | None = None

    @model_validator(mode="after")
    def _one_label(self) -> "Labelled":
        if (self.weak_ok is None) != (self.strong_ok is None):
            raise ValueError("weak_ok and strong_ok go together")
        if sum(label is not None for label in (self.weak_ok, self.tier, self.verdict)) != 1:
            raise ValueError("give one label: weak_ok with strong_ok, or tier, or verdict")
        return self

    @property
    def turns(self) -> tuple[Message, ...]:
        return messages(self.history)


def read_labelled(path: Path) -> list[Labelled]:
    """All lines of the file, blank ones passed over.

    Raises:
        UnusableFile: it cannot be read, has no line, or one that is not as it should be.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UnusableFile(f"{path} cannot be read ({error.strerror}).") from error
    rows = [_parsed(path, at, line) for at, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise UnusableFile(f"{path} is empty. Give one JSON object a line, with a prompt and its label.")
    return rows


def _parsed(path: Path, number: int, line: bytes) -> Labelled:
    try:
        return Labelled.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        told = f"{where}: {problem['msg']}".removeprefix(": ")
        raise UnusableFile(f"{path}, line {number}: {told}. Nothing was taken from the file.") from error


def outcomes_of(rows: Sequence[Labelled], judge: Judge) -> list[StoredOutcome]:
    """What the rows say, as outcomes without the prompts; the last row is the newest."""
    now = time.time_ns() // 1_000_000
    found: list[StoredOutcome] = []
    for age, row in enumerate(reversed(rows)):
        prior, features = judge.described(row.prompt, row.turns)
        found += [
            StoredOutcome(
                call_id=None,
                at=now - age,
                verdict=verdict,
                source=OutcomeSource.MEASURED,
                tier_served=tier.value,
                complexity_score=prior.score,
                features=features,
            )
            for tier, verdict in _verdicts(row, prior.tier)
        ]
    return found[::-1]


def _verdicts(row: Labelled, chosen: Tier) -> Iterator[tuple[Tier, Verdict]]:
    if row.verdict:
        yield row.tier_served or chosen, row.verdict
    elif row.tier is Tier.COMPLEX:
        yield Tier.STANDARD, Verdict.TOO_WEAK
    elif row.tier is Tier.STANDARD:
        yield Tier.SIMPLE, Verdict.TOO_WEAK
        yield Tier.STANDARD, Verdict.GOOD
    elif row.tier is Tier.SIMPLE or (row.weak_ok or 0.0) >= _WELL:
        yield Tier.SIMPLE, Verdict.GOOD
    else:
        yield Tier.SIMPLE if (row.strong_ok or 0.0) >= _WELL else Tier.COMPLEX, Verdict.TOO_WEAK
