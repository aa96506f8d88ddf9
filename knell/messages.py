"""What travels after an event: the message for a provider, its outcome, and what the sender is told.

Values only: frozen, and JSON in and out.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from knell.events import NotificationEvent


class MessageFormat(StrEnum):
    """How the content of a message is written."""

    SLACK_BLOCKS = "slack_blocks"
    HTML = "html"
    MARKDOWN = "markdown"
    JSON = "json"
    TEXT = "text"


class Attachment(msgspec.Struct, frozen=True):
    """A file that goes with a message.

    With a `content_id` it is a picture inside of a mail's HTML: `<img src="cid:the-id">` shows it there.
    """

    filename: str
    content: bytes
    content_type: str = "application/octet-stream"
    content_id: str = ""


class FormattedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message as a channel gets it: rendered, complete, ready to be translated for the provider.

    `content` is text or, for JSON templates, a mapping. `metadata["event"]` is the event as plain data (the
    first one of a batch, `metadata["events"]` holds them all). `id` is the idempotency key: the same on
    every attempt. `progress` is what an earlier attempt reported as already settled (see `Retry`). `cuts`
    says in plain words what was shortened or left out to fit the provider's limits.
    """

    format: MessageFormat
    content: str | dict[str, Any]
    attachments: tuple[Attachment, ...] = ()
    metadata: dict[str, Any] = {}
    id: str = ""
    attempt: int = 1
    events: tuple[NotificationEvent, ...] = ()
    progress: dict[str, Any] = {}
    cuts: tuple[str, ...] = ()


class Scope(StrEnum):
    """Whom a failure is about, which decides what happens next (docs/providers.md)."""

    NONE = "none"
    TRANSIENT = "transient"  # nobody: the same message may succeed later
    LIMITED = "limited"  # our rate: wait, and use no attempt
    MESSAGE = "message"  # this message can never succeed
    CHANNEL = "channel"  # credentials, address or account: the message is innocent
    GONE = "gone"  # the endpoint has ended: never call it again


class Reason(StrEnum):
    """Why an attempt ended as it did: a closed set, and the metric label `reason`."""

    DELIVERED = "delivered"
    TIMEOUT = "timeout"
    CONNECTION_ERROR = "connection_error"
    SERVER_ERROR = "server_error"
    RATE_LIMIT = "rate_limit"
    INVALID_MESSAGE = "invalid_message"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    RECIPIENT = "recipient"
    OPTED_OUT = "opted_out"
    BUDGET = "budget"
    AUTHENTICATION = "authentication"
    CONFIGURATION = "configuration"
    TLS = "tls"
    ADDRESS_DENIED = "address_denied"
    GONE = "gone"
    CRASHED = "crashed"
    HUNG = "hung"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def scope(self) -> Scope:
        """Whom a failure for this reason is about."""
        return _SCOPES[self]


_SCOPES = {
    Reason.DELIVERED: Scope.NONE,
    Reason.TIMEOUT: Scope.TRANSIENT,
    Reason.CONNECTION_ERROR: Scope.TRANSIENT,
    Reason.SERVER_ERROR: Scope.TRANSIENT,
    Reason.RATE_LIMIT: Scope.LIMITED,
    Reason.INVALID_MESSAGE: Scope.MESSAGE,
    Reason.TOO_LARGE: Scope.MESSAGE,
    Reason.REFUSED: Scope.MESSAGE,
    Reason.RECIPIENT: Scope.MESSAGE,
    Reason.OPTED_OUT: Scope.MESSAGE,
    Reason.BUDGET: Scope.MESSAGE,
    Reason.AUTHENTICATION: Scope.CHANNEL,
    Reason.CONFIGURATION: Scope.CHANNEL,
    Reason.TLS: Scope.CHANNEL,
    Reason.ADDRESS_DENIED: Scope.CHANNEL,
    Reason.GONE: Scope.GONE,
    Reason.CRASHED: Scope.TRANSIENT,
    Reason.HUNG: Scope.TRANSIENT,
    Reason.EXPIRED: Scope.MESSAGE,
    Reason.CANCELLED: Scope.MESSAGE,
}


class Usage(msgspec.Struct, frozen=True):
    """What an attempt used up at a provider that charges; `currency` is an ISO 4217 code."""

    segments: int = 0
    cost: float = 0.0
    currency: str = ""


class Delivered(msgspec.Struct, frozen=True, tag=True):
    """The provider accepted the message; `receipt` is its reference, plain JSON data.

    `pause`: seconds in which the provider wants nothing more, said before it has to refuse anything.
    """

    receipt: Any = None
    detail: str = ""
    pause: float | None = None
    usage: Usage | None = None


class Retry(msgspec.Struct, frozen=True, tag=True):
    """It did not work and may work later.

    `after` is the provider's own wish in seconds and wins over the backoff. `detail` is for people and free
    of secrets. `progress` comes back in the next attempt's message: the recipients that are settled.
    """

    reason: Reason
    after: float | None = None
    detail: str = ""
    progress: Mapping[str, Any] = {}
    usage: Usage | None = None

    def __post_init__(self) -> None:
        """Accept the reason as text."""
        _own_reason(self, self.reason)


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """It can never work as it is. The reason's scope says whether the message or the channel is to blame."""

    reason: Reason
    detail: str = ""
    progress: Mapping[str, Any] = {}
    usage: Usage | None = None

    def __post_init__(self) -> None:
        """Accept the reason as text."""
        _own_reason(self, self.reason)


class Unknown(msgspec.Struct, frozen=True, tag=True):
    """The request was sent and no answer came: the provider may have delivered it."""

    reason: Reason
    detail: str = ""
    progress: Mapping[str, Any] = {}
    usage: Usage | None = None

    def __post_init__(self) -> None:
        """Accept the reason as text."""
        _own_reason(self, self.reason)


Outcome = Delivered | Retry | Rejected | Unknown
"""How one attempt ended. Anything that escapes `send` instead is a crash of the channel's actor."""


def _own_reason(outcome: Retry | Rejected | Unknown, reason: str) -> None:
    msgspec.structs.force_setattr(outcome, "reason", Reason(reason))


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENDING = "sending"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self not in {DeliveryState.PENDING, DeliveryState.SENDING}


class DeliveryResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the delivery of one event through one channel ended.

    `delivery_time_ms` counts from the acceptance of the event; `retry_count` is the attempts after the first.
    """

    notification_id: str
    channel: str
    success: bool
    timestamp: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    error: str | None = None
    retry_count: int = 0
    delivery_time_ms: int = 0
    reason: Reason = Reason.DELIVERED
    receipt: Any = None


class ChannelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where the delivery of one event through one channel stands."""

    delivery_id: str
    channel: str
    state: DeliveryState
    attempts: int = 0
    rule: str = ""
    reason: str = ""
    error: str = ""
    next_attempt: datetime | None = None
    finished: datetime | None = None


class DeliveryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where one event stands: a row per channel, and why the other channels did not get it."""

    notification_id: str
    event_type: str
    accepted: datetime
    channels: list[ChannelStatus] = []
    suppressed: dict[str, str] = {}


class HealthStatus(msgspec.Struct, frozen=True):
    """Whether a channel (or the whole system) can work, and what is wrong in plain words."""

    healthy: bool
    detail: str = ""
    checks: dict[str, str] = {}
