"""Text that SQLite can hold."""

from collections.abc import Sequence


def storable(row: Sequence[object]) -> tuple[object, ...]:
    """`row` with a `?` for each half of a surrogate pair that stands alone.

    No UTF-8 exists for it, and a model's name or an upstream's message may hold anything: a call
    that cost money is recorded whatever they hold.
    """
    return tuple(clean(value) if isinstance(value, str) else value for value in row)


def clean(text: str) -> str:
    """See `storable`."""
    return text.encode("utf-8", "replace").decode("utf-8")
