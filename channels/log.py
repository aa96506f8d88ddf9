"""The log of the host, for development: each event is a structured line where knell's own lines go.

The console channel shows a message as people read it; this one shows that it was sent, to whatever collects
the logs already (docs/decisions/0015-channel-conformance.md).
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from knell.events import NotificationEvent, Severity
from knell.log import log
from knell.messages import Delivered, FormattedMessage, Outcome

from ..config.schema import ChannelConfig, Flag, Names
from .base import Channel, text_of

_BY_SEVERITY = {
    Severity.INFO: "info",
    Severity.WARNING: "warning",
    Severity.ERROR: "error",
    Severity.CRITICAL: "critical",
}


class LogConfig(ChannelConfig):
    """The section of a log channel."""

    level: Literal["severity", "debug", "info", "warning", "error", "critical"] = Field(
        default="severity", description="the level of every line, or that of the event's severity"
    )
    text: Flag = Field(default=True, description="whether the line holds the rendered message, too")
    events: Names | None = Field(default=["*"], description="event types it logs, '*' for all")


class LogChannel(Channel):
    """Logs a line `notification` for each event, by the logger `knell`; levels and formats are the host's."""

    Config = LogConfig
    default_events: ClassVar[frozenset[str]] = frozenset({"*"})
    config: LogConfig

    def __init__(self, config: LogConfig) -> None:
        super().__init__(config)

    async def send(self, message: FormattedMessage) -> Outcome:
        """Log the message; whether the host keeps such lines is not known here."""
        text = {"text": text_of(message).strip()} if self.config.text else {}
        for event in message.events:
            getattr(log, self._level(event))("notification", **_fields(event), **text)
        if not message.events:
            getattr(log, self._level(None))("notification", **text)
        return Delivered()

    def _level(self, event: NotificationEvent | None) -> str:
        if self.config.level != "severity":
            return self.config.level
        return "info" if event is None else _BY_SEVERITY[Severity(event.severity)]


def _fields(event: NotificationEvent) -> dict[str, Any]:
    return {
        "event_id": event.event_id,
        "event_type": str(event.event_type),
        "source": event.source,
        "severity": str(event.severity),
        "title": event.title,
    }
