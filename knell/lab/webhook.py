"""A receiver of Standard Webhooks: believes only what is signed, and takes each message once."""

import base64
import re
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec

from knell.lab import bodies, signatures
from knell.lab.record import Answer, Message, Request
from knell.lab.server import HttpStandIn, as_json
from knell.lab.signatures import SignatureError
from knell.lab.standin import Setting

PATH = "/hook"
BODY_BYTES = 20_000
"""What a body should stay under (standard-webhooks, "Payload size")."""

APART_SECONDS = 2.0
"""Attempts this far apart cannot carry the same timestamp, which counts whole seconds."""

_TYPE = re.compile(r"[a-zA-Z0-9_.]+")
_METHODS = {"POST", "PUT", "PATCH"}


@dataclass(frozen=True, slots=True)
class _Attempt:
    wall: float
    stamp: str
    body: bytes


class Webhook(HttpStandIn):
    """An endpoint of a partner.

    Attributes:
        secrets: the secrets of which one must have signed; without any, everything is believed.
        simple: expect `X-Hub-Signature-256` or `X-Signature` instead of the standard's headers.
    """

    name = "webhook"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.secrets: tuple[str, ...] = (new_secret(),)
        self.simple = False
        self._taken: set[str] = set()
        self._attempts: dict[str, _Attempt] = {}
        self._closed = False

    @property
    def url(self) -> str:
        """The address of the endpoint."""
        return self.base_url + PATH

    def section(self) -> dict[str, Any]:
        """Return a channel section; while rotating it signs with every secret."""
        signed = self.secrets[0] if len(self.secrets) == 1 else list(self.secrets)
        section: dict[str, Any] = {"type": "webhook", "url": self.url, "method": "POST"}
        if self.secrets:
            section["signature_secret"] = signed
        if self.simple:
            section["hub_signature"] = True
        return section

    def rotate(self) -> str:
        """Add a new secret in front of the old ones, and return it; `secrets = (new,)` ends the rotation."""
        self.secrets = (new_secret(), *self.secrets)
        return self.secrets[0]

    def revoke(self) -> None:
        """Close the endpoint: 410 from now on."""
        self._closed = True

    def answer(self, request: Request) -> Answer:
        """Verify, read, and take the message unless it is known."""
        if request.path != PATH:
            return _refusal(HTTPStatus.NOT_FOUND, "no such endpoint")
        if self._closed:
            return _refusal(HTTPStatus.GONE, "this endpoint has been removed")
        if request.method not in _METHODS:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not taken here")
        try:
            self._verify(request)
            return self._take(request, _read(request.body))
        except SignatureError as error:
            return _refusal(HTTPStatus.UNAUTHORIZED, str(error))
        except ValueError as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))

    def gone(self, answer: Answer) -> bool:
        """Whether the endpoint is to be disabled (410, or Svix's `webhook-delivery: disable`)."""
        told = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status == HTTPStatus.GONE or told.get("webhook-delivery") == "disable"

    def _verify(self, request: Request) -> None:
        if not self.secrets:
            return
        if self.simple:
            signatures.verify_simple(self.secrets, request.headers, request.body)
        else:
            signatures.verify(self.secrets, request.headers, request.body, self.setting.wall())

    def _take(self, request: Request, payload: dict[str, Any]) -> Answer:
        message_id = request.headers.get("webhook-id", "")
        data = bodies.mapping(payload.get("data")) or {}
        message = Message(
            provider=self.name,
            id=message_id,
            keys=(message_id,) if message_id else (),
            received=self.now(),
            at=self.setting.clock(),
            payload=payload,
            text=msgspec.json.format(msgspec.json.encode(payload), indent=2).decode(),
            title=str(data.get("title") or payload["type"]),
            to=(request.path,),
        )
        if len(request.body) > BODY_BYTES:
            self.warn(f"a body of {len(request.body)} bytes, {BODY_BYTES} are advised")
        if message_id in self._taken:
            self.accept_again(message)
        else:
            self.accept(message)
        self._taken.update(message.keys)
        return as_json(HTTPStatus.OK, {"ok": True})

    def _watch(self, request: Request) -> None:
        """Compare the attempts of one message, those that a fault answers among them."""
        super()._watch(request)
        message_id = request.headers.get("webhook-id", "")
        if not message_id:
            return
        now, stamp = self.setting.wall(), request.headers.get("webhook-timestamp", "")
        last = self._attempts.get(message_id)
        self._attempts[message_id] = _Attempt(now, stamp, request.body)
        if "." in message_id:
            self.violate(f"webhook-id {message_id} holds a dot")
        if last is None:
            return
        if last.body != request.body:
            self.violate(f"webhook-id {message_id} came again with another body")
        if now - last.wall >= APART_SECONDS and stamp == last.stamp:
            self.violate(f"webhook-id {message_id}: the same timestamp {now - last.wall:.0f} s later")


def new_secret() -> str:
    """Return a fresh `whsec_` secret of 32 bytes."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def _read(body: bytes) -> dict[str, Any]:
    payload = bodies.json_object(body)
    if not _TYPE.fullmatch(str(payload.get("type", ""))):
        raise ValueError(
            f"type {payload.get('type')!r} is missing or has characters other than a-z A-Z 0-9 _ ."
        )
    return payload


def _refusal(status: int, why: str) -> Answer:
    return as_json(status, {"error": why}, why)
