from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from knell.channels.answer import Answer, by_status, failure
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry

NOW = 1_700_000_000.0
MOVED = "redirects are never followed, give the final address"


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """Make an answer; underscores in header names are hyphens."""
    return Answer(status, CIMultiDict({name.replace("_", "-"): text for name, text in headers.items()}), body)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("0", 1.0),
        ("0.05", 1.0),
        ("86400", 3600.0),
        ("9" * 15, 3600.0),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW + 90), 90.0),
        (formatdate(NOW - 90, usegmt=True), 1.0),
        (formatdate(NOW + 1e6, usegmt=True), 3600.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("Wed, 99 Foo 2023 99:99:99 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    """Integer and decimal seconds and dates are read, clamped to 1 s and 1 h; anything else is no hint."""
    assert answer(retry_after=text).retry_after(NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_does_harm(text: str) -> None:
    """Whatever a service writes there, the answer is None or within the bounds."""
    seconds = answer(retry_after=text).retry_after(NOW)
    assert seconds is None or 1 <= seconds <= 3600


def test_no_retry_after_header_is_no_hint() -> None:
    """Without the header there is nothing to wait for."""
    assert answer().retry_after(NOW) is None


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (b"", None),
        (b"ok", None),
        (b'{"a": NaN}', None),
        (b"[" * 100_000, None),
        (b"\xff\xfe", None),
        (b'{"a": 1} and more', None),
    ],
)
def test_json_never_raises(body: bytes, value: Any) -> None:
    """A body that is no JSON, or more than that, is None."""
    assert answer(body=body).json() == value


def test_json_object_is_always_an_object() -> None:
    """Channels look keys up without asking what they got."""
    assert answer(body=b'{"a": 1}').json_object() == {"a": 1}
    assert answer(body=b"[1]").json_object() == {}
    assert answer(body=b"<html>").json_object() == {}


def test_repr_shows_no_content() -> None:
    """A service may echo a secret in its body or headers."""
    assert repr(answer(200, b"canary", x_echo="canary")) == "Answer(status=200)"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Delivered({"status": 200})),
        (204, Delivered({"status": 204})),
        (299, Delivered({"status": 299})),
        (
            301,
            Rejected(
                Reason.CONFIGURATION, "it answered 301: redirects are never followed, give the final address"
            ),
        ),
        (
            308,
            Rejected(
                Reason.CONFIGURATION, "it answered 308: redirects are never followed, give the final address"
            ),
        ),
        (400, Rejected(Reason.INVALID_MESSAGE, "it answered 400")),
        (401, Rejected(Reason.AUTHENTICATION, "it answered 401")),
        (402, Rejected(Reason.REFUSED, "it answered 402")),
        (403, Rejected(Reason.AUTHENTICATION, "it answered 403")),
        (404, Rejected(Reason.CONFIGURATION, "it answered 404")),
        (405, Rejected(Reason.REFUSED, "it answered 405")),
        (408, Retry(Reason.TIMEOUT, 30.0, "it answered 408")),
        (410, Rejected(Reason.GONE, "it answered 410")),
        (413, Rejected(Reason.TOO_LARGE, "it answered 413")),
        (422, Rejected(Reason.INVALID_MESSAGE, "it answered 422")),
        (425, Retry(Reason.SERVER_ERROR, 30.0, "it answered 425")),
        (429, Retry(Reason.RATE_LIMIT, 30.0, "it answered 429")),
        (499, Rejected(Reason.REFUSED, "it answered 499")),
        (500, Retry(Reason.SERVER_ERROR, 30.0, "it answered 500")),
        (502, Retry(Reason.SERVER_ERROR, 30.0, "it answered 502")),
        (503, Retry(Reason.SERVER_ERROR, 30.0, "it answered 503")),
        (504, Retry(Reason.SERVER_ERROR, 30.0, "it answered 504")),
        (599, Retry(Reason.SERVER_ERROR, 30.0, "it answered 599")),
        (999, Retry(Reason.SERVER_ERROR, 30.0, "it answered 999")),
    ],
)
def test_by_status(status: int, expected: Outcome) -> None:
    """Every status has a class; what may pass is tried again after the service's wish."""
    assert by_status(answer(status, retry_after="30"), service="it") == expected


def test_advice_stands_behind_the_status() -> None:
    """A channel may say what to do about a status; other statuses stay as they are."""
    advice = {401: "check the token"}
    assert by_status(answer(401), service="it", advice=advice).detail == "it answered 401: check the token"
    assert by_status(answer(403), service="it", advice=advice).detail == "it answered 403"


@pytest.mark.parametrize("reason", list(Reason))
def test_failure_is_tried_again_when_it_may_pass(reason: Reason) -> None:
    """The scope of a reason decides between `Retry` and `Rejected`."""
    passes = reason.scope in {"transient", "limited"}
    expected = Retry(reason, 2.0, "why") if passes else Rejected(reason, "why")
    assert failure(reason, "why", 2.0) == expected
