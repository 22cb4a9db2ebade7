"""The text of an answer while it is written, and what becomes of it when its stream breaks off."""

from dataclasses import dataclass, field, replace

import anyio

from tierwise.routing.providers.base import Completion
from tierwise.routing.request import Message, Payload
from tierwise.routing.tokens import estimate_prompt_tokens, estimate_tokens
from tierwise.storage.records import Usage

_TAIL = 200
"""Characters at the end of a text in which a continuation is looked for that begins by repeating it."""
_CHANCE = 12
"""Characters that two texts may share by chance where one ends and the other begins."""
_LONGEST_WORD = 40
"""Characters of a last word that may be cut off to begin anew with it; beyond, it is no word."""
_GO_ON = (
    "Your answer was cut off by a broken connection. Go on exactly where it ends, in the same format:"
    " repeat nothing, comment on nothing, and begin with the very next word."
)


@dataclass(slots=True, eq=False)
class Writer:
    """Takes what one attempt writes."""

    draft: "Draft"
    notice: str | None = None
    """What became of text that was there before; None if there was none."""
    pieces: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def write(self, piece: str) -> None:
        self.pieces.append(piece)
        self.draft.shown = self.draft.shown or self
        self.draft.wake()


@dataclass(slots=True)
class Draft:
    """What there is of one call's answer. Of attempts side by side the first that writes is shown."""

    kept: str = ""
    """Begins the answer: text that a stream had brought before it broke off."""
    authors: list[str] = field(default_factory=list[str])
    """The models that wrote what is kept."""
    setback: str | None = None
    """Why the last text that was there did not simply grow; None if it did."""
    interrupted: bool = False
    """That has just happened: no other attempt has begun since."""
    shown: Writer | None = None
    _last: Writer | None = None
    _changed: anyio.Event | None = None
    """Only where somebody waits: most calls have nobody who does."""

    @property
    def text(self) -> str:
        """The answer as far as it is written. It may grow still, or give way to another."""
        more = self.shown.text if self.shown else ""
        return self.kept if more in self.kept[-_TAIL:] else joined(self.kept, more)

    @property
    def notice(self) -> str | None:
        """What became of text that was there before; None as long as the text has only grown."""
        if self.interrupted:
            return f"({self.setback}.)"
        writer = self.shown or self._last
        return writer and writer.notice

    def wake(self) -> None:
        """Let all who wait go on."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def changed(self) -> None:
        """Wait until the text changes, or there is some other reason to look."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def begin(self, model: str) -> Writer:
        """The next attempt starts to write."""
        what = "goes on from there" if self.kept else "starts over"
        self._last = Writer(self, f"({self.setback}; {model} {what}.)" if self.setback else None)
        self.interrupted = False
        return self._last

    def end(self, writer: Writer) -> None:
        """An attempt has ended without an answer that counts; what it wrote is not shown any longer."""
        if self.shown is writer:
            self.shown = None
            self.wake()

    def break_off(self, writer: Writer, model: str, *, keep: bool) -> None:
        """An attempt has failed. If it had written something, the next one goes on from there (`keep`),
        or all that was written is lost."""
        self.end(writer)
        if not writer.pieces:
            return
        self.setback, self.interrupted = f"{model} broke off", True
        kept = joined(self.kept, up_to_last_word(writer.text))
        if keep and kept.strip():
            self.kept = kept
            self.authors.append(model)
        else:
            self.start_over()

    def set_aside(self, model: str, fault: str) -> None:
        """The whole answer of `model` was not good enough; the next attempt answers afresh."""
        if self.text:
            self.setback, self.interrupted = f"{model}: {fault}", True
        self.shown = None
        self.start_over()

    def start_over(self) -> None:
        """Let the next attempt answer from the beginning."""
        self.kept = ""
        self.authors.clear()
        self.wake()

    def asking(self, payload: Payload) -> Payload:
        """`payload`, or one that asks for what is missing of the answer to it."""
        if not self.kept:
            return payload
        turns = (Message("assistant", self.kept), Message("user", _GO_ON))
        return replace(payload, messages=(*payload.messages, *turns))

    def completed(self, rest: Completion, payload: Payload) -> Completion:
        """The whole answer to `payload`, whose last part is `rest`."""
        if not self.kept:
            return rest
        usage = Usage(
            input_tokens=estimate_prompt_tokens(payload),
            output_tokens=estimate_tokens(self.kept) + rest.usage.output_tokens,
            estimated=True,
        )
        return replace(rest, content=joined(self.kept, rest.content), usage=usage)


def up_to_last_word(text: str) -> str:
    """`text` without a last word that may be half of one: a model goes on with words, not within them."""
    start = max(text.rfind(space) for space in " \n\t") + 1
    return text[:start] if start > 0 and len(text) - start <= _LONGEST_WORD else text


def joined(kept: str, more: str) -> str:
    """`more` after `kept`, without the end of `kept` that `more` may begin by repeating.

    Repeated is only what is too long to be so by chance. A model that goes on begins with a space, or
    does not; where `kept` ends with one, there is one.
    """
    tail = kept[-_TAIL:]
    for length in range(min(len(tail), len(more)), _CHANCE - 1, -1):
        if tail.endswith(more[:length]):
            return kept + more[length:]
    return kept + (more[1:] if kept.endswith(" ") and more.startswith(" ") else more)
