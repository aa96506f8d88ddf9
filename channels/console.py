"""The terminal, for development: what would be sent, in plain words."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC
from typing import ClassVar, Literal, TextIO

from pydantic import Field

from knell.events import NotificationEvent
from knell.messages import Delivered, FormattedMessage, Outcome, Reason, Rejected, Retry

from ..config.schema import ChannelConfig, Names
from .base import Channel, text_of, titles

_INDENT = "  "
_HAZARD = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal or a log viewer obeys instead of showing it: controls, line separators, direction marks."""


class ConsoleConfig(ChannelConfig):
    """The section of a console channel."""

    stream: Literal["stdout", "stderr"] = Field("stderr", description="where it prints")
    events: Names | None = Field(["*"], description="event types it prints, '*' for all")


class ConsoleChannel(Channel):
    """Prints messages; a heading, then the text."""

    Config = ConsoleConfig
    default_events: ClassVar[frozenset[str]] = frozenset({"*"})
    config: ConsoleConfig

    def __init__(self, config: ConsoleConfig) -> None:
        super().__init__(config)

    async def send(self, message: FormattedMessage) -> Outcome:
        """Print the message."""
        # Looked up at every message: the host, or a test, may have replaced it. A daemon may have none.
        stream: TextIO | None = sys.stdout if self.config.stream == "stdout" else sys.stderr
        if stream is None:
            return Rejected(Reason.CONFIGURATION, f"there is no {self.config.stream}")
        encoding = stream.encoding or "utf-8"
        try:
            stream.write(shown(message).encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except (OSError, ValueError) as error:
            # The reader of the pipe has gone, or the stream was closed.
            return Retry(Reason.CONNECTION_ERROR, None, f"{self.config.stream}: {type(error).__name__}")
        return Delivered()


def shown(message: FormattedMessage) -> str:
    """Return a heading and the indented text: no line of an event can pose as a heading."""
    text = _HAZARD.sub(_escaped, text_of(message).strip()).replace("\n", f"\n{_INDENT}")
    return f"{_heading(message.events)}\n{_INDENT}{text}\n"


def _heading(events: Sequence[NotificationEvent]) -> str:
    if not events:
        return "message"
    last = events[-1]
    at = last.timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    heading = f"{at} {last.severity.upper()} {last.event_type} {last.source}: {titles(events)}"
    return _HAZARD.sub(_escaped, heading).replace("\n", "\\n")


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
