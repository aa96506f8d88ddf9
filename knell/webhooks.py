"""Signing and verifying webhooks as Standard Webhooks has it: for receivers, and for knell's own channel.

payload = knell.webhooks.verify(body, headers, "whsec_...")

Source of every rule: standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import hmac
import re
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from time import time
from typing import TYPE_CHECKING, Any

import msgspec

from knell.errors import WebhookVerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["TOLERANCE_SECONDS", "WebhookVerificationError", "public_key", "sign", "verify"]

TOLERANCE_SECONDS = 300.0
"""How far the clocks of sender and receiver may be apart, and how long a request can be replayed."""

_SYMMETRIC, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_SEED_BYTES, _PAIR_BYTES = 32, 64
_STAMP = re.compile(r"[0-9]{1,15}")


def verify(
    body: str | bytes,
    headers: Mapping[str, str],
    secrets: str | Iterable[str],
    tolerance: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> Any:
    """Return the JSON in a request, once it is proved that the holder of a secret sent it, and just now.

    Args:
        body: exactly what was received, before any parsing.
        headers: of the request, in any case.
        secrets: the secret, or several while one replaces another: `whsec_...`, `whpk_...` (needs the extra
            `ed25519`), or any text.
        tolerance: seconds the sender's clock may be off, both ways.
        now: Unix seconds; the time of this machine when absent.

    Raises:
        WebhookVerificationError: the request is not to be believed: answer it with 401.
        ValueError: a secret is empty, malformed, or the sender's private key.
    """
    keys = [_verifier(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    if not keys:
        raise ValueError("there is no secret to verify with")
    message_id, stamp, signatures = _headers(headers)
    _check_time(stamp, tolerance, time() if now is None else now)
    content = _bytes(body)
    signed = _signed(message_id, stamp, content)
    # Every key is tried on every signature: how long it takes says nothing about which one fitted.
    if not sum([key.fits(version, given, signed) for version, given in signatures for key in keys]):
        raise WebhookVerificationError(
            "no signature fits: the body was changed on the way (or parsed and written anew), "
            "or it was signed with another secret"
        )
    try:
        return msgspec.json.decode(content)
    except (ValueError, RecursionError):
        raise WebhookVerificationError("the signature is good, but the body is no JSON") from None


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return a signature as it stands in `webhook-signature`, for one secret.

    Args:
        secret: `whsec_...`, `whsk_...` (needs the extra `ed25519`), or any text.
        message_id: as in `webhook-id`.
        timestamp: Unix seconds, as in `webhook-timestamp`.
        body: exactly what is sent.

    Raises:
        ValueError: the secret is empty, malformed, or a public key.
    """
    return signer(secret).sign(_signed(message_id, str(timestamp), body))


def public_key(secret: str) -> str:
    """Return the `whpk_...` a receiver verifies with, for the sender's `whsk_...` secret.

    Raises:
        ValueError: the secret is no private key.
    """
    if not secret.startswith(_PRIVATE):
        raise ValueError(f"only a {_PRIVATE}... secret has a public key")
    return _PUBLIC + b64encode(_private(secret).public_key().public_bytes_raw()).decode()


class Key(ABC):
    """One secret, ready to be used.

    Attributes:
        version: how its signatures are marked.
    """

    version: str

    @abstractmethod
    def digest(self, content: bytes) -> bytes:
        """Return the signature of what is signed."""

    def sign(self, content: bytes) -> str:
        """Return the signature with its mark."""
        return f"{self.version},{b64encode(self.digest(content)).decode()}"


class SharedKey(Key):
    """The key of sender and receiver both.

    Attributes:
        raw: its bytes.
    """

    version = "v1"

    def __init__(self, secret: str) -> None:
        self.raw = _decoded(secret, _SYMMETRIC) if secret.startswith(_SYMMETRIC) else secret.encode()
        if not self.raw:
            raise ValueError("the secret is empty")

    def digest(self, content: bytes) -> bytes:
        """Return the HMAC."""
        return hmac.digest(self.raw, content, "sha256")

    def fits(self, version: str, given: bytes, content: bytes) -> bool:
        """Say whether this key made the signature."""
        return hmac.compare_digest(given, self.digest(content)) and version == self.version


class PrivateKey(Key):
    """The sender's half of an ed25519 pair."""

    version = "v1a"

    def __init__(self, secret: str) -> None:
        self._key = _private(secret)

    def digest(self, content: bytes) -> bytes:
        """Return the ed25519 signature."""
        return self._key.sign(content)


class PublicKey:
    """The receiver's half of an ed25519 pair."""

    def __init__(self, secret: str) -> None:
        self._key = _public(secret)

    def fits(self, version: str, given: bytes, content: bytes) -> bool:
        """Say whether the private key of this one made the signature."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

        try:
            self._key.verify(given, content)
        except InvalidSignature:
            return False
        return version == PrivateKey.version


def signer(secret: str) -> Key:
    """Return the key a sender signs with.

    Raises:
        ValueError: the secret is empty, malformed, or a public key.
    """
    if secret.startswith(_PUBLIC):
        raise ValueError(f"{_PUBLIC}... is for receivers; a sender signs with the {_PRIVATE}... of the pair")
    return PrivateKey(secret) if secret.startswith(_PRIVATE) else SharedKey(secret)


def _verifier(secret: str) -> SharedKey | PublicKey:
    if secret.startswith(_PRIVATE):
        raise ValueError(f"{_PRIVATE}... is the sender's alone; a receiver verifies with {_PUBLIC}...")
    return PublicKey(secret) if secret.startswith(_PUBLIC) else SharedKey(secret)


def _headers(headers: Mapping[str, str]) -> tuple[str, str, list[tuple[str, bytes]]]:
    """Return id, timestamp and signatures, each signature with its mark."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        if (lower := name.lower()) in {"webhook-id", "webhook-timestamp", "webhook-signature"}:
            if lower in found:
                raise WebhookVerificationError(f"the header {lower} came twice")
            found[lower] = value
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not found.get(name):
            raise WebhookVerificationError(f"the header {name} is missing")
    if not found["webhook-id"].isascii():
        # A server hands undecodable octets on as characters that no text can be encoded with.
        raise WebhookVerificationError("webhook-id holds other characters than ASCII")
    if "." in found["webhook-id"]:
        # "a" at "1" with body "2.b" and "a.1" at "2" with body "b" would have the same signature.
        raise WebhookVerificationError("webhook-id holds a dot")
    return found["webhook-id"], found["webhook-timestamp"], list(_signatures(found["webhook-signature"]))


def _signatures(header: str) -> Iterable[tuple[str, bytes]]:
    for signature in header.split():
        version, _, text = signature.partition(",")
        try:
            yield version, b64decode(text, validate=True)
        except ValueError:
            continue  # of a version yet to come, or cut off: the others decide


def _check_time(stamp: str, tolerance: float, now: float) -> None:
    if not _STAMP.fullmatch(stamp):
        raise WebhookVerificationError("webhook-timestamp is no Unix time in seconds")
    age = now - int(stamp)
    if abs(age) > tolerance:
        side = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s in the future"
        raise WebhookVerificationError(
            f"the request is {side}, {tolerance:g} s are tolerated: it is replayed, or a clock is wrong"
        )


def _signed(message_id: str, stamp: str, body: bytes) -> bytes:
    return f"{message_id}.{stamp}.".encode() + body


def _bytes(body: str | bytes) -> bytes:
    try:
        return body.encode() if isinstance(body, str) else bytes(body)
    except UnicodeEncodeError:
        raise WebhookVerificationError("the body is no text that could have been sent") from None


def _decoded(secret: str, prefix: str) -> bytes:
    """Return what follows the prefix; some senders leave the padding out."""
    text = secret.removeprefix(prefix).rstrip("=")
    try:
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (Base64Error, ValueError):
        raise ValueError(f"expected base64 after {prefix}") from None


def _private(secret: str) -> "Ed25519PrivateKey":
    """Read a private key: 32 bytes, or 64 with the public key behind them."""
    raw = _decoded(secret, _PRIVATE)
    if len(raw) not in {_SEED_BYTES, _PAIR_BYTES}:
        raise ValueError(f"expected {_SEED_BYTES} or {_PAIR_BYTES} bytes in base64 after {_PRIVATE}")
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError(_MISSING) from None
    return ed25519.Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])


def _public(secret: str) -> "Ed25519PublicKey":
    raw = _decoded(secret, _PUBLIC)
    if len(raw) != _SEED_BYTES:
        raise ValueError(f"expected {_SEED_BYTES} bytes in base64 after {_PUBLIC}")
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError:
        raise ValueError(_MISSING) from None
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


_MISSING = "whsk_ and whpk_ keys need one more library: pip install 'knell[ed25519]'"
