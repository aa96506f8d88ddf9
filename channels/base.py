"""The base of every channel, and all the names an author of one needs.

A channel translates a rendered message for its provider and classifies the provider's answer. It never
sleeps, retries, counts or logs: the actor around it does.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from knell.events import EventType, Link, NotificationEvent, Severity
from knell.messages import (
    Attachment,
    Delivered,
    DeliveryResult,
    FormattedMessage,
    HealthStatus,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Scope,
    Unknown,
    Usage,
)

from ..config.schema import ChannelConfig, OpenChannelConfig
from .http import Http
from .memory import Memory, Scratch

__all__ = [
    "Attachment",
    "Channel",
    "ChannelConfig",
    "Delivered",
    "DeliveryResult",
    "EventType",
    "FormattedMessage",
    "HealthStatus",
    "Http",
    "Link",
    "Memory",
    "MessageFormat",
    "NotificationEvent",
    "OpenChannelConfig",
    "Outcome",
    "Reason",
    "Rejected",
    "Retry",
    "Scope",
    "Severity",
    "Unknown",
    "Usage",
]


class Channel(ABC):
    """One way to reach people.

    A new object is made for every start of its actor, from the section of the configuration alone. All
    coroutines run on knell's one I/O thread: never block in them. Many sends may run at once, up to the
    section's `concurrency`.

    Class attributes:
        Config: the schema of the section; the default keeps unknown keys as they are.
        templates: folder of its templates; the channel type when empty.
        default_events: event types it gets when neither a rule nor `events` says so (specification, "Default
            Channels"); none for a third-party channel, which names its `events`.
    """

    Config: ClassVar[type[ChannelConfig]] = OpenChannelConfig
    templates: ClassVar[str] = ""
    default_events: ClassVar[frozenset[str]] = frozenset()

    http: Http
    """The shared HTTP client, set by `open`."""

    memory: Memory
    """What the channel remembers across restarts, by keys of its own; the actor sets it before `open`."""

    def __init__(self, config: ChannelConfig) -> None:
        self.config = config
        self.memory = Scratch()

    async def open(self, http: Http) -> None:
        """Get ready to send; runs before the first `send`."""
        self.http = http

    @abstractmethod
    async def send(self, message: FormattedMessage) -> Outcome:
        """Try once to deliver the message, and say how it ended.

        An exception that escapes is a crash of the channel's actor.
        """

    async def close(self) -> None:
        """Give back what `open` and `send` took; runs once, after the last `send` began."""
        return

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut a message to the provider's limits; pure, and called before every attempt."""
        return message

    def validate_config(self) -> list[str]:
        """Return what is wrong with the section beyond its schema, in plain words."""
        return []

    async def health_check(self) -> HealthStatus:
        """Say whether the channel could deliver, without sending anything to people."""
        return HealthStatus(not (problems := self.validate_config()), "; ".join(problems))


def text_of(message: FormattedMessage) -> str:
    """Return a message's content as plain text, whatever its format."""
    if isinstance(message.content, str):
        return message.content
    return str(message.content.get("text", ""))


def titles(events: Sequence[NotificationEvent]) -> str:
    """Name the events of a message in one line."""
    first = events[0].title if events else ""
    return first if len(events) <= 1 else f"{first} (+{len(events) - 1})"
