"""A webhook of the operator's own, signed by Standard Webhooks (docs/channels/webhook.md)."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from time import time
from typing import Annotated, Any, ClassVar, Literal, Self

import msgspec
from multidict import CIMultiDict
from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from yarl import URL

from knell.messages import FormattedMessage, HealthStatus, Outcome, Reason, Rejected

from ..config.schema import ChannelConfig, Flag, Strict
from .answer import Answer, by_status
from .base import Channel
from .guard import AddressDenied
from .http import SecretUrl
from .signing import OUR_HEADERS, Signatures, SigningSecrets
from .tls import Identity, TlsFiles, context_of
from .webhook_limits import fit_webhook

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_NOT_OF_A_TYPE = re.compile(r"[^A-Za-z0-9_.]")
_OURS = OUR_HEADERS | {"host", "content-length", "transfer-encoding"}

_ORDERS = {
    "disable": Rejected(Reason.GONE, "the receiver asks never to be called again (webhook-delivery)"),
    "abort-message": Rejected(Reason.REFUSED, "the receiver asks to give this message up (webhook-delivery)"),
}
"""By the header `webhook-delivery` of a refusal (Svix)."""

_CREDENTIALS = "check bearer_token, basic_auth, headers and signature_secret, and the clocks"
_ADVICE: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "it does not understand the body",
    HTTPStatus.UNAUTHORIZED: _CREDENTIALS,
    HTTPStatus.FORBIDDEN: _CREDENTIALS,
    HTTPStatus.NOT_FOUND: "check the path in url",
    HTTPStatus.METHOD_NOT_ALLOWED: "check method",
    HTTPStatus.GONE: "the endpoint was removed for good; nothing is sent to it any more",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too large for it",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "check the Content-Type in headers",
    HTTPStatus.UNPROCESSABLE_ENTITY: "it does not understand the body",
}


def _is_value(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.strip() or not _VALUE.fullmatch(text):
        raise ValueError("expected text without line breaks and control characters")
    return secret


class BasicAuth(Strict):
    """A user and a password (RFC 7617)."""

    username: str = Field(min_length=1, pattern=r"^[^:\x00-\x1f\x7f]+$", description="without a colon")
    password: SecretStr = Field(description="of that user")


class WebhookConfig(ChannelConfig):
    """The section of a webhook channel."""

    url: SecretUrl = Field(description="where every event is sent")
    method: Literal["POST", "PUT", "PATCH"] = Field("POST", description="of every request")
    headers: dict[str, SecretStr] = Field({}, description="sent with every request; values are secret")
    bearer_token: Annotated[SecretStr, AfterValidator(_is_value)] | None = Field(
        None, description="sent as Authorization: Bearer"
    )
    basic_auth: BasicAuth | None = Field(None, description="sent as Authorization: Basic")
    signature_secret: SigningSecrets = Field(
        [], description="whsec_..., whsk_... or any text; several while one replaces another"
    )
    hub_signature: Flag = Field(
        default=False, description="send X-Hub-Signature-256 too, as GitHub does, by the first shared secret"
    )
    ca_file: Path | None = Field(
        None, description="PEM file of the authorities to believe, instead of the system's"
    )
    client_cert: Path | None = Field(
        None, description="PEM file with the certificate to show to the receiver (mTLS)"
    )
    client_key: Path | None = Field(None, description="PEM file with its key; in client_cert when absent")
    client_key_password: SecretStr = Field(SecretStr(""), description="of an encrypted client_key")

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

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """Refuse keys that contradict each other, or need another one."""
        ways = [name for name in ("bearer_token", "basic_auth") if getattr(self, name) is not None]
        ways += [f"headers.{name}" for name in self.headers if name.lower() == "authorization"]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)} exclude each other: a request has one Authorization")
        if "signature_secret" in self.model_fields_set and not self.signature_secret:
            raise ValueError("signature_secret is an empty list: name a secret, or leave it out")
        if self.hub_signature and not self.signatures.shared:
            raise ValueError("hub_signature needs a signature_secret of text or whsec_...")
        if self.client_cert is None and (self.client_key or self.client_key_password.get_secret_value()):
            raise ValueError("client_key and client_key_password need client_cert")
        return self

    @property
    def signatures(self) -> Signatures:
        """What signs its requests."""
        secrets = [secret.get_secret_value() for secret in self.signature_secret]
        return Signatures(secrets, hub=self.hub_signature)

    @property
    def files(self) -> TlsFiles:
        """The files of its TLS connections."""
        password = self.client_key_password.get_secret_value()
        return TlsFiles(self.ca_file, self.client_cert, self.client_key, password)

    def authorization(self) -> Mapping[str, str]:
        """Return the header that lets knell in, if it has one of its own key."""
        token = self.bearer_token
        return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}


class WebhookChannel(Channel):
    """Posts events as JSON; none by default, the section names them."""

    Config = WebhookConfig
    default_events: ClassVar[frozenset[str]] = frozenset()
    config: WebhookConfig

    def __init__(self, config: WebhookConfig, now: Callable[[], float] = time) -> None:
        super().__init__(config)
        self._now = now
        self._url = URL(config.url.get_secret_value())
        self._signatures = config.signatures
        self._identity = Identity(config.files)
        basic = config.basic_auth
        self._auth = None if basic is None else (basic.username, basic.password.get_secret_value())
        self._headers = CIMultiDict({"Content-Type": "application/json"})
        self._headers.update({name: value.get_secret_value() for name, value in config.headers.items()})
        self._headers.update(config.authorization())

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut the body to what receivers take."""
        return fit_webhook(message, _content(message))

    async def send(self, message: FormattedMessage) -> Outcome:
        """Send the message once; the receiver knows a repetition by its `webhook-id`."""
        try:
            body = msgspec.json.encode(_content(message))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return Rejected(Reason.INVALID_MESSAGE, "the content cannot be written as JSON")
        try:
            tls = await self._identity.context()
        except ValueError as error:
            return Rejected(Reason.TLS, f"nothing was sent: {error}")
        answer = await self.http.request(
            self.config.method,
            self._url,
            body=body,
            headers={**self._headers, **self._signatures.headers(message.id, self._now(), body)},
            auth=self._auth,
            timeout=self.config.timeout_seconds,
            tls=tls,
        )
        return _outcome(answer) if isinstance(answer, Answer) else answer

    def validate_config(self) -> list[str]:
        """Return what is wrong with the files and secrets; reads the files."""
        found: list[str] = []
        if self._url.scheme == "http" and self.config.files.named:
            found.append("url: ca_file and client_cert are of no use without https")
        found += [f"signature_secret: {problem}" for problem in self._signatures.problems()]
        try:
            context_of(self.config.files)
        except ValueError as error:
            found.append(str(error))
        return found

    async def health_check(self) -> HealthStatus:
        """Say whether its files can be read and `security` allows its url: the rest only an event can tell.

        A request without an event would be an error in the receiver's log, and prove nothing about the next.
        """
        problems = await asyncio.to_thread(self.validate_config)
        problems += self._forbidden()
        detail = "; ".join(problems) or "only sending can tell whether the receiver takes events"
        return HealthStatus(not problems, detail)

    def _forbidden(self) -> Iterator[str]:
        """Say what `security` has against the url as it is written; where a name leads shows at sending."""
        guard = self.http.pool.guard
        if problem := guard.url_problem(self._url):
            yield problem
        try:
            guard.check(str(ip_address(self._url.host or "")), self._url.port or 0)
        except ValueError:
            return  # a name
        except AddressDenied as denied:
            yield str(denied)


def _outcome(answer: Answer) -> Outcome:
    order = answer.headers.get("webhook-delivery", "").strip().lower()
    if not answer.ok and order in _ORDERS:
        return _ORDERS[order]
    return by_status(answer, service="the receiver", advice=_ADVICE)


def _content(message: FormattedMessage) -> Any:
    """Return what is sent as JSON: the rendered object, or the standard's body around the events."""
    content = message.content if isinstance(message.content, dict) else _envelope(message)
    kind = content.get("type")
    if content.keys() == {"type", "timestamp", "data"} and isinstance(kind, str):
        # The standard's body has the standard's types; the event inside keeps its own.
        return {**content, "type": _NOT_OF_A_TYPE.sub("_", kind)}
    return content


def _envelope(message: FormattedMessage) -> dict[str, Any]:
    if not message.events:
        at = datetime.now(UTC)
        return {"type": "knell.message", "timestamp": at, "data": {"text": message.content}}
    last = message.events[-1]
    if len(message.events) > 1:
        data = {"count": len(message.events), "events": message.events}
        return {"type": "knell.batch", "timestamp": last.timestamp, "data": data}
    return {"type": last.event_type, "timestamp": last.timestamp, "data": last}
