"""Everything Apprise can reach, with knell's queue, limits, retries and breaker around it.

Apprise blocks, says no more than whether it worked, and makes its connections itself: it runs on threads of
this channel's own, what it logs meanwhile is the detail (its credentials cut out), and `security` is applied
as far as an address tells (docs/channels/apprise.md). The library is loaded when a channel is made: it is
large, and few have it.
"""

import asyncio
import hashlib
import logging
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote

from pydantic import BeforeValidator, Field, SecretStr

from knell.errors import ChannelError
from knell.events import NotificationEvent, Severity
from knell.messages import (
    Attachment,
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)

from ..config.schema import ChannelConfig, RateLimit
from .base import Channel, text_of, titles
from .http import Http
from .tally import Tally, listed

MISSING = 'the library is not installed: pip install "knell[apprise]"'

MAX_THREADS = 32
"""Services called at once by one channel; one that hangs keeps its thread until its connection gives up."""

GRACE_SECONDS = 1.0
"""How long Apprise's own timeouts end after ours: ours knows that the message may have arrived."""

_LOGGERS = ("apprise", "urllib3.connectionpool")
_LONGEST = 300
_SHORTEST_TOKEN = 4
_TOKENS = re.compile(r"[/?&=:@,#]+")
_FORMATS = {MessageFormat.HTML: "html", MessageFormat.MARKDOWN: "markdown"}
_KINDS: dict[Severity, Literal["info", "warning", "failure"]] = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "failure",
    Severity.CRITICAL: "failure",
}

_heard: ContextVar[list[str] | None] = ContextVar("knell_apprise_heard", default=None)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | SecretStr) else value


class AppriseConfig(ChannelConfig):
    """The section of an Apprise channel."""

    urls: Annotated[
        list[SecretStr],
        Field(min_length=1),
        BeforeValidator(_listed, json_schema_input_type=SecretStr | list[SecretStr]),
    ] = Field(description="one or more Apprise URLs, such as tgram://token/chat; all of one is secret")
    concurrency: int = Field(default=4, ge=1, le=100, description="most messages under way at once")
    rate_limit: RateLimit | None = Field(
        default=RateLimit(max_requests=1, burst_size=3),
        description="1/s, 3 at once: what most services take; Apprise's own waiting is switched off",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """One URL.

    Attributes:
        key: what identifies it in the progress of a delivery; it tells nothing of the URL.
        label: what people are told it is.
        service: Apprise's object for it.
        secrets: every part of the URL that may be a credential.
    """

    key: str
    label: str
    service: Any = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def scrub(self, text: str) -> str:
        """Cut what may be secret, or obeyed by a terminal, out of what Apprise says."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return "".join(char if char.isprintable() else " " for char in text)[:_LONGEST]


class AppriseChannel(Channel):
    """Notifies one or more services by Apprise, each with a result of its own."""

    Config = AppriseConfig
    default_events: ClassVar[frozenset[str]] = frozenset()
    config: AppriseConfig

    def __init__(self, config: AppriseConfig) -> None:
        super().__init__(config)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_overhear)
        urls = [url.get_secret_value() for url in config.urls]
        with warnings.catch_warnings():
            # Some of its hundred plugins use what Python is about to drop; that is no news for our users.
            warnings.simplefilter("ignore")
            self._library = _loaded()
            # Without a timeout of its own it stays off the pool that all its users in a process share.
            self._asset = self._library.AppriseAsset(
                async_mode=False, service_timeout=0, storage_mode="memory", app_id="knell"
            )
            self._targets = {target.key: target for target in map(self._target, range(len(urls)), urls)}
        size = min(MAX_THREADS, config.concurrency * len(self._targets))
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="knell-apprise")
        self._require_tls = False

    async def open(self, http: Http) -> None:
        """Get ready to send."""
        await super().open(http)
        self._require_tls = http.security.require_tls

    async def send(self, message: FormattedMessage) -> Outcome:
        """Notify every service that has not taken the message yet, all at once."""
        if problems := self.validate_config():
            return Rejected(Reason.CONFIGURATION, "; ".join(problems), message.progress)
        tally = Tally.resume(self._targets, message.progress)
        waiting = [self._targets[key] for key in tally.left]
        failures = await asyncio.gather(*(self._notify(target, message) for target in waiting))
        for target, failure in zip(waiting, failures, strict=True):
            if failure is None:
                tally.accept(target.key, target.label)
        failed = {t.label: f for t, f in zip(waiting, failures, strict=True) if f is not None}
        if not failed:
            return Delivered({"accepted": list(tally.accepted.values())})
        detail = listed({label: failure.detail for label, failure in failed.items()})
        if any(isinstance(failure, Unknown) for failure in failed.values()):
            return Unknown(Reason.TIMEOUT, detail, tally.progress)
        return Retry(next(iter(failed.values())).reason, None, detail, tally.progress)

    def validate_config(self) -> list[str]:
        """Return the URLs that `security.require_tls` forbids, once the channel is open and knows of it."""
        return [
            f"{target.label}: {why} (security.require_tls)"
            for target in self._targets.values()
            if self._require_tls and (why := _insecure(target.service))
        ]

    async def close(self) -> None:
        """Let the threads end; a service that hangs ends by its own timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _notify(self, target: Target, message: FormattedMessage) -> Retry | Unknown | None:
        """Notify one service; None when it took the message."""
        work = self._threads.submit(self._blocking, target, self._arguments(target, message))
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            if work.cancelled():
                return Retry(Reason.TIMEOUT, None, "no thread is free: services that hang keep them all")
            return Unknown(Reason.TIMEOUT, "no answer in time; it may have arrived")

    def _blocking(self, target: Target, arguments: dict[str, Any]) -> Retry | None:
        """Call Apprise, on a thread, and hear what it logs."""
        said: list[str] = []
        token = _heard.set(said)
        try:
            one = self._library.Apprise(asset=self._asset)
            one.add(target.service)
            if one.notify(**arguments):
                return None
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything, with its URL in the text
            said.append(type(error).__name__)
        finally:
            _heard.reset(token)
        return Retry(Reason.SERVER_ERROR, None, target.scrub("; ".join(said) or "Apprise says no more"))

    def _arguments(self, target: Target, message: FormattedMessage) -> dict[str, Any]:
        title, body = _texts(message)
        attach = [self._attachment(item) for item in message.attachments]
        return {
            "title": title,
            "body": body,
            "body_format": _FORMATS.get(message.format, "text"),
            "notify_type": _kind(message.events),
            "attach": attach if attach and target.service.attachment_support else None,
        }

    def _attachment(self, item: Attachment) -> Any:
        memory = import_module("apprise.attachment.memory")
        return memory.AttachMemory(content=item.content, name=item.filename, mimetype=item.content_type)

    def _target(self, number: int, url: str) -> Target:
        """Make the service of a URL.

        Raises:
            ChannelError: Apprise does not understand it.
        """
        schema, is_url, _ = url.partition("://")
        named = schema.lower() if is_url and schema.isalnum() else "?"
        digest = hashlib.sha256(url.encode()).hexdigest()[:8]
        said: list[str] = []
        token = _heard.set(said)
        try:
            service = self._library.Apprise.instantiate(url, asset=self._asset)
        finally:
            _heard.reset(token)
        if service is None:
            raise ChannelError(f"urls[{number}] ({named}): Apprise does not understand it")
        target = Target(f"{named}-{digest}", f"url {number + 1} ({named})", service, _secrets(url))
        _tame(service, url, self.config.timeout_seconds)
        return target


def _loaded() -> Any:
    """Import the library.

    Raises:
        ChannelError: it is not there.
    """
    try:
        return import_module("apprise")
    except ImportError:
        raise ChannelError(MISSING) from None


def _tame(service: Any, url: str, timeout: float) -> None:
    """Switch off what knell does itself, or never does."""
    service.redirects = False
    service.request_rate_per_sec = 0.0
    if "overflow=" not in url:
        service.overflow_mode = import_module("apprise").OverflowMode.TRUNCATE
    for name, key in (("socket_read_timeout", "rto="), ("socket_connect_timeout", "cto=")):
        if key not in url:
            setattr(service, name, timeout + GRACE_SECONDS)


def _insecure(service: Any) -> str | None:
    """Say why a service's connection is not safe, where its address tells."""
    twins = service.protocol and service.secure_protocol
    if twins and service.secure is False:
        return "plain HTTP: use the schema's secure form"
    return None if service.verify_certificate else "verify=no trusts any certificate"


def _secrets(url: str) -> tuple[str, ...]:
    """Return every part of a URL that may be a credential, the longest first: for some it is the host."""
    parts = _TOKENS.split(url.partition("://")[2])
    found = {url, *parts, *map(unquote, parts)}
    return tuple(sorted((part for part in found if len(part) >= _SHORTEST_TOKEN), key=len, reverse=True))


def _texts(message: FormattedMessage) -> tuple[str, str]:
    """Return title and body; the headline of a plain text is the title already."""
    title = str(message.metadata.get("subject") or titles(message.events))
    content = message.content
    if isinstance(content, dict):
        return title, str(content.get("html" if message.format is MessageFormat.HTML else "text") or title)
    first, _, rest = text_of(message).strip().partition("\n")
    if message.format is MessageFormat.TEXT and title and title in first and rest.strip():
        return first, rest.strip()
    return title, content or title


def _kind(events: Sequence[NotificationEvent]) -> str:
    if not events:
        return "info"
    event = max(events, key=lambda event: Severity(event.severity).rank)
    done = event.severity == Severity.INFO and str(event.event_type).endswith(("_completed", "_merged"))
    return "success" if done else _KINDS[Severity(event.severity)]


def _overhear(record: logging.LogRecord) -> bool:
    """Keep what is logged during a call of ours from the host's log, which may be kept: it may hold a URL."""
    said = _heard.get()
    if said is None:
        return True
    if record.levelno >= logging.WARNING:
        said.append(record.getMessage())
    return False
