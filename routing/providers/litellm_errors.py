"""The one table that maps what litellm raises, and what stands behind it, to our errors.

A failure is judged by the first of these that knows it:

0. an error of our own in its cause chain, which our transport has raised;
1. the transport error in that chain, because litellm reports a refused connection as a 500;
2. the provider's words, because some providers say "too long" or "no such model" with a plain 400;
3. what could not be read of an answer that was no failure;
4. litellm's class;
5. the HTTP status.

Classes are named, not imported, so that this module loads in no time.
"""

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from tierwise.routing import errors
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import RateStatus, UpstreamCall
from tierwise.routing.providers.litellm_reasons import printable, reason
from tierwise.routing.providers.rate_headers import rate_status

Kind = type[UpstreamError]

TRANSPORT: Mapping[str, Kind] = {
    # httpx
    "ConnectTimeout": errors.ConnectionFailed,
    "TimeoutException": errors.UpstreamTimeout,
    "DecodingError": errors.BadResponse,
    "TransportError": errors.ConnectionFailed,
    # aiohttp
    "ConnectionTimeoutError": errors.ConnectionFailed,
    "ServerTimeoutError": errors.UpstreamTimeout,
    "ClientConnectionError": errors.ConnectionFailed,
    "ClientPayloadError": errors.ConnectionFailed,
    # the standard library; socket, DNS and TLS errors are OSErrors
    "TimeoutError": errors.UpstreamTimeout,
    "ConnectionError": errors.ConnectionFailed,
    "gaierror": errors.ConnectionFailed,
    "SSLError": errors.ConnectionFailed,
}

LITELLM: Mapping[str, Kind | None] = {
    # None: the class says nothing that its cause or its status does not say better.
    "APIConnectionError": None,  # what litellm makes of an error that it does not know
    "APIError": None,
    "APIResponseValidationError": errors.BadResponse,
    "AuthenticationError": errors.AuthenticationFailed,
    "BadGatewayError": errors.ServerFailed,
    "BadRequestError": None,
    "BlockedPiiEntityError": errors.ContentRefused,
    "BudgetExceededError": errors.QuotaExhausted,
    "ContentPolicyViolationError": errors.ContentRefused,
    "ContextWindowExceededError": errors.ContextWindowExceeded,
    "GuardrailRaisedException": errors.ContentRefused,
    "ImageFetchError": errors.RequestRejected,
    "InternalServerError": errors.ServerFailed,
    "InvalidRequestError": errors.RequestRejected,
    "JSONSchemaValidationError": errors.BadResponse,
    "LiteLLMUnknownProvider": errors.ModelNotFound,
    "MidStreamFallbackError": None,
    "MockException": None,
    "ModelNotMappedError": errors.ModelNotFound,
    "ModifyResponseException": errors.ContentRefused,
    "NotFoundError": errors.ModelNotFound,
    "OpenAIError": None,
    "PaymentRequiredError": errors.QuotaExhausted,
    "PermissionDeniedError": errors.AuthenticationFailed,
    "RateLimitError": errors.RateLimited,
    "RejectedRequestError": errors.RequestRejected,
    "SensitiveDataRouteException": errors.ContentRefused,
    "ServiceUnavailableError": errors.ServerFailed,
    "Timeout": errors.UpstreamTimeout,
    "UnprocessableEntityError": errors.RequestRejected,
    "UnsupportedParamsError": errors.RequestRejected,
    "VectorStoreSearchError": errors.RequestRejected,
}

STATUS: Mapping[int, Kind] = {
    200: errors.BadResponse,
    400: errors.RequestRejected,
    401: errors.AuthenticationFailed,
    402: errors.QuotaExhausted,
    403: errors.AuthenticationFailed,
    404: errors.ModelNotFound,
    408: errors.UpstreamTimeout,
    410: errors.ModelNotFound,
    413: errors.ContextWindowExceeded,
    422: errors.RequestRejected,
    429: errors.RateLimited,
}
"""Any other status below 500 is a `RequestRejected`, from 500 on a `ServerFailed`."""

_WORDS: tuple[tuple[frozenset[int | None], re.Pattern[str], Kind], ...] = tuple(
    (frozenset(statuses), re.compile("|".join(words), re.IGNORECASE), kind)
    for kind, statuses, words in (
        (
            # A LiteLLM proxy's own budgets come with 400, 422 or 429, by version and by what they are of.
            errors.QuotaExhausted,
            (400, 403, 422, 429),
            (
                r"budget has been exceeded",
                r"(crossed|exceeded) budget",
                r"budget_?exceeded|exceeded(token)?budget",
                r"insufficient_quota",
                r"credit balance is too low",
            ),
        ),
        (
            errors.ContextWindowExceeded,
            (400, 413, 422, 500),
            (
                r"context[ _](length|window|limit|size)",
                r"maximum context",
                r"max_model_len",
                r"(prompt|input|request) (is )?too (long|large)",
                r"too many (input )?tokens",
                r"reduce the length",
                r"exceeds? the maximum number of tokens",
            ),
        ),
        (
            errors.ContentRefused,
            (400, 403, 422),
            (
                r"content[ _](policy|filter|management)",
                r"safety (system|settings)",
                r"responsible ?ai",
                r"moderation|flagged",
            ),
        ),
        (
            errors.AuthenticationFailed,
            (400, 500),
            (
                r"api[ _-]?key.{0,30}(invalid|expired|not valid)",
                r"(invalid|incorrect) api[ _-]?key",
                r"missing credentials",
                r"no connected db",  # a LiteLLM proxy without a database knows no key but the master's
            ),
        ),
        (
            errors.ModelNotFound,
            (400,),
            (
                r"model_not_found",
                r"not a valid model|unknown model|invalid model name",
                r"model.{0,80}(does not exist|not found|decommissioned)",
                r"llm provider not provided",
            ),
        ),
        (
            errors.BadResponse,
            (200, 422, 500),
            (
                r"unable to get json",
                r"invalid response from llm endpoint",
                r"provider returned .{0,20}choices",
                r"error converting to valid response",
                r"invalid response object",
            ),
        ),
        (errors.ServerFailed, (None,), (r"overloaded", r"server_error", r"service unavailable")),
    )
)
"""What providers say (and litellm says of unreadable answers), with the statuses that they say it under."""

_UNREADABLE = ("JSONDecodeError", "UnicodeDecodeError", "RecursionError", "ValidationError")
"""What readers raise of an answer; litellm reports some as a 500."""

_INVENTS_STATUS = ("APIConnectionError", "MidStreamFallbackError")
"""Have a status, be it only for want of another: 500, or that of the error that they wrap."""

_TEXTS: Mapping[Kind, str] = {
    errors.RateLimited: "{name} is rate limited or out of quota{detail}; wait, or let another model serve.",
    errors.QuotaExhausted: "{provider} says that the budget or credit for {model} is spent{detail}; "
    "raise it there, or let another model serve.",
    errors.ConnectionFailed: "The connection to {name} failed{detail}; check the network and its api_base.",
    errors.UpstreamTimeout: "{name} did not answer in time{detail}; "
    "raise litellm.timeout (now {timeout:g} s) or choose a faster model.",
    errors.ServerFailed: "{name} failed on its side{detail}; try again later.",
    errors.BadResponse: "{name} sent no complete answer{detail}; check that its api_base is right.",
    errors.UnsafeResponse: "The answer of {name} was refused{detail}; check that its api_base is right.",
    errors.ContextWindowExceeded: "The prompt with its history is too long for {name}{detail}; "
    "shorten it or choose a model with a larger window.",
    errors.AuthenticationFailed: "{provider} rejected its API key, or the key may not use {name}{detail}; "
    "check the key, its rights and its credit.",
    errors.ModelNotFound: "{provider} has no model {model}{detail}; check the name and its api_base.",
    errors.ContentRefused: "{name} refused the content by its policy{detail}; "
    "rephrase the prompt or choose another model.",
    errors.UnusableMedia: "{name} sent nothing that can be handed out{detail}; "
    "choose another model, or rephrase the prompt.",
    errors.RequestRejected: "{name} rejected the request as invalid{detail}; "
    "change its parameters or choose another model.",
}

_RETRY_DELAY = re.compile(r'"retryDelay"\s*:\s*"(\d+(?:\.\d+)?)s"')
"""`google.rpc.RetryInfo`, which Gemini puts into the body of its 429."""
_MAX_MESSAGE = 300


def translate(error: Exception, call: UpstreamCall) -> UpstreamError:
    """Our error for what `call` failed with, with a message fit for the user."""
    chain = tuple(_causes(error))
    kind = classify(error)
    own = _own(chain)
    detail = printable(str(own)) if own else reason(chain, kind, call)
    translated = kind(message(kind, call, detail), retry_after=retry_after(error), rate=_rate(error))
    if own:
        translated.usage, translated.reported_cost = own.usage, own.reported_cost
    return translated


def classify(error: BaseException) -> Kind:
    """The class of ours that stands for `error`; `BadResponse` for what nothing here knows."""
    chain = tuple(_causes(error))
    status = _status(chain)
    own = _own(chain)
    return (
        (type(own) if own else None)
        or _by_class(chain, TRANSPORT)
        or _by_words(chain, status)
        or _by_reader(chain)
        or _by_class(chain, LITELLM)
        or _by_status(status)
        or errors.BadResponse
    )


def message(kind: Kind, call: UpstreamCall, detail: str = "") -> str:
    """What failed, why (`detail`) and what to do, in at most 300 characters."""
    name = f"{call.provider}/{call.model}"
    text = _TEXTS[kind].format(
        name=name,
        provider=call.provider,
        model=call.model,
        timeout=call.timeout,
        detail=f" ({detail})" if detail else "",
    )
    return text[:_MAX_MESSAGE]


def retry_after(error: BaseException) -> float | None:
    """Seconds to wait, as the provider's headers or Gemini's message say; None where they do not."""
    for headers in _headers(error):
        lowered = {str(name).lower(): str(value) for name, value in headers.items()}
        if milliseconds := _number(lowered.get("retry-after-ms")):
            return milliseconds / 1000
        if value := lowered.get("retry-after"):
            return _seconds(value)
    found = _RETRY_DELAY.search(str(error))
    return float(found[1]) if found else None


def _rate(error: BaseException) -> RateStatus | None:
    now = dt.datetime.now(dt.UTC)
    return next((told for headers in _headers(error) if (told := rate_status(headers, now))), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        original: Any = getattr(error, "original_exception", None)
        error = original or error.__cause__ or error.__context__


def _own(chain: tuple[BaseException, ...]) -> UpstreamError | None:
    return next((error for error in chain if isinstance(error, UpstreamError)), None)


def _by_class(chain: tuple[BaseException, ...], table: Mapping[str, Kind | None]) -> Kind | None:
    for error in chain:
        known = next((base.__name__ for base in type(error).__mro__ if base.__name__ in table), None)
        if known and (kind := table[known]):
            return kind
    return None


def _by_words(chain: tuple[BaseException, ...], status: int | None) -> Kind | None:
    text = str(chain[0])
    return next((kind for on, words, kind in _WORDS if status in on and words.search(text)), None)


def _by_status(status: int | None) -> Kind | None:
    if status is None:
        return None
    return STATUS.get(status) or (errors.ServerFailed if status >= 500 else errors.RequestRejected)


def _by_reader(chain: tuple[BaseException, ...]) -> Kind | None:
    unreadable = _failure(chain) is None and any(_is(error, *_UNREADABLE) for error in chain)
    return errors.BadResponse if unreadable else None


def _status(chain: tuple[BaseException, ...]) -> int | None:
    """The provider's own status if the chain holds its answer, else litellm's, which may be another."""
    statuses = (getattr(error, "status_code", None) for error in chain if not _is(error, *_INVENTS_STATUS))
    return _failure(chain) or next((status for status in statuses if isinstance(status, int)), None)


def _failure(chain: tuple[BaseException, ...]) -> int | None:
    """The status of the provider's answer, if it is one of a failure."""
    answers = (getattr(error, "response", None) for error in chain if _is(error, "HTTPStatusError"))
    return next((answer.status_code for answer in answers if answer is not None), None)


def _is(error: BaseException, *names: str) -> bool:
    return any(base.__name__ in names for base in type(error).__mro__)


def _headers(error: BaseException) -> Iterator[Mapping[str, str]]:
    for cause in _causes(error):
        response: Any = getattr(cause, "response", None)
        for owner in (response, cause):
            headers: Any = getattr(owner, "headers", None)
            if isinstance(headers, Mapping):
                yield headers


def _seconds(value: str) -> float | None:
    """RFC 9110, 10.2.3: `Retry-After` holds seconds or an HTTP date."""
    if (number := _number(value)) is not None:
        return number
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
