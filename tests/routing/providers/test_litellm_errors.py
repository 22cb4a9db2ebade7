import datetime as dt
import inspect
from email.utils import format_datetime

import httpx
import pytest

from tierwise.routing import errors
from tierwise.routing.errors import UpstreamError
from tierwise.routing.providers.base import UpstreamCall
from tierwise.routing.providers.litellm import loading
from tierwise.routing.providers.litellm_errors import LITELLM, classify, message, retry_after, translate
from tierwise.routing.request import Message, Payload

OWN_FINDINGS = (UpstreamError, errors.FormatMismatch, errors.BreakerOpen)
"""What no exception of litellm becomes."""
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, UpstreamError) and kind not in OWN_FINDINGS
]


def test_the_table_names_every_error_class_of_litellm_and_no_other() -> None:
    foreign = loading().result(timeout=60).exceptions
    defined = {
        name
        for name, member in inspect.getmembers(foreign, inspect.isclass)
        if issubclass(member, Exception) and member.__module__ == foreign.__name__
    }
    listed = {kind.__name__ for kind in foreign.LITELLM_EXCEPTION_TYPES}
    assert defined | listed == LITELLM.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_failure_has_a_message_that_names_the_model_and_is_short(
    kind: type[UpstreamError],
) -> None:
    call = UpstreamCall(
        provider="acme", model="model-a", payload=Payload(messages=(Message("user", "hi"),)), timeout=5
    )
    text = message(kind, call, "because " * 30)
    assert "acme" in text
    assert "model-a" in text
    assert len(text) <= 300


def test_the_transport_error_in_the_cause_chain_outweighs_the_class_and_status_above_it() -> None:
    class InternalServerError(Exception):
        status_code = 500

    outer = InternalServerError()
    assert classify(outer) is errors.ServerFailed
    outer.__context__ = httpx.ConnectError("refused")
    assert classify(outer) is errors.ConnectionFailed
    outer.__context__ = httpx.ReadTimeout("slow")
    assert classify(outer) is errors.UpstreamTimeout


def test_the_providers_own_status_outweighs_the_one_that_litellm_makes_of_it() -> None:
    class BadRequestError(Exception):
        status_code = 400

    outer = BadRequestError()
    outer.__context__ = _failed(413, {})
    assert classify(outer) is errors.ContextWindowExceeded


def test_an_error_of_our_own_in_the_chain_outweighs_everything_and_is_quoted() -> None:
    outer = httpx.ReadTimeout("slow")
    outer.__context__ = errors.UnsafeResponse("it redirects to \x1b[2J evil.example")
    payload = Payload(messages=(Message("user", "hi"),))
    call = UpstreamCall(provider="acme", model="model-a", payload=payload, timeout=5)
    error = translate(outer, call)
    assert type(error) is errors.UnsafeResponse
    assert "(it redirects to [2J evil.example)" in str(error)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), errors.UpstreamTimeout),
        (ConnectionResetError(), errors.ConnectionFailed),
        (IndexError("list index out of range"), errors.BadResponse),
    ],
)
def test_errors_of_the_standard_library_are_known(error: Exception, expected: type[UpstreamError]) -> None:
    assert classify(error) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_from_the_headers(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(_limited(headers)) == expected


def test_retry_after_may_be_a_date() -> None:
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    seconds = retry_after(_limited({"retry-after": format_datetime(later, usegmt=True)}))
    assert seconds == pytest.approx(3600, abs=60)


def _limited(headers: dict[str, str]) -> Exception:
    return _failed(429, headers)


def _failed(status: int, headers: dict[str, str]) -> Exception:
    request = httpx.Request("POST", "http://localhost")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError("failed", request=request, response=response)
