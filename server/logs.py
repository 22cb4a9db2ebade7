"""What the process says on stderr: log records, warnings and uncaught errors, without keys or prompts."""

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from tierwise.routing.keys import Redactor, secrets_in
from tierwise.server.plain import visible
from tierwise.server.settings import Settings, named_variables

_log = logging.getLogger(__name__)

_HEARD = frozenset({"tierwise", "mcp", "uvicorn", "asyncio"})
"""Whose records are shown above DEBUG: other libraries quote what they choke on, and raise it besides."""


def redactor(environ: Mapping[str, str], settings: Settings | None = None) -> Redactor:
    """What takes the secrets in the environment, and those that the settings name, out of texts."""
    return Redactor(secrets_in(environ, named_variables(settings) if settings else ()))


def log_to_stderr(level: str, redact: Redactor) -> None:
    """Send every log record, warning and uncaught error of the process to stderr, where it cannot disturb
    the protocol.

    Keys are taken out at every level. At DEBUG the warnings of libraries and the texts of errors in
    tracebacks are shown, which may quote prompts; at other levels they are not. Below WARNING only tierwise
    is heard, because libraries write prompts and headers there.
    """
    whole = level == "DEBUG"
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(redact, whole=whole))
    if not whole:
        handler.addFilter(lambda record: record.name.partition(".")[0] in _HEARD)
    logging.basicConfig(
        level=max(logging.WARNING, logging.getLevelNamesMapping()[level]), handlers=[handler], force=True
    )
    logging.getLogger("tierwise").setLevel(level)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # else a record that cannot be formatted is printed with its arguments
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def log_errors_of(loop: asyncio.AbstractEventLoop) -> None:
    """Log what nobody catches on `loop`; asyncio's own report would show tasks, with what they hold."""
    loop.set_exception_handler(_uncaught_on_loop)


class _Formatter(logging.Formatter):
    """`whole` shows the texts of errors, which may quote a prompt or an answer."""

    def __init__(self, redact: Redactor, *, whole: bool) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._redact = redact
        self._whole = whole

    def formatMessage(self, record: logging.LogRecord) -> str:
        # A further line is set in, so that it cannot pose as a record.
        return visible(self._redact(super().formatMessage(record))).replace("\n", "\n  ")

    def formatException(self, ei: Any) -> str:
        return visible(self._redact("".join(self._told(ei[1], set()))))

    def formatStack(self, stack_info: str) -> str:
        return visible(self._redact(stack_info))

    def _told(self, error: BaseException | None, seen: set[int]) -> Iterator[str]:
        """Where the error came from and of what class it is, after what it came from."""
        if error is None or id(error) in seen:
            return
        seen.add(id(error))
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        yield from self._told(before, seen)
        yield from traceback.format_tb(error.__traceback__)
        text = str(error) if self._whole else getattr(error, "strerror", None) or ""  # the system's own words
        yield f"{type(error).__module__}.{type(error).__qualname__}{f': {text}' if text else ''}\n"
        for part in getattr(error, "exceptions", ()):
            yield from self._told(part, seen)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _log.critical("tierwise itself failed; please report it.", exc_info=(kind, error, trace))


def _uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        _log.error("A thread failed", exc_info=failed.exc_value)


def _unraisable(failed: "sys.UnraisableHookArgs") -> None:
    _log.error("An error could not be raised", exc_info=failed.exc_value)


def _uncaught_on_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _log.error("%s", context["message"], exc_info=context.get("exception"))
