"""The cost-quality curve, as a picture for terminals, SVG and PNG."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tierwise.server.errors import UnusableFile

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_WIDTH, _HEIGHT, _MARGIN = 640, 400, 60
_COLOURS = ("#2563eb", "#d97706", "#6b7280")
_COLUMNS, _LINES = 64, 16
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Of a braille cell: the bits of the dots of its left and right column, from the top."""
_TITLE = "Quality against the share of calls that go to the strong model"

Curves = Mapping[str, Sequence[float]]
"""By name: qualities 0..1, at evenly spaced shares of strong calls from 0 to 1."""


def in_terminal(curve: Sequence[float]) -> str:
    """One curve in braille dots, with its lowest and highest quality on the left."""
    low, high = min(curve), max(curve)
    cells = [[0] * _COLUMNS for _ in range(_LINES)]
    for x in range(2 * _COLUMNS):
        value = curve[round(x / (2 * _COLUMNS - 1) * (len(curve) - 1))]
        y = round((high - value) / ((high - low) or 1) * (4 * _LINES - 1))
        cells[y // 4][x // 2] |= _DOTS[x % 2][y % 4]
    labels = [f"{high:.3f}", *[""] * (_LINES - 2), f"{low:.3f}"]
    rows = [
        f"{label:>6} │{''.join(chr(0x2800 + bits) for bits in cell)}"
        for label, cell in zip(labels, cells, strict=True)
    ]
    return "\n".join([*rows, f"       └{'─' * _COLUMNS}", f"        0%{'strong calls':^{_COLUMNS - 6}}100%"])


def write_picture(path: Path, curves: Curves) -> None:
    """All curves to a file: SVG, or PNG where Pillow is installed.

    Raises:
        UnusableFile: the name ends otherwise, Pillow is missing, or the file cannot be written.
    """
    try:
        if path.suffix.lower() == ".svg":
            path.write_text(_svg(curves), encoding="utf-8")
        elif path.suffix.lower() == ".png":
            _png(curves).save(path)
        else:
            raise UnusableFile(f"{path} must end in .svg or .png.")
    except OSError as error:
        raise UnusableFile(f"{path} cannot be written ({error.strerror}).") from error


def _points(curve: Sequence[float], low: float, high: float) -> list[tuple[float, float]]:
    width, height = _WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN
    steps, span = max(1, len(curve) - 1), (high - low) or 1.0
    return [
        (_MARGIN + at / steps * width, _MARGIN + (high - value) / span * height)
        for at, value in enumerate(curve)
    ]


def _extent(curves: Curves) -> tuple[float, float]:
    values = [value for curve in curves.values() for value in curve]
    return min(values), max(values)


def _texts(curves: Curves) -> list[tuple[float, float, str, str]]:
    """x, y, colour and words of all that is written."""
    low, high = _extent(curves)
    bottom = _HEIGHT - _MARGIN
    legend = [
        (_WIDTH - 2.6 * _MARGIN, bottom - 20.0 * (len(curves) - at), _COLOURS[at % 3], name)
        for at, name in enumerate(curves)
    ]
    return [
        (_MARGIN, 24.0, "#111827", _TITLE),
        (12.0, _MARGIN, "#111827", f"{high:.3f}"),
        (12.0, bottom - 12, "#111827", f"{low:.3f}"),
        (_MARGIN, bottom + 8, "#111827", "0%"),
        (_WIDTH - 1.4 * _MARGIN, bottom + 8, "#111827", "100%"),
        *legend,
    ]


def _svg(curves: Curves) -> str:
    low, high = _extent(curves)
    left, bottom = _MARGIN, _HEIGHT - _MARGIN
    lines = [
        f'<polyline fill="none" stroke="{_COLOURS[at % 3]}" stroke-width="2" points="'
        + " ".join(f"{x:.1f},{y:.1f}" for x, y in _points(curve, low, high))
        + '"/>'
        for at, curve in enumerate(curves.values())
    ]
    words = [
        f'<text x="{x:.0f}" y="{y + 12:.0f}" fill="{colour}">{escape(text)}</text>'
        for x, y, colour, text in _texts(curves)
    ]
    axes = f'<path d="M{left},{_MARGIN}V{bottom}H{_WIDTH - _MARGIN}" fill="none" stroke="#111827"/>'
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="13">'
    )
    background = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, background, axes, *lines, *words, "</svg>", ""])


def _png(curves: Curves) -> "Picture":
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "#ffffff")
    pen = ImageDraw.Draw(picture)
    low, high = _extent(curves)
    bottom = _HEIGHT - _MARGIN
    pen.line([(_MARGIN, _MARGIN), (_MARGIN, bottom), (_WIDTH - _MARGIN, bottom)], fill="#111827")
    for at, curve in enumerate(curves.values()):
        pen.line(_points(curve, low, high), fill=_COLOURS[at % 3], width=2)
    for x, y, colour, text in _texts(curves):
        pen.text((x, y), text, fill=colour)
    return picture
