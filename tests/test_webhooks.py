"""Signing and verifying, against the standard's own packages for Python and JavaScript, both ways."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from standardwebhooks import WebhookVerificationError as TheirError

from knell.errors import KnellError
from knell.webhooks import WebhookVerificationError, public_key, sign, verify

SECRET = "whsec_" + base64.b64encode(b"a key of four and twenty").decode()
OTHER = "whsec_" + base64.b64encode(b"another of just that len").decode()
SEED = bytes(range(32))
PRIVATE = "whsk_" + base64.b64encode(SEED).decode()
PAYLOAD = {"type": "job_failed", "timestamp": "2026-01-02T03:04:05Z", "data": {"title": 'é " \n \u2028 😀'}}
BODY = json.dumps(PAYLOAD, ensure_ascii=False).encode()
NOW = 1_700_000_000.0

# The example of the standard's own text (spec/standard-webhooks.md, "Signature scheme").
SPEC = {
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "timestamp": 1614265330,
    "body": b'{"test": 2432232314}',
    "signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def headers(*signatures: str, message_id: str = "msg_1", at: float = NOW) -> dict[str, str]:
    """Return the headers of a request."""
    stamp = str(int(at))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
    }


def signed(*secrets: str, body: bytes = BODY, at: float = NOW) -> dict[str, str]:
    """Return the headers of a request that is signed with every secret."""
    return headers(*(sign(secret, "msg_1", int(at), body) for secret in secrets), at=at)


def test_example_of_the_standard() -> None:
    """The signature in the standard's text is made, and verified."""
    made = sign(str(SPEC["secret"]), str(SPEC["id"]), 1614265330, b'{"test": 2432232314}')
    assert made == SPEC["signature"]
    head = headers(made, message_id=str(SPEC["id"]), at=1614265330)
    assert verify('{"test": 2432232314}', head, str(SPEC["secret"]), now=1614265330) == {"test": 2432232314}


def as_text(body: bytes) -> str:
    """Return a body as a framework may hand it over."""
    return body.decode()


@pytest.mark.parametrize("form", [bytes, bytearray, as_text])
@pytest.mark.parametrize("case", [str.lower, str.title, str.upper])
def test_payload_is_returned(form: Callable[[bytes], Any], case: Callable[[str], str]) -> None:
    """Bytes or text, header names in any case: what was sent comes back parsed."""
    head = {case(name): value for name, value in signed(SECRET).items()}
    assert verify(form(BODY), head, SECRET, now=NOW) == PAYLOAD


def test_now_is_the_time_of_this_machine() -> None:
    """Without `now` the clock decides."""
    assert verify(BODY, signed(SECRET, at=time()), SECRET) == PAYLOAD
    with pytest.raises(WebhookVerificationError, match="s old"):
        verify(BODY, signed(SECRET), SECRET)


@pytest.mark.parametrize(
    ("off", "tolerance", "why"),
    [
        (-300, 300, None),
        (300, 300, None),
        (-301, 300, "301 s old, 300 s are tolerated"),
        (301, 300, "301 s in the future, 300 s are tolerated"),
        (-61, 60, "61 s old, 60 s are tolerated"),
        (-86400, 1e9, None),
    ],
)
def test_tolerance_holds_both_ways(off: int, tolerance: float, why: str | None) -> None:
    """Five minutes unless the receiver says otherwise."""
    head = signed(SECRET, at=NOW + off)
    if why is None:
        assert verify(BODY, head, SECRET, tolerance, NOW) == PAYLOAD
    else:
        with pytest.raises(WebhookVerificationError, match=why):
            verify(BODY, head, SECRET, tolerance, NOW)


@pytest.mark.parametrize("held", [SECRET, OTHER, [SECRET], [OTHER, SECRET], (OTHER,), {SECRET, OTHER}])
def test_any_secret_fits_any_signature(held: Any) -> None:
    """While a secret is replaced the sender signs with both, and a receiver knows either or both."""
    assert verify(BODY, signed(SECRET, OTHER), held, now=NOW) == PAYLOAD


def test_unknown_versions_and_broken_signatures_are_passed_over() -> None:
    """One signature that fits is enough, wherever it stands."""
    good = sign(SECRET, "msg_1", int(NOW), BODY)
    head = headers("v2,AAAA", "v1,not base64!", "nonsense", "v1a,AAAA", good)
    assert verify(BODY, head, SECRET, now=NOW) == PAYLOAD


def test_good_signature_under_another_version_does_not_fit() -> None:
    """The mark says how the bytes are to be read; a receiver does not guess."""
    digest = sign(SECRET, "msg_1", int(NOW), BODY).partition(",")[2]
    with pytest.raises(WebhookVerificationError, match="no signature fits"):
        verify(BODY, headers(f"v1a,{digest}", f"v2,{digest}"), SECRET, now=NOW)


GOOD = signed(SECRET)


@pytest.mark.parametrize(
    ("head", "body", "why"),
    [
        ({}, BODY, "webhook-id is missing"),
        ({**GOOD, "webhook-id": ""}, BODY, "webhook-id is missing"),
        ({**GOOD, "webhook-timestamp": ""}, BODY, "webhook-timestamp is missing"),
        ({**GOOD, "webhook-signature": ""}, BODY, "webhook-signature is missing"),
        ({**GOOD, "Webhook-Id": "msg_2"}, BODY, "webhook-id came twice"),
        ({**GOOD, "webhook-id": "msg.1"}, BODY, "holds a dot"),
        ({**GOOD, "webhook-id": "msg_\udcff"}, BODY, "other characters than ASCII"),
        ({**GOOD, "webhook-id": "msg_2"}, BODY, "no signature fits"),
        ({**GOOD, "webhook-timestamp": str(int(NOW) + 1)}, BODY, "no signature fits"),
        ({**GOOD, "webhook-timestamp": "soon"}, BODY, "no Unix time"),
        ({**GOOD, "webhook-timestamp": "-1"}, BODY, "no Unix time"),
        ({**GOOD, "webhook-timestamp": "1.7e9"}, BODY, "no Unix time"),
        ({**GOOD, "webhook-timestamp": "\u0661\u0667" + "\u0660" * 8}, BODY, "no Unix time"),
        ({**GOOD, "webhook-timestamp": "9" * 5000}, BODY, "no Unix time"),
        ({**GOOD, "webhook-signature": "v1,"}, BODY, "no signature fits"),
        ({**GOOD, "webhook-signature": " , "}, BODY, "no signature fits"),
        (signed(OTHER), BODY, "no signature fits"),
        (GOOD, BODY + b" ", "no signature fits"),
        (GOOD, b"", "no signature fits"),
        (GOOD, "half \ud800", "no text"),
        (signed(SECRET, body=b"hello"), b"hello", "the body is no JSON"),
        (signed(SECRET, body=b"[" * 5000), b"[" * 5000, "the body is no JSON"),
    ],
)
def test_what_is_not_to_be_believed(head: dict[str, str], body: Any, why: str) -> None:
    """One kind of error for all of it, which says why."""
    with pytest.raises(WebhookVerificationError, match=why) as caught:
        verify(body, head, SECRET, now=NOW)
    assert isinstance(caught.value, KnellError)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "whsk_", "whpk_AAAA", "whpk_!", []])
def test_secret_that_is_none_is_the_receivers_mistake(secret: Any) -> None:
    """It is no fault of the request, and must not look like one."""
    with pytest.raises(ValueError, match=r"secret|base64|whpk_"):
        verify(BODY, GOOD, secret, now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "whsk_!", "whsk_AAAA", "whpk_AAAA"])
def test_secret_that_cannot_sign(secret: str) -> None:
    """The text says what is expected, and shows nothing."""
    with pytest.raises(ValueError, match=r"empty|base64|for receivers"):
        sign(secret, "msg_1", 1, b"")


def test_plain_text_is_its_own_key() -> None:
    """Any text may be a secret; without padding base64 is read all the same."""
    digest = hmac.new(b"correct horse", b"msg_1.1700000000." + BODY, hashlib.sha256).digest()
    good = headers(f"v1,{base64.b64encode(digest).decode()}")
    assert verify(BODY, good, "correct horse", now=NOW) == PAYLOAD
    padded = "whsec_" + base64.b64encode(b"1234567890123456789012345").decode()
    assert padded.endswith("=")
    assert sign(padded, "m", 1, b"") == sign(padded.rstrip("="), "m", 1, b"")


@given(st.binary(max_size=200), st.text("abcXYZ019_-", min_size=1), st.integers(0, 4_000_000_000))
def test_what_is_signed_fits_and_nothing_else(body: bytes, message_id: str, at: int) -> None:
    """Any bytes: the signature holds for them, and for no others."""
    head = headers(sign(SECRET, message_id, at, body), message_id=message_id, at=at)
    try:
        verify(body, head, SECRET, now=at)
    except WebhookVerificationError as error:
        assert "the body is no JSON" in str(error)  # noqa: PT017 - most bytes are none
    with pytest.raises(WebhookVerificationError, match="no signature fits"):
        verify(body + b"0", head, SECRET, now=at)


class Compared:
    """Counts the comparisons of signatures."""

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []

    def __call__(self, one: bytes, other: bytes) -> bool:
        """Compare, as `hmac.compare_digest` does."""
        self.pairs.append((one, other))
        return one == other


@pytest.mark.parametrize("place", [0, 1, 2])
def test_how_long_it_takes_says_nothing(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """Every signature is compared with every secret, wherever the one that fits stands, in constant time."""
    compared = Compared()
    monkeypatch.setattr(hmac, "compare_digest", compared)
    given_ones = [sign(OTHER, "msg_1", 1, b"x")] * 3
    given_ones[place] = sign(SECRET, "msg_1", int(NOW), BODY)
    verify(BODY, headers(*given_ones), [OTHER, SECRET], now=NOW)
    assert len(compared.pairs) == 6


# Key pairs


@pytest.mark.parametrize("secret", [PRIVATE, "whsk_" + base64.b64encode(SEED + b"\0" * 32).decode()])
def test_key_pair(secret: str) -> None:
    """The private key signs, the public key alone verifies; the library's own verdict is the same."""
    public = public_key(secret)
    head = signed(secret)
    assert head["webhook-signature"].startswith("v1a,")
    assert verify(BODY, head, public, now=NOW) == PAYLOAD
    raw = base64.b64decode(public.removeprefix("whpk_"))
    key = Ed25519PrivateKey.from_private_bytes(SEED).public_key()
    assert raw == key.public_bytes_raw()
    key.verify(base64.b64decode(head["webhook-signature"][4:]), b"msg_1.1700000000." + BODY)


def test_key_pair_refuses_what_it_did_not_sign() -> None:
    """Another body, another key, an HMAC by a text that is the public key: nothing of it fits."""
    public = public_key(PRIVATE)
    forged = base64.b64encode(hmac.digest(public.encode(), b"msg_1.1700000000." + BODY, "sha256")).decode()
    for head, body in [
        (signed(PRIVATE), BODY + b" "),
        (signed("whsk_" + base64.b64encode(b"\1" * 32).decode()), BODY),
        (headers(f"v1,{forged}", f"v1a,{forged}"), BODY),
        (headers(signed(PRIVATE)["webhook-signature"].replace("v1a", "v1")), BODY),
    ]:
        with pytest.raises(WebhookVerificationError, match="no signature fits"):
            verify(body, head, public, now=NOW)


def test_both_kinds_of_secrets_at_once() -> None:
    """A receiver that changes from one kind to the other believes both for a while."""
    for head in (signed(SECRET), signed(PRIVATE), signed(PRIVATE, SECRET)):
        assert verify(BODY, head, [SECRET, public_key(PRIVATE)], now=NOW) == PAYLOAD


def test_only_a_private_key_has_a_public_one() -> None:
    """And the private one never gets to a receiver by mistake."""
    with pytest.raises(ValueError, match="only a whsk_"):
        public_key(SECRET)
    with pytest.raises(ValueError, match="the sender's alone"):
        verify(BODY, signed(PRIVATE), PRIVATE, now=NOW)


# The standard's own package for Python


def test_their_python_believes_ours() -> None:
    """What knell signs is verified by the package, and a changed body refused."""
    head = signed(OTHER, SECRET, PRIVATE, at=time())
    assert Webhook(SECRET).verify(BODY, head) == PAYLOAD
    with pytest.raises(TheirError):
        Webhook(SECRET).verify(BODY + b" ", head)


def test_we_believe_their_python() -> None:
    """What the package signs is verified by knell."""
    at = int(time())
    made = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(at, UTC), BODY.decode())
    assert verify(BODY, headers(made, at=at), SECRET) == PAYLOAD
    with pytest.raises(WebhookVerificationError):
        verify(BODY, headers(made, at=at), OTHER)


# What the documentation shows


def shown(language: str) -> str:
    """Return the example for receivers in a language."""
    text = (Path(__file__).parents[1] / "docs/channels/webhook.md").read_text(encoding="utf-8")
    return text.split(f"```{language}\n")[1].split("```")[0]


def test_example_for_python(capsys: pytest.CaptureFixture[str]) -> None:
    """It takes what is signed, and refuses the rest."""
    found: dict[str, Any] = {}
    exec(shown("python"), found)  # noqa: S102 - the documentation is what is tested
    head = signed(SECRET, at=time())
    assert found["receive"](BODY, head, SECRET) == 204
    assert found["receive"](BODY + b" ", head, SECRET) == 401
    assert capsys.readouterr().out.startswith("job_failed é")


# The standard's own package for JavaScript

SCRIPT = r"""
const { Webhook } = require("standardwebhooks");
const crypto = require("node:crypto");
const ask = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
if (ask.example) {
  console.log = () => {};
  const receive = new Function("require", ask.example + "\nreturn receive;")(require);
  let failed = false;
  try { receive(ask.body, ask.headers, ask.secret); } catch { failed = true; }
  process.stdout.write(JSON.stringify({ failed }));
  process.exit();
}
const hook = new Webhook(ask.secret);
const told = { signature: hook.sign(ask.id, new Date(ask.at * 1000), ask.body) };
try {
  told.payload = hook.verify(ask.body, ask.headers);
} catch (error) {
  told.error = error.name + ": " + error.message;
}
const head = Buffer.from("302a300506032b6570032100", "hex");
const spki = Buffer.concat([head, Buffer.from(ask.public, "base64")]);
const key = crypto.createPublicKey({ key: spki, format: "der", type: "spki" });
const content = Buffer.from(ask.id + "." + ask.at + "." + ask.body);
told.pair = crypto.verify(null, content, key, Buffer.from(ask.v1a, "base64"));
console.log(JSON.stringify(told));
"""
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Return what hands a request to the package for JavaScript, installed from the registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    folder: Path = tmp_path_factory.mktemp("javascript")
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [*install, "standardwebhooks@1"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install standardwebhooks within 60 s")
    if done.returncode:
        pytest.skip(f"npm cannot install standardwebhooks: {done.stderr.strip()[-200:]}")
    (folder / "ask.js").write_text(SCRIPT, encoding="utf-8")

    def ask(**question: Any) -> dict[str, Any]:
        told = subprocess.run(  # noqa: S603 - a fixed command
            [node, "ask.js"],
            cwd=folder,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        answer: dict[str, Any] = json.loads(told.stdout)
        return answer

    return ask


@pytest.mark.real
def test_example_for_javascript(javascript: Ask) -> None:
    """It takes what is signed, and throws at the rest."""
    head = signed(SECRET, at=time())
    for body, failed in [(BODY.decode(), False), (BODY.decode() + " ", True)]:
        told = javascript(example=shown("js"), body=body, headers=head, secret=SECRET)
        assert told == {"failed": failed}


@pytest.mark.real
def test_javascript_believes_ours_and_we_believe_it(javascript: Ask) -> None:
    """The same signature both ways, text beyond ASCII included; a key pair is verified by node itself."""
    at = int(time())
    head = signed(OTHER, SECRET, PRIVATE, at=at)
    question = {"secret": SECRET, "id": "msg_1", "at": at, "body": BODY.decode(), "headers": head}
    pair = {
        "public": public_key(PRIVATE).removeprefix("whpk_"),
        "v1a": head["webhook-signature"].split("v1a,")[1],
    }
    told = javascript(**question, **pair)
    assert (told["payload"], told["pair"]) == (PAYLOAD, True)
    assert verify(BODY, headers(told["signature"], at=at), SECRET) == PAYLOAD

    told = javascript(**question | {"body": BODY.decode() + " "}, **pair)
    assert (told["error"], told["pair"]) == ("WebhookVerificationError: No matching signature found", False)
    with pytest.raises(WebhookVerificationError, match="no signature fits"):
        verify(BODY, headers(told["signature"], at=at), SECRET)
