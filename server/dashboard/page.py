"""The page, put together from the files beside this one, and the policy that it is served under."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Literal

_FOLDER = Path(__file__).parent
_STYLES = ("vendor/uPlot.min.css", "browser/page.css")
_OWN_SCRIPTS = ("dom", "charts", "cards", "tables", "sources", "main")
_SCRIPTS = ("vendor/uPlot.iife.min.js", *(f"browser/{name}.js" for name in _OWN_SCRIPTS))

Source = Literal["http", "mcp"]
"""Where the page gets its data: from this server, or through the host that shows it."""


@cache
def page(source: Source) -> str:
    """The whole page, which loads nothing else and holds no data."""
    return (
        _text("browser/page.html")
        .replace("{{source}}", source)
        .replace("{{styles}}", "".join(f"<style>{_text(name)}</style>" for name in _STYLES))
        .replace("{{scripts}}", "".join(f"<script>{_text(name)}</script>" for name in _SCRIPTS))
    )


@cache
def policy() -> str:
    """The content-security policy: these styles and scripts, data from this server, and nothing else.

    Trusted types without a policy mean that no text can become markup or code.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(_SCRIPTS)}",
            f"style-src {_hashes(_STYLES)}",
            "img-src data:",  # its icon
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hashes(names: tuple[str, ...]) -> str:
    digests = (hashlib.sha256(_text(name).encode()).digest() for name in names)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
