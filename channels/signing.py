"""What proves to a webhook's receiver who sent a request, and when."""

import hmac
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from knell.ids import uuid7, wire_id
from knell.webhooks import SharedKey, signer

KEY_BYTES = range(24, 65)
"""What a `whsec_` key may have (standard-webhooks, "Signature scheme")."""

OUR_HEADERS = frozenset({"webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256"})
"""In lower case."""

_ID = re.compile(r"[A-Za-z0-9_:@/+=\-]+")


def _is_secret(secret: SecretStr) -> SecretStr:
    signer(secret.get_secret_value())
    return secret


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | SecretStr) else value


SigningSecrets = Annotated[
    list[Annotated[SecretStr, AfterValidator(_is_secret)]],
    BeforeValidator(_listed, json_schema_input_type=SecretStr | list[SecretStr]),
]
"""The type of a key with one secret or several, each as `knell.webhooks.sign` takes it."""


class Signatures:
    """Signs with every secret at once: a receiver may know the old one or the new one.

    Args:
        secrets: the newest first.
        hub: whether to sign as GitHub does too. That header has room for one signature, by the newest shared
            secret, whose text is the key as it stands: GitHub knows no prefix and no base64.
    """

    def __init__(self, secrets: Sequence[str], *, hub: bool = False) -> None:
        self._keys = [signer(secret) for secret in secrets]
        shared = [secret for secret in secrets if isinstance(signer(secret), SharedKey)]
        self._hub = shared[0].encode() if hub and shared else None
        self.shared = bool(shared)

    def headers(self, message_id: str, at: float, body: bytes) -> dict[str, str]:
        """Return the headers of one attempt; a receiver refuses a time that is 5 minutes off."""
        own = message_id or uuid7()
        # With a dot two different requests could have one signature; other characters may be no header.
        name, stamp = own if _ID.fullmatch(own) else wire_id((own,)), str(int(at))
        headers = {"webhook-id": name, "webhook-timestamp": stamp}
        if self._keys:
            content = f"{name}.{stamp}.".encode() + body
            headers["webhook-signature"] = " ".join(key.sign(content) for key in self._keys)
        if self._hub is not None:
            headers["X-Hub-Signature-256"] = f"sha256={hmac.digest(self._hub, body, 'sha256').hex()}"
        return headers

    def problems(self) -> list[str]:
        """Return what is wrong with the secrets, though they work."""
        sizes = [len(key.raw) for key in self._keys if isinstance(key, SharedKey)]
        wanted = f"{KEY_BYTES.start} to {KEY_BYTES.stop - 1} random bytes are advised"
        return [f"a key of {size} bytes: {wanted}" for size in sizes if size not in KEY_BYTES]
