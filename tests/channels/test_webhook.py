import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from msgspec import structs
from pydantic import ValidationError
from standardwebhooks import Webhook

from knell import webhooks
from knell.channels import webhook as webhook_module
from knell.channels.signing import Signatures
from knell.channels.webhook import WebhookChannel, WebhookConfig
from knell.config.schema import Security
from knell.events import Link, NotificationEvent
from knell.lab import Drop, Endless, Fault, Half, Lab, Redirect, Reset
from knell.messages import (
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)
from tests.channels.opening import examined, running

Attempt = Callable[..., tuple[Outcome, list[dict[str, Any]]]]

SECRET = "whsec_" + base64.b64encode(b"canary canary canary 123").decode()
PRIVATE = "whsk_" + base64.b64encode(b"canary of a key pair, 32 bytes..").decode()
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


GITHUB_EXAMPLE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""GitHub's documentation, "Validating webhook deliveries": secret and payload of the test below."""


def test_example_of_github() -> None:
    """The signature in GitHub's own documentation comes out, over the exact bytes."""
    signatures = Signatures(["It's a Secret to Everybody"], hub=True)
    assert signatures.headers("m", 1.0, b"Hello, World!")["X-Hub-Signature-256"] == GITHUB_EXAMPLE


@pytest.mark.parametrize(
    ("secrets", "key"),
    [
        ("canary as plain text", "canary as plain text"),
        ([SECRET, OLD_SECRET], SECRET),
        ([PRIVATE, OLD_SECRET], OLD_SECRET),
    ],
    ids=["plain text", "rotating", "beside a key pair"],
)
def test_hub_signature_is_by_the_newest_shared_secret(attempt: Attempt, secrets: Any, key: str) -> None:
    """On request GitHub's header goes along; the standard's own stays."""
    _, (request,) = attempt(partial(make, signature_secret=secrets, hub_signature=True), MESSAGE, (200, "ok"))
    digest = hmac.new(key.encode(), request["body"], hashlib.sha256).hexdigest()
    assert request["headers"]["X-Hub-Signature-256"] == f"sha256={digest}"
    assert "webhook-signature" in request["headers"]


def test_no_hub_signature_without_request(attempt: Attempt) -> None:
    """It is for receivers that know nothing better."""
    _, (request,) = attempt(signed([SECRET]), MESSAGE, (200, "ok"))
    assert "X-Hub-Signature-256" not in request["headers"]


def test_key_pair_and_secret_sign_together(attempt: Attempt) -> None:
    """A list holds both kinds; a receiver believes either, by the public key or by the secret."""
    _, (request,) = attempt(signed([PRIVATE, SECRET]), MESSAGE, (200, "ok"))
    for held in (webhooks.public_key(PRIVATE), SECRET):
        assert webhooks.verify(request["body"], request["headers"], held) == CONTENT


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"bearer_token": "CANARY-token"}, "Bearer CANARY-token"),
        (
            {"basic_auth": {"username": "Aladdin", "password": "open sesame"}},
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        ({"headers": {"authorization": "Custom CANARY"}}, "Custom CANARY"),
    ],
)
def test_credentials(attempt: Attempt, section: dict[str, Any], expected: str) -> None:
    """The section lets knell in by one header."""
    _, (request,) = attempt(partial(make, **section), MESSAGE, (200, "ok"))
    assert request["headers"].getall("Authorization") == [expected]


CREDENTIALS = "check bearer_token, basic_auth, headers and signature_secret, and the clocks"
BODY = "it does not understand the body"
MOVED = "redirects are never followed, give the final address"
GONE = "the endpoint was removed for good; nothing is sent to it any more"
NEVER = "the receiver asks never to be called again (webhook-delivery)"
ABORT = "the receiver asks to give this message up (webhook-delivery)"
DATE = "Mon, 01 Jan 2018 00:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        *((status, {}, Delivered({"status": status})) for status in (200, 201, 202, 204, 299)),
        (200, {"webhook-delivery": "disable"}, Delivered({"status": 200})),
        *(
            (status, {"Location": "/other"}, Rejected(Reason.CONFIGURATION, MOVED))
            for status in (300, 301, 302, 303, 307, 308)
        ),
        (304, {}, Rejected(Reason.CONFIGURATION, MOVED)),
        (400, {}, Rejected(Reason.INVALID_MESSAGE, BODY)),
        (401, {}, Rejected(Reason.AUTHENTICATION, CREDENTIALS)),
        (402, {}, Rejected(Reason.REFUSED)),
        (403, {}, Rejected(Reason.AUTHENTICATION, CREDENTIALS)),
        (404, {}, Rejected(Reason.CONFIGURATION, "check the path in url")),
        (405, {}, Rejected(Reason.REFUSED, "check method")),
        (408, {}, Retry(Reason.TIMEOUT)),
        (409, {}, Rejected(Reason.REFUSED)),
        (410, {}, Rejected(Reason.GONE, GONE)),
        (413, {}, Rejected(Reason.TOO_LARGE, "the body is too large for it")),
        (415, {}, Rejected(Reason.REFUSED, "check the Content-Type in headers")),
        (422, {}, Rejected(Reason.INVALID_MESSAGE, BODY)),
        (425, {}, Retry(Reason.SERVER_ERROR)),
        (429, {"Retry-After": "5"}, Retry(Reason.RATE_LIMIT, 5.0)),
        (429, {"Retry-After": "1.5"}, Retry(Reason.RATE_LIMIT, 1.5)),
        (429, {"Retry-After": "0"}, Retry(Reason.RATE_LIMIT, 1.0)),
        (429, {"Retry-After": "86400"}, Retry(Reason.RATE_LIMIT, 3600.0)),
        (429, {"Retry-After": DATE}, Retry(Reason.RATE_LIMIT, 1.0)),
        (429, {"Retry-After": "soon"}, Retry(Reason.RATE_LIMIT)),
        (429, {}, Retry(Reason.RATE_LIMIT)),
        (499, {}, Rejected(Reason.REFUSED)),
        *((status, {}, Retry(Reason.SERVER_ERROR)) for status in (500, 501, 502, 503, 504, 599)),
        (503, {"Retry-After": "120"}, Retry(Reason.SERVER_ERROR, 120.0)),
        (503, {"Retry-After": DATE}, Retry(Reason.SERVER_ERROR, 1.0)),
        (400, {"Webhook-Delivery": "Disable"}, Rejected(Reason.GONE, NEVER)),
        (503, {"Webhook-Delivery": "disable"}, Rejected(Reason.GONE, NEVER)),
        (500, {"webhook-delivery": "abort-message"}, Rejected(Reason.REFUSED, ABORT)),
        (500, {"webhook-delivery": "whatever"}, Retry(Reason.SERVER_ERROR)),
    ],
)
def test_answers(attempt: Attempt, status: int, headers: dict[str, str], expected: Outcome) -> None:
    """Every answer has its class, its wait and its advice, the wishes of Svix-like receivers first."""
    outcome, requests = attempt(make, MESSAGE, (status, "CANARY", headers))
    if not isinstance(expected, Delivered) and expected.detail not in {NEVER, ABORT}:
        said = f"the receiver answered {status}" + (f": {expected.detail}" if expected.detail else "")
        expected = structs.replace(expected, detail=said)
    assert outcome == expected
    assert len(requests) == 1


@pytest.mark.parametrize("body", [b"\xff\xfe", "<html>", "", b"{" * 70_000])
def test_body_of_a_success_is_nobodys_concern(attempt: Attempt, body: Any) -> None:
    """A receiver need not answer in JSON, or at all."""
    assert attempt(make, MESSAGE, (200, body))[0] == Delivered({"status": 200})


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Reset(), Unknown),
        (Drop(stored=True), Unknown),
        (Reset(stored=True), Unknown),
        (Half(), Delivered),
        (Endless(), Delivered),
    ],
    ids=["reset", "no answer", "reset after the work", "half an answer", "endless answer"],
)
def test_retry_after_a_fault_is_the_same_message(fault: Fault, expected: type[Outcome]) -> None:
    """What may have arrived is unknown, and the same id on the next attempt makes that harmless."""

    async def run(section: dict[str, Any]) -> list[Outcome]:
        channel = WebhookChannel(WebhookConfig.model_validate(section))
        async with running(channel):
            return [await channel.send(MESSAGE) for _ in range(2)]

    with Lab() as lab:
        lab.webhook.script(fault)
        first, second = asyncio.run(run(lab.webhook.section()))
        assert isinstance(first, expected)
        assert second == Delivered({"status": 200})
        assert len(lab.webhook.messages) == 1
        assert lab.webhook.violations == ()


@pytest.mark.parametrize("to", ["", "other"])
def test_redirect_takes_nothing_anywhere(to: str) -> None:
    """Neither to the same address again nor to another host goes a request, or a credential."""

    async def run(section: dict[str, Any]) -> Outcome:
        channel = WebhookChannel(WebhookConfig.model_validate({**section, "bearer_token": "CANARY"}))
        async with running(channel):
            return await channel.send(MESSAGE)

    with Lab() as lab:
        lab.webhook.script(Redirect(f"{lab.slack.base_url}/hook" if to else "", 307))
        outcome = asyncio.run(run(lab.webhook.section()))
        assert isinstance(outcome, Rejected)
        assert outcome.reason is Reason.CONFIGURATION
        assert len(lab.webhook.requests) == 1
        assert len(lab.slack.requests) == 0
        assert lab.webhook.violations == lab.slack.violations == ()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("msg_1", True),
        ("nightly-381:webhook", True),
        ("", False),
        ("a.b", False),
        ("a b", False),
        ("ü\n", False),
    ],
)
def test_id_has_no_dot(attempt: Attempt, name: str, *, kept: bool) -> None:
    """A dot would make two requests look alike; an id that cannot be sent is replaced, always by the same."""
    message = structs.replace(MESSAGE, id=name)
    sent = [attempt(signed([SECRET]), message, (200, "ok"))[1][0]["headers"]["webhook-id"] for _ in range(2)]
    assert (sent[0] == name) is kept
    assert re.fullmatch(r"[A-Za-z0-9_:-]+", sent[0])
    assert (sent[0] == sent[1]) is bool(name)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (
            {"type": "deploy-done:eu", "timestamp": "t", "data": {"event_type": "deploy-done:eu"}},
            "deploy_done_eu",
        ),
        ({"type": "job_failed", "timestamp": "t", "data": {}}, "job_failed"),
        ({"type": "a.b-c", "specversion": "1.0", "data": {}}, "a.b-c"),
        ({"type": "a-b"}, "a-b"),
        ({"type": 1, "timestamp": "t", "data": {}}, 1),
    ],
)
def test_type_has_the_standards_characters(attempt: Attempt, content: dict[str, Any], kind: Any) -> None:
    """In the standard's body other characters become `_`; everything else stays as it is."""
    _, (request,) = attempt(make, structs.replace(MESSAGE, content=content), (200, "ok"))
    assert json.loads(request["body"]) == {**content, "type": kind}


def test_lab_takes_a_custom_type() -> None:
    """A receiver that is strict about types takes an event of any name, and knows it by its data."""
    event = structs.replace(EVENT, event_type="deploy-done:eu")

    async def run(section: dict[str, Any]) -> Outcome:
        channel = WebhookChannel(WebhookConfig.model_validate(section))
        async with running(channel):
            message = FormattedMessage(format=MessageFormat.TEXT, content="x", events=(event,), id="msg_1")
            return await channel.send(message)

    for simple in (False, True):
        with Lab() as lab:
            lab.webhook.simple = simple
            assert asyncio.run(run(lab.webhook.section())) == Delivered({"status": 200})
            (message,) = lab.webhook.messages
            assert message.payload["type"] == "deploy_done_eu"
            assert message.payload["data"]["event_type"] == "deploy-done:eu"
            assert lab.webhook.violations == ()


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
        ({"headers": {"x-hub-signature-256": "CANARY"}}, "set by knell"),
        ({"bearer_token": ""}, "expected text"),
        ({"bearer_token": " "}, "expected text"),
        ({"bearer_token": "CANARY\r\nX-B: 1"}, "without line breaks"),
        ({"basic_auth": {"username": "a:b", "password": "CANARY"}}, "username"),
        ({"basic_auth": {"username": "", "password": "CANARY"}}, "username"),
        ({"basic_auth": {"username": "a"}}, "password"),
        (
            {"basic_auth": {"username": "a", "password": "CANARY"}, "bearer_token": "CANARY"},
            "exclude each other",
        ),
        ({"headers": {"AUTHORIZATION": "CANARY"}, "bearer_token": "CANARY"}, "headers.AUTHORIZATION exclude"),
        ({"signature_secret": []}, "signature_secret is an empty list"),
        ({"hub_signature": True}, "hub_signature needs a signature_secret"),
        ({"hub_signature": True, "signature_secret": PRIVATE}, "hub_signature needs a signature_secret"),
        ({"signature_secret": "whpk_CANARY"}, "is for receivers"),
        ({"signature_secret": "whsk_CANARY!"}, "base64 after whsk_"),
        ({"signature_secret": "whsk_AAAA"}, "32 or 64 bytes"),
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
    keys = {"bearer_token": "CANARY", "signature_secret": [SECRET, "CANARY"], "client_key_password": "CANARY"}
    channel = make("https://h", headers={"X-A": "CANARY"}, client_cert="/c", **keys)
    shown = repr(channel) + repr(channel.config) + str(channel.config)
    assert "CANARY" not in shown
    assert SECRET not in shown


def test_no_event_by_default() -> None:
    """The specification's table names no event for webhooks: the section does."""
    assert WebhookChannel.default_events == frozenset()
    assert webhook_module.WebhookConfig.model_validate({"url": "https://h"}).rate_limit is None


def test_short_and_long_keys_are_advised_against() -> None:
    """They work, and are easier to guess, or against the standard."""
    keys = ["canary", "whsec_" + base64.b64encode(b"x" * 65).decode(), SECRET, PRIVATE]
    problems = make("https://h", signature_secret=keys).validate_config()
    advice = "24 to 64 random bytes are advised"
    assert problems == [f"signature_secret: a key of {size} bytes: {advice}" for size in (6, 65)]


def test_health_promises_nothing() -> None:
    """Nothing is sent to find out: a receiver has no request that means nothing."""
    found = asyncio.run(examined(make("https://h", signature_secret=SECRET), Security()))
    assert (found.healthy, found.detail) == (True, "only sending can tell whether the receiver takes events")


@pytest.mark.parametrize(
    ("base", "security", "problem"),
    [
        ("http://h", Security(), "only https is allowed (security.require_tls)"),
        ("https://169.254.169.254", Security(), "169.254.169.254 is refused: link-local"),
        ("https://[::1]:8443", Security(), "::1 is refused: loopback"),
        ("https://127.0.0.1", Security.model_validate({"allowed_networks": ["127.0.0.0/8"]}), ""),
        ("http://h", Security(require_tls=False), ""),
    ],
)
def test_health_knows_what_security_forbids(base: str, security: Security, problem: str) -> None:
    """Every event would be refused: nobody needs to send one to find out."""
    found = asyncio.run(examined(make(base), security))
    assert found.healthy is (not problem)
    assert problem in found.detail
