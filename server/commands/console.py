"""How commands write: results to stdout, everything else to stderr, JSON where it is asked for."""

from collections.abc import Sequence

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

STDERR = Console(stderr=True, highlight=False)
STDOUT = Console(highlight=False)


def write_json(model: BaseModel) -> None:
    """The result as indented JSON."""
    click.echo(model.model_dump_json(indent=2, exclude_unset=True))


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """A table; the columns named in `right` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    STDOUT.print(table)


def dollars(amount: float | None) -> str:
    """USD with as many digits as small amounts need."""
    if amount is None:
        return "unknown"
    size, sign = abs(amount), "-" if amount < 0 else ""
    return f"{sign}${size:,.2f}" if size >= 1 or size == 0 else f"{sign}${size:.6f}"
