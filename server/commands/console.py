"""How commands write: results to stdout, everything else to stderr, JSON where it is asked for.

Names and answers come from others, so nothing in them may act on the terminal."""

import sys
from collections.abc import Sequence

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tierwise.server.plain import visible, visible_json

STDERR = Console(stderr=True, highlight=False)
STDOUT = Console(highlight=False)


def write_json(model: BaseModel) -> None:
    """The result as indented JSON."""
    click.echo(visible_json(model.model_dump_json(indent=2, exclude_unset=True)))


def write_answer(answer: str) -> None:
    """A model's answer: as it is to a file or program, harmless to a terminal."""
    click.echo(visible(answer) if sys.stdout.isatty() else answer, color=True)  # which takes nothing out


def note(text: str) -> None:
    """A remark, to stderr."""
    STDERR.print(plain(text, "dim"))


def plain(text: str, style: str = "") -> Text:
    """Text that is shown letter by letter: no markup, no control characters."""
    return Text(visible(text), style=style)


def write_table(
    columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, right: Sequence[str] = ()
) -> None:
    """A table; the columns named in `right` hold numbers. A `Text` is shown in its own style."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    STDOUT.print(table)


def dollars(amount: float | None) -> str:
    """USD with as many digits as small amounts need."""
    if amount is None:
        return "unknown"
    size, sign = abs(amount), "-" if amount < 0 else ""
    return f"{sign}${size:,.2f}" if size >= 1 or size == 0 else f"{sign}${size:.6f}"
