"""The table of faults survived, and its place in the README."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.faults.audit import Tally
from tests.faults.catalog import FAULTS, MISHAPS
from tests.faults.crash import CRASH
from tests.faults.storm import FAREWELLS, MIXED

README = Path(__file__).parents[2] / "README.md"
ROWS = (*(fault.name for fault in FAULTS), *(mishap.name for mishap in MISHAPS), *FAREWELLS, MIXED, CRASH)
"""What is in the table, in its order."""
_MARKED = re.compile(r"(<!-- faults -->\n).*?(<!-- /faults -->)", re.DOTALL)
_HEADINGS = ("fault", "calls", "answered", "failed clearly", "given up", "past the deadline", "violations")
_NOTICEABLE = 1.0
"""Seconds past a deadline below which a call counts as in time: the client has its own work to do."""


def table(tallies: Sequence[Tally]) -> str:
    """In Markdown."""
    lines = [f"| {' | '.join(_HEADINGS)} |", f"|---|{'---:|' * (len(_HEADINGS) - 1)}"]
    for tally in tallies:
        late = f"{tally.overrun:.1f} s" if tally.overrun >= _NOTICEABLE else "none"
        figures = (tally.calls, tally.answered, tally.failed, tally.given_up)
        cells = [
            tally.fault,
            *(f"{figure:,}" for figure in figures),
            late,
            str(len(tally.violations) or "none"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def in_readme() -> list[str]:
    """The faults in the README's table."""
    found = _MARKED.search(README.read_text("utf-8"))
    rows = found[0].splitlines()[3:-1] if found else []
    return [row.split("|")[1].strip() for row in rows]


def into_readme(text: str) -> None:
    """Put the table in the place of the one that is there."""
    readme = README.read_text("utf-8")
    README.write_text(_MARKED.sub(lambda found: found[1] + text + found[2], readme), "utf-8")
