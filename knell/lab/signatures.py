"""Verifying Standard Webhooks signatures (standard-webhooks `spec/standard-webhooks.md`).

Written for this stand-in alone: a fake must not share the code it checks.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping

TOLERANCE_SECONDS = 300
"""How far a timestamp may be off, both ways."""


class SignatureError(ValueError):
    """Why a request is not believed."""


def key_of(secret: str) -> bytes:
    """Return the key: of a `whsec_` secret what follows, decoded; any other text as it is."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    return base64.b64decode(secret.removeprefix("whsec_"))


def verify(secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check that one of the secrets signed exactly this body, about now.

    Raises:
        SignatureError: a header is missing or wrong.
    """
    message_id, stamp, signatures = (
        headers.get(f"webhook-{part}", "") for part in ("id", "timestamp", "signature")
    )
    if not message_id or not signatures:
        raise SignatureError("webhook-id or webhook-signature is missing")
    if not stamp.isdecimal() or abs(now - int(stamp)) > TOLERANCE_SECONDS:
        raise SignatureError(f"webhook-timestamp {stamp!r} is not within {TOLERANCE_SECONDS} s of {now:.0f}")
    signed = f"{message_id}.{stamp}.".encode() + body
    expected = [hmac.digest(key_of(secret), signed, "sha256") for secret in secrets]
    if not any(hmac.compare_digest(given, good) for given in _given(signatures) for good in expected):
        raise SignatureError("no signature fits")


def verify_simple(secrets: Iterable[str], headers: Mapping[str, str], body: bytes) -> None:
    """Check `X-Hub-Signature-256` or `X-Signature`: `sha256=` and the hexadecimal HMAC of the body.

    The key is the secret's text as it stands, as GitHub has it: it knows no prefix and no base64.

    Raises:
        SignatureError: it is missing or wrong.
    """
    given = headers.get("X-Hub-Signature-256") or headers.get("X-Signature") or ""
    expected = [f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}" for secret in secrets]
    if not any(hmac.compare_digest(given.encode(), good.encode()) for good in expected):
        raise SignatureError("no signature fits")


def _given(signatures: str) -> list[bytes]:
    found: list[bytes] = []
    for signature in signatures.split():
        version, _, text = signature.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(text, validate=True))
            except binascii.Error:
                continue
    return found
