"""A webhook of the operator's own, signed by Standard Webhooks (standard-webhooks/standard-webhooks, spec).

Signed here rather than by the `standardwebhooks` package: it is one HMAC over the bytes that are sent, and
the package would encode them once more. The tests verify every signature with it.
"""

import hmac
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from multidict import CIMultiDict
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator
from yarl import URL

from knell.ids import uuid7
from knell.messages import FormattedMessage, Outcome, Reason, Rejected

from ..config.schema import ChannelConfig
from .answer import Answer, by_status
from .base import Channel
from .http import SecretUrl
from .webhook_limits import fit_webhook

_PREFIX = "whsec_"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_OURS = {
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "host",
    "content-length",
    "transfer-encoding",
}

_ORDERS = {
    "disable": Rejected(Reason.GONE, "the receiver asks never to be called again"),
    "abort-message": Rejected(Reason.REFUSED, "the receiver asks to give this message up"),
}
"""By the header `webhook-delivery` of a refusal (Svix)."""


def _key(secret: SecretStr) -> bytes:
    """Return the signing key: what follows `whsec_` in base64, or the text itself."""
    text = secret.get_secret_value()
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return b64decode(text.removeprefix(_PREFIX), validate=True)
    except Base64Error:
        raise ValueError("expected base64 after whsec_") from None


def _is_secret(secret: SecretStr) -> SecretStr:
    if not _key(secret):
        raise ValueError("the secret is empty")
    return secret


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | SecretStr) else value


class WebhookConfig(ChannelConfig):
    """The section of a webhook channel."""

    url: SecretUrl = Field(description="where every event is sent")
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="of every request")
    headers: dict[str, SecretStr] = Field({}, description="sent with every request; values are secret")
    signature_secret: Annotated[
        list[Annotated[SecretStr, AfterValidator(_is_secret)]],
        BeforeValidator(_listed, json_schema_input_type=SecretStr | list[SecretStr]),
    ] = Field([], description="whsec_... or any text; several while one replaces another")

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        """Refuse what would end the header and begin another, or forge what knell sets (RFC 9110, 5.5)."""
        for name, value in headers.items():
            if not _NAME.fullmatch(name):
                raise ValueError("a name is no header name")
            if name.lower() in _OURS:
                raise ValueError(f"{name} is set by knell")
            if not _VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the value of {name} holds a line break or a control character")
        return headers


class WebhookChannel(Channel):
    """Posts events as JSON; none by default, the section names them."""

    Config = WebhookConfig
    default_events: ClassVar[frozenset[str]] = frozenset()
    config: WebhookConfig

    def __init__(self, config: WebhookConfig, now: Callable[[], float] = time) -> None:
        super().__init__(config)
        self._now = now
        self._url = URL(config.url.get_secret_value())
        self._keys = [_key(secret) for secret in config.signature_secret]
        own = {name: value.get_secret_value() for name, value in config.headers.items()}
        self._headers = CIMultiDict({"Content-Type": "application/json"})
        self._headers.update(own)

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut the body to what receivers take."""
        return fit_webhook(message, _content(message))

    async def send(self, message: FormattedMessage) -> Outcome:
        """Send the message once; the receiver knows a repetition by its `webhook-id`."""
        try:
            body = msgspec.json.encode(_content(message))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return Rejected(Reason.INVALID_MESSAGE, "the content cannot be written as JSON")
        headers = {**self._headers, **self._signed(message.id or uuid7(), body)}
        answer = await self.http.request(
            self.config.method, self._url, body=body, headers=headers, timeout=self.config.timeout_seconds
        )
        if not isinstance(answer, Answer):
            return answer
        order = answer.headers.get("webhook-delivery", "").strip().lower()
        if not answer.ok and order in _ORDERS:
            return _ORDERS[order]
        return by_status(answer, service="the receiver")

    def _signed(self, message_id: str, body: bytes) -> dict[str, str]:
        """Return the headers of this attempt; a receiver refuses a timestamp that is 5 minutes off."""
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(self._now()))}
        if self._keys:
            signed = f"{message_id}.{headers['webhook-timestamp']}.".encode() + body
            digests = (b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self._keys)
            headers["webhook-signature"] = " ".join(f"v1,{digest}" for digest in digests)
        return headers


def _content(message: FormattedMessage) -> Any:
    """Return what is sent as JSON: the rendered object, or the standard's body around the events."""
    if isinstance(message.content, dict):
        return message.content
    if not message.events:
        at = datetime.now(UTC)
        return {"type": "knell.message", "timestamp": at, "data": {"text": message.content}}
    last = message.events[-1]
    if len(message.events) > 1:
        data = {"count": len(message.events), "events": message.events}
        return {"type": "knell.batch", "timestamp": last.timestamp, "data": data}
    return {"type": last.event_type, "timestamp": last.timestamp, "data": last}
