"""The receiver of Standard Webhooks, row by row; signed by the standard's own library."""

import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook as Signer

from knell.lab import Answer, Drop, Lab, ManualClock, Respond
from knell.lab.webhook import new_secret

Call = Callable[..., Answer]
Send = Callable[..., Answer]
EVENT = {"type": "job_failed", "timestamp": "2026-01-01T00:00:00Z", "data": {"title": "nightly"}}
BODY = msgspec.json.encode(EVENT)


def signed(secret: str, body: bytes = BODY, *, message_id: str = "msg_1", at: float) -> dict[str, str]:
    """The three headers, by the standard's library."""
    stamp = datetime.fromtimestamp(int(at), UTC)
    signature = Signer(secret).sign(message_id, stamp, body.decode())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": signature,
    }


@pytest.fixture
def send(lab: Lab, call: Call, wall: ManualClock) -> Send:
    """Send a body, signed now with the receiver's first secret unless other headers are given."""

    def post(body: bytes = BODY, headers: dict[str, str] | None = None, message_id: str = "msg_1") -> Answer:
        head = headers or signed(lab.webhook.secrets[0], body, message_id=message_id, at=wall())
        return call("POST", lab.webhook.url, body=body, headers=head)

    return post


def test_a_signed_message_is_taken(lab: Lab, send: Send) -> None:
    """The message is stored with its id, its title and the JSON as text."""
    assert send().status == 200
    (message,) = lab.webhook.messages
    assert (message.id, message.title, message.payload) == ("msg_1", "nightly", EVENT)
    assert msgspec.json.decode(message.text) == EVENT
    assert lab.webhook.violations == ()


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header(lab: Lab, send: Send, wall: ManualClock, missing: str) -> None:
    """Without all three headers nothing is believed."""
    head = signed(lab.webhook.secrets[0], at=wall())
    del head[missing]
    assert send(headers=head).status == 401
    assert lab.webhook.messages == ()


@pytest.mark.parametrize("signature", ["v1,AAAA", "v1,not base64!", "v1a,AAAA", "AAAA"])
def test_a_wrong_signature(lab: Lab, send: Send, wall: ManualClock, signature: str) -> None:
    """A signature that does not fit, or is of no version known here, is 401."""
    head = {**signed(lab.webhook.secrets[0], at=wall()), "webhook-signature": signature}
    assert send(headers=head).status == 401


def test_a_changed_body(lab: Lab, send: Send, wall: ManualClock) -> None:
    """A signature holds for exactly the bytes that were signed."""
    assert send(BODY + b" ", signed(lab.webhook.secrets[0], at=wall())).status == 401


@pytest.mark.parametrize(("off", "status"), [(-301, 401), (-299, 200), (299, 200), (301, 401)])
def test_the_tolerance_of_the_timestamp(
    lab: Lab, send: Send, wall: ManualClock, off: int, status: int
) -> None:
    """Five minutes both ways."""
    assert send(headers=signed(lab.webhook.secrets[0], at=wall() + off)).status == status


def test_one_good_signature_among_others(lab: Lab, send: Send, wall: ManualClock) -> None:
    """Of several signatures one must fit, whatever the others are."""
    head = signed(lab.webhook.secrets[0], at=wall())
    head["webhook-signature"] = f"v2,AAAA v1,AAAA {head['webhook-signature']}"
    assert send(headers=head).status == 200


def test_rotation(lab: Lab, send: Send, wall: ManualClock) -> None:
    """While two keys overlap either is accepted; afterwards the old one is not."""
    (old,) = lab.webhook.secrets
    new = lab.webhook.rotate()
    assert lab.webhook.section()["signature_secret"] == [new, old]
    assert send(headers=signed(old, message_id="msg_old", at=wall())).status == 200
    assert send(headers=signed(new, message_id="msg_new", at=wall())).status == 200
    assert send(headers=signed(new_secret(), message_id="msg_x", at=wall())).status == 401
    lab.webhook.secrets = (new,)
    assert send(headers=signed(old, message_id="msg_late", at=wall())).status == 401


def test_a_plain_secret(lab: Lab, call: Call, wall: ManualClock) -> None:
    """A secret without the prefix is its own key."""
    lab.webhook.secrets = ("correct horse",)
    stamp = str(int(wall()))
    digest = hmac.digest(b"correct horse", f"msg_1.{stamp}.".encode() + BODY, "sha256")
    signature = msgspec.json.encode(digest).decode().strip('"')
    head = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}"}
    assert call("POST", lab.webhook.url, body=BODY, headers=head).status == 200


@pytest.mark.parametrize("name", ["X-Hub-Signature-256", "X-Signature"])
def test_the_simple_signature(lab: Lab, send: Send, name: str) -> None:
    """On demand the hexadecimal HMAC of the body is expected instead."""
    lab.webhook.secrets, lab.webhook.simple = ("plain",), True
    digest = hmac.new(b"plain", BODY, hashlib.sha256).hexdigest()
    assert send(headers={name: f"sha256={digest}"}).status == 200
    assert send(headers={name: f"sha256={'0' * 64}"}).status == 401
    assert send(headers={"X-Other": "1"}).status == 401
    assert lab.webhook.section()["hub_signature"] is True


def test_the_simple_signature_by_a_prefixed_secret(lab: Lab, send: Send) -> None:
    """Whoever verifies as GitHub does takes the secret for what is written, prefix and all."""
    (secret,), lab.webhook.simple = lab.webhook.secrets, True
    digest = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    assert send(headers={"X-Hub-Signature-256": f"sha256={digest}"}).status == 200


def test_without_secrets_everything_is_believed(lab: Lab, call: Call) -> None:
    """A receiver without secrets asks for no signature, and its section has none."""
    lab.webhook.secrets = ()
    assert call("PUT", lab.webhook.url, body=BODY).status == 200
    assert "signature_secret" not in lab.webhook.section()


def test_the_same_id_again(lab: Lab, send: Send, wall: ManualClock) -> None:
    """A repeat is answered 200, counted, and not shown to readers again."""
    assert send().status == 200
    wall.advance(10)
    assert send().status == 200
    assert len(lab.webhook.messages) == 1
    assert len(lab.webhook.duplicates) == 1
    assert lab.webhook.violations == ()


def test_the_same_id_with_another_body(lab: Lab, send: Send) -> None:
    """A key that names two bodies is a violation."""
    send()
    send(msgspec.json.encode({**EVENT, "data": {}}))
    assert lab.webhook.violations == ("webhook-id msg_1 came again with another body",)


def test_the_same_timestamp_later(lab: Lab, send: Send, wall: ManualClock) -> None:
    """Each attempt must carry its own time, also when the first was refused by the script."""
    lab.webhook.script(Respond(500))
    head = signed(lab.webhook.secrets[0], at=wall())
    assert send(headers=head).status == 500
    wall.advance(5)
    assert send(headers=head).status == 200
    assert lab.webhook.violations == ("webhook-id msg_1: the same timestamp 5 s later",)


def test_an_id_with_a_dot(lab: Lab, send: Send) -> None:
    """A dot would make the signed content ambiguous."""
    assert send(message_id="msg.1").status == 200
    assert lab.webhook.violations == ("webhook-id msg.1 holds a dot",)


def test_a_large_body(lab: Lab, send: Send) -> None:
    """More than 20 kB is accepted with a warning."""
    send(msgspec.json.encode({**EVENT, "data": {"log": "x" * 20_000}}))
    assert len(lab.webhook.messages) == 1
    assert len(lab.webhook.warnings) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"type": ""}',
        b'{"type": "job failed"}',
        b'{"type": "job-failed"}',
        b'{"type": 1.5e300}',
    ],
)
def test_a_body_that_is_no_event(lab: Lab, send: Send, body: bytes) -> None:
    """No JSON object, no type, or other characters in it: 400."""
    assert send(body).status == 400
    assert lab.webhook.messages == ()


def test_other_addresses_and_methods(lab: Lab, call: Call) -> None:
    """Elsewhere is 404, and reading is 405."""
    assert call("POST", f"{lab.webhook.base_url}/other", body=BODY).status == 404
    assert call("GET", lab.webhook.url).status == 405


@pytest.mark.parametrize("how", ["revoked", "scripted", "disabled"])
def test_a_closed_endpoint(lab: Lab, send: Send, how: str, wall: ManualClock) -> None:
    """After 410, or Svix's word for it, any later request is a violation."""
    if how == "revoked":
        lab.webhook.revoke()
    elif how == "scripted":
        lab.webhook.script(Respond(410))
    else:
        lab.webhook.script(Respond(503, headers={"Webhook-Delivery": "disable"}))
    send()
    assert not lab.webhook.violations
    wall.advance(5)
    send()
    assert lab.webhook.violations == ("POST /hook: sent to an endpoint that had said it is gone",)


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_fails(lab: Lab, send: Send, status: int) -> None:
    """A scripted gateway error asks for no pause: trying again is no violation."""
    lab.webhook.script(Respond(status))
    assert send().status == status
    assert send().status == 200
    assert lab.webhook.violations == ()


def test_a_lost_answer_is_seen_as_duplicate(lab: Lab, send: Send) -> None:
    """The receiver took the message though its answer was lost; the retry is a duplicate by its id."""
    lab.webhook.script(Drop(stored=True))
    with pytest.raises(ConnectionError):
        send()
    assert send().status == 200
    assert (len(lab.webhook.messages), len(lab.webhook.duplicates)) == (1, 1)
