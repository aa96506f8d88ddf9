import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook

from knell.channels import webhook as webhook_module
from knell.channels.webhook import WebhookChannel, WebhookConfig
from knell.events import Link, NotificationEvent
from knell.messages import Delivered, FormattedMessage, MessageFormat, Outcome, Reason, Rejected, Retry

Attempt = Callable[..., tuple[Outcome, list[dict[str, Any]]]]

SECRET = "whsec_" + base64.b64encode(b"canary canary canary 123").decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"canary of last year 1234").decode()
CONTENT = {"type": "job_failed", "timestamp": "2026-01-02T03:04:05Z", "data": {"title": 'é " \n'}}
MESSAGE = FormattedMessage(format=MessageFormat.JSON, content=CONTENT, id="msg_1")
EVENT = NotificationEvent(
    event_type="job_failed",
    source="dispatcher",
    title="nightly",
    event_id="e1",
    timestamp=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    metadata={"job_id": "job-1"},
    links=[Link(url="https://ci.example.com/1", text="Log")],
)


def make(base: str, **more: Any) -> WebhookChannel:
    """Make a channel."""
    return WebhookChannel(WebhookConfig.model_validate({"url": f"{base}/hook?key=CANARY", **more}))


def test_message_is_delivered(attempt: Attempt) -> None:
    """Any 2xx is success; the content is sent as JSON with the id of the message."""
    outcome, (request,) = attempt(make, MESSAGE, (202, "taken, CANARY"))
    assert outcome == Delivered({"status": 202})
    assert (request["method"], request["path"]) == ("POST", "/hook?key=CANARY")
    assert json.loads(request["body"]) == CONTENT
    assert request["headers"]["Content-Type"] == "application/json"
    assert request["headers"]["webhook-id"] == "msg_1"
    assert "webhook-signature" not in request["headers"]


def signed(secrets: list[str]) -> Callable[[str], WebhookChannel]:
    """Return what makes a channel that signs."""
    return lambda base: make(base, signature_secret=secrets if len(secrets) > 1 else secrets[0])


@pytest.mark.parametrize(
    ("secrets", "verifying"),
    [
        ([SECRET], [SECRET]),
        ([SECRET, OLD_SECRET], [SECRET, OLD_SECRET]),
        (["canary as plain text"], [base64.b64encode(b"canary as plain text").decode()]),
    ],
    ids=["one", "rotating", "plain text"],
)
def test_signature_is_verified_by_the_standards_own_package(
    attempt: Attempt, secrets: list[str], verifying: list[str]
) -> None:
    """Every active secret verifies the very bytes that were sent, and a changed body is refused."""
    _, (request,) = attempt(signed(secrets), MESSAGE, (200, "ok"))
    headers = {name.lower(): value for name, value in request["headers"].items()}
    for secret in verifying:
        assert Webhook(secret).verify(request["body"], headers) == CONTENT
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(secret).verify(request["body"].replace(b"job_failed", b"job_passed"), headers)


def test_timestamp_is_of_this_attempt(attempt: Attempt) -> None:
    """Each attempt has its own time and signature, and the same id."""
    times = iter([1_700_000_000.9, 1_700_000_060.0])
    section = WebhookConfig.model_validate({"url": "http://h", "signature_secret": SECRET})

    def timed(base: str) -> WebhookChannel:
        return WebhookChannel(section.model_copy(update={"url": make(base).config.url}), lambda: next(times))

    seen = [attempt(timed, MESSAGE, (200, "ok"))[1][0]["headers"] for _ in range(2)]
    assert [headers["webhook-timestamp"] for headers in seen] == ["1700000000", "1700000060"]
    assert [headers["webhook-id"] for headers in seen] == ["msg_1", "msg_1"]
    assert seen[0]["webhook-signature"] != seen[1]["webhook-signature"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_method_and_headers(attempt: Attempt, method: str) -> None:
    """The section's method and headers are sent; its content type replaces the default in any case."""

    def own(base: str) -> WebhookChannel:
        headers = {"Authorization": "Bearer CANARY", "content-type": "application/cloudevents+json"}
        return make(base, method=method, headers=headers)

    _, (request,) = attempt(own, MESSAGE, (200, "ok"))
    assert request["method"] == method
    assert request["headers"]["Authorization"] == "Bearer CANARY"
    assert request["headers"].getall("Content-Type") == ["application/cloudevents+json"]


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (204, {}, Delivered({"status": 204})),
        (200, {"webhook-delivery": "disable"}, Delivered({"status": 200})),
        (301, {"Location": "/other"}, Rejected(Reason.CONFIGURATION)),
        (400, {}, Rejected(Reason.INVALID_MESSAGE)),
        (401, {}, Rejected(Reason.AUTHENTICATION)),
        (403, {}, Rejected(Reason.AUTHENTICATION)),
        (404, {}, Rejected(Reason.CONFIGURATION)),
        (408, {}, Retry(Reason.TIMEOUT)),
        (409, {}, Rejected(Reason.REFUSED)),
        (410, {}, Rejected(Reason.GONE)),
        (413, {}, Rejected(Reason.TOO_LARGE)),
        (422, {}, Rejected(Reason.INVALID_MESSAGE)),
        (425, {}, Retry(Reason.SERVER_ERROR)),
        (429, {"Retry-After": "5"}, Retry(Reason.RATE_LIMIT, 5.0)),
        (429, {}, Retry(Reason.RATE_LIMIT)),
        (500, {}, Retry(Reason.SERVER_ERROR)),
        (502, {}, Retry(Reason.SERVER_ERROR)),
        (503, {"Retry-After": "120"}, Retry(Reason.SERVER_ERROR, 120.0)),
        (504, {}, Retry(Reason.SERVER_ERROR)),
        (400, {"Webhook-Delivery": "Disable"}, Rejected(Reason.GONE)),
        (500, {"webhook-delivery": "abort-message"}, Rejected(Reason.REFUSED)),
        (500, {"webhook-delivery": "whatever"}, Retry(Reason.SERVER_ERROR)),
    ],
)
def test_answers(attempt: Attempt, status: int, headers: dict[str, str], expected: Outcome) -> None:
    """Every answer has its class, the wishes of Svix-like receivers before the status."""
    outcome, requests = attempt(make, MESSAGE, (status, "CANARY", headers))
    assert type(outcome) is type(expected)
    if isinstance(expected, Delivered):
        assert outcome == expected
    else:
        assert outcome.reason is expected.reason  # type: ignore[union-attr]  # of the same type, see above
    assert getattr(outcome, "after", None) == getattr(expected, "after", None)
    assert len(requests) == 1


ENVELOPE = {
    "type": "job_failed",
    "timestamp": "2026-01-02T03:04:05Z",
    "data": {
        "event_type": "job_failed",
        "source": "dispatcher",
        "title": "nightly",
        "description": "",
        "severity": "info",
        "metadata": {"job_id": "job-1"},
        "links": [{"url": "https://ci.example.com/1", "text": "Log"}],
        "timestamp": "2026-01-02T03:04:05Z",
        "event_id": "e1",
    },
}


def test_text_is_wrapped_in_the_standards_body(attempt: Attempt) -> None:
    """Without a JSON template the body holds the type, the time and the whole event."""
    message = FormattedMessage(format=MessageFormat.TEXT, content="nightly", events=(EVENT,))
    _, (request,) = attempt(make, message, (200, "ok"))
    assert json.loads(request["body"]) == ENVELOPE
    assert len(request["headers"]["webhook-id"]) == 36


def test_batch_of_text_holds_all_events(attempt: Attempt) -> None:
    """Several events in one request come as a type of their own."""
    message = FormattedMessage(format=MessageFormat.TEXT, content="nightly", events=(EVENT, EVENT))
    _, (request,) = attempt(make, message, (200, "ok"))
    assert json.loads(request["body"]) == {
        "type": "knell.batch",
        "timestamp": "2026-01-02T03:04:05Z",
        "data": {"count": 2, "events": [ENVELOPE["data"]] * 2},
    }


def test_text_without_an_event_is_sent_as_text(attempt: Attempt) -> None:
    """A message about no event, such as a test of the channel, is wrapped too."""
    _, (request,) = attempt(make, FormattedMessage(format=MessageFormat.TEXT, content="hello"), (200, "ok"))
    body = json.loads(request["body"])
    assert (body["type"], body["data"]) == ("knell.message", {"text": "hello"})
    assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None


def test_content_that_is_no_json_is_rejected(attempt: Attempt) -> None:
    """An encoding error is an outcome, and nothing is sent."""
    message = FormattedMessage(format=MessageFormat.JSON, content={"title": "\ud800"})
    outcome, requests = attempt(make, message)
    assert outcome == Rejected(Reason.INVALID_MESSAGE, "the content cannot be written as JSON")
    assert requests == []


def test_receiver_that_is_down(attempt: Attempt) -> None:
    """A failure of the transport is passed on as the client classified it."""

    def down(_: str) -> WebhookChannel:
        return make("http://127.0.0.1:1")

    outcome, _ = attempt(down, MESSAGE)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.CONNECTION_ERROR
    assert outcome.detail.startswith("http://127.0.0.1:1: no connection")


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"url": "CANARY"}, "http or https URL"),
        ({"method": "GET"}, "method"),
        ({"headers": {"Webhook-Signature": "CANARY"}}, "Webhook-Signature is set by knell"),
        ({"headers": {"webhook-id": "CANARY"}}, "set by knell"),
        ({"headers": {"WEBHOOK-TIMESTAMP": "CANARY"}}, "set by knell"),
        ({"headers": {"Content-Length": "1"}}, "set by knell"),
        ({"headers": {"Host": "CANARY"}}, "set by knell"),
        ({"headers": {"X-A": "CANARY\r\nX-B: 1"}}, "the value of X-A holds a line break"),
        ({"headers": {"X-A": "CANARY\n"}}, "the value of X-A"),
        ({"headers": {"X-A": "CANARY\0"}}, "the value of X-A"),
        ({"headers": {"X-A\r\nX-B": "CANARY"}}, "no header name"),
        ({"headers": {"": "CANARY"}}, "no header name"),
        ({"signature_secret": ""}, "the secret is empty"),
        ({"signature_secret": "whsec_"}, "the secret is empty"),
        ({"signature_secret": "whsec_CANARY!"}, "base64 after whsec_"),
        ({"signature_secret": [SECRET, "whsec_CANARY!"]}, "base64 after whsec_"),
    ],
)
def test_section_is_checked(section: dict[str, Any], problem: str) -> None:
    """A section that cannot work, or would forge a header, is an error that shows no secret."""
    with pytest.raises(ValidationError) as caught:
        WebhookConfig.model_validate({"url": "https://h", **section})
    assert problem in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    """Address, header values and signing secrets are masked."""
    channel = make("https://h", headers={"X-A": "CANARY"}, signature_secret=[SECRET, "CANARY"])
    shown = repr(channel) + repr(channel.config) + str(channel.config)
    assert "CANARY" not in shown
    assert SECRET not in shown


def test_no_event_by_default() -> None:
    """The specification's table names no event for webhooks: the section does."""
    assert WebhookChannel.default_events == frozenset()
    assert webhook_module.WebhookConfig.model_validate({"url": "https://h"}).rate_limit is None
