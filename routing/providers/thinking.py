"""Telling a model's thinking from its answer where its server does not."""

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkingFilter:
    """Drops the `<think>…</think>` block that DeepSeek-R1 and its kin open an answer with.

    What comes out does not depend on how the text is cut into pieces.
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = "start"

    def feed(self, piece: str) -> str:
        """The part of the answer that is certain once `piece` has arrived."""
        if self._state == "answer":
            return piece
        self._held += piece
        if self._state == "start":
            self._look_for_the_opening()
        if self._state == "thinking" and _CLOSE in self._held:
            self._held = self._held.split(_CLOSE, 1)[1]
            self._state = "gap"
        if self._state == "gap" and (text := self._held.lstrip()):
            self._held, self._state = text, "answer"
        return self._release() if self._state == "answer" else ""

    def close(self) -> str:
        """What was held back, unless it is thinking."""
        return self._release() if self._state == "start" else ""

    def _look_for_the_opening(self) -> None:
        text = self._held.lstrip()
        if text.startswith(_OPEN):
            self._state = "thinking"
        elif not _OPEN.startswith(text):
            self._state = "answer"

    def _release(self) -> str:
        held, self._held = self._held, ""
        return held
