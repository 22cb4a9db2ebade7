"""The routing branch of the error tree whose root is `tierwise.storage.errors.TierwiseError`.

TierwiseError
├── StorageError …
├── InvalidRequest            the caller's arguments cannot be served as they are
│   └── UnknownModel          no such alias, model or provider
├── BudgetExceeded            a budget has no room for what the call may cost
├── NoCandidate               nothing is left to try: no key, too small a window, price cap …
├── Busy                      as many calls as may wait do so already
├── DeadlineExceeded          the call's time ran out
├── AllCandidatesFailed       every candidate was tried and failed
├── SemanticUnavailable       the word vectors of the extra `semantic` are missing or broken
└── UpstreamError             one attempt at one provider failed
    ├── RateLimited           429: next candidate at once
    ├── QuotaExhausted        402, a budget or credit at the provider is spent: next candidate
    ├── ConnectionFailed      refused, reset, DNS, TLS: back off, retry
    ├── UpstreamTimeout       no answer in time: back off, retry
    ├── ServerFailed          5xx, overloaded: back off, retry
    ├── BadResponse           an answer that is not one: back off, retry
    ├── BreakerOpen           not even tried, after its failures of late: next candidate
    ├── UnsafeResponse        an answer that breaks a limit, or a redirect: next candidate
    ├── ContextWindowExceeded next candidate with a larger window
    ├── AuthenticationFailed  401, 403: next candidate
    ├── ModelNotFound         404, retired model: next candidate
    ├── ContentRefused        content policy: next candidate
    ├── UnusableMedia         no image or sound came, or none that can be handed out: next candidate
    ├── FormatMismatch        not the form asked for, twice: next candidate of a higher tier, once
    └── RequestRejected       400, 422: ends the call at once
"""

from typing import TYPE_CHECKING

from tierwise.storage.errors import TierwiseError

if TYPE_CHECKING:
    from tierwise.routing.providers.base import RateStatus
    from tierwise.storage.records import Usage


class InvalidRequest(TierwiseError):
    """The caller's arguments cannot be served as they are."""


class UnknownModel(InvalidRequest):
    """The name is no alias, no known model and names no provider."""


class NoCandidate(TierwiseError):
    """No model is left that could serve the call; the message gives the reason for each."""


class BudgetExceeded(TierwiseError):
    """A budget has no room for what the call may cost; it says which one, and when it begins anew.

    `downgrade` says that a cheaper model may be tried: every budget that refused asks for that.
    """

    def __init__(self, message: str, *, downgrade: bool) -> None:
        super().__init__(message)
        self.downgrade = downgrade


class Busy(TierwiseError):
    """As many calls as may be under way or wait are there already; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(TierwiseError):
    """The call's time ran out before any model had answered."""


class AllCandidatesFailed(TierwiseError):
    """Every candidate was tried and failed; the message says how each did."""


class SemanticUnavailable(TierwiseError):
    """The word vectors of the extra `semantic` are not installed or cannot be loaded."""


class UpstreamError(TierwiseError):
    """One attempt at one provider failed.

    `code` is the stable name that goes into the ledger's `outcome`; `retryable` says whether the
    same candidate is worth another try after a pause; `retry_after` is what the provider asked
    for, in seconds, and `rate` what it said of its limits. `usage` and `reported_cost` (nano-USD) are what
    the provider says that it charges for all the same.
    """

    code = "upstream_error"
    retryable = False

    def __init__(
        self, message: str, *, retry_after: float | None = None, rate: "RateStatus | None" = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.rate = rate
        self.usage: Usage | None = None
        self.reported_cost: int | None = None


class RateLimited(UpstreamError):
    code = "rate_limited"


class QuotaExhausted(UpstreamError):
    code = "quota_exhausted"


class ConnectionFailed(UpstreamError):
    code = "connection_failed"
    retryable = True


class UpstreamTimeout(UpstreamError):
    code = "timeout"
    retryable = True


class ServerFailed(UpstreamError):
    code = "server_failed"
    retryable = True


class BadResponse(UpstreamError):
    code = "bad_response"
    retryable = True


class BreakerOpen(UpstreamError):
    """The model is left alone for `retry_after` seconds; nothing was sent."""

    code = "breaker_open"


class UnsafeResponse(UpstreamError):
    code = "unsafe_response"


class ContextWindowExceeded(UpstreamError):
    code = "context_window_exceeded"


class AuthenticationFailed(UpstreamError):
    code = "authentication_failed"


class ModelNotFound(UpstreamError):
    code = "model_not_found"


class ContentRefused(UpstreamError):
    code = "content_refused"


class UnusableMedia(UpstreamError):
    code = "unusable_media"


class FormatMismatch(UpstreamError):
    code = "format_mismatch"


class RequestRejected(UpstreamError):
    code = "request_rejected"
