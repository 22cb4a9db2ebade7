"""Time limits within a streamed answer: for its first token, and from each token to the next."""

from types import TracebackType
from typing import Self

import anyio

from tierwise.routing.errors import UpstreamTimeout
from tierwise.routing.providers.base import UpstreamCall


class Pace:
    """Ends the block when a token is due and has not come.

    Raises:
        UpstreamTimeout: that happened.
    """

    def __init__(self, call: UpstreamCall) -> None:
        self._call = call
        self._limit = call.first_token_timeout
        self._tokens = 0
        self._scope = anyio.CancelScope()

    def token(self) -> None:
        """One has come, be it of the answer or of a thought."""
        self._tokens += 1
        self._limit = self._call.between_tokens_timeout
        self._rearm()

    def _rearm(self) -> None:
        if self._limit is not None:
            self._scope.deadline = anyio.current_time() + self._limit

    async def __aenter__(self) -> Self:
        self._rearm()
        self._scope.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._scope.__exit__(kind, error, trace):
            name = f"{self._call.provider}/{self._call.model}"
            if self._tokens:
                raise UpstreamTimeout(
                    f"{name} paused for over {self._limit:g} s in the middle of its answer;"
                    " raise reliability.between_tokens_timeout or choose another model."
                )
            raise UpstreamTimeout(
                f"{name} did not begin to answer within {self._limit:g} s;"
                " raise reliability.first_token_timeout or choose a faster model."
            )
