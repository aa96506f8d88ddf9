"""A Slack channel of the lab's workspace on a clock that stands still, and messages from its templates."""

import asyncio
from collections.abc import Callable
from itertools import count
from types import TracebackType
from typing import Any, Self

import msgspec

from knell.channels.base import Attachment, Channel, FormattedMessage, Outcome
from knell.channels.http import Http
from knell.channels.memory import Memory, Scratch
from knell.channels.slack import SlackChannel, SlackConfig
from knell.events import NotificationEvent
from knell.lab import Lab, ManualClock
from knell.lab.record import Message
from knell.messages import HealthStatus
from knell.templates.engine import TemplateEngine
from tests.channels.opening import LOOPBACK

JOB = "job-1"


class Room:
    """One channel object after another, as after restarts; what it remembers stays.

    Attributes:
        clock: of the channel and of the lab; it goes on by a second before every message.
        channel: the object in use.
    """

    def __init__(self, *, webhook: bool = False) -> None:
        self.clock = ManualClock()
        self.lab = Lab(clock=self.clock)
        self.memory: Memory = Scratch(self.clock)
        self._webhook = webhook
        self._runner = asyncio.Runner()
        self._http = Http(LOOPBACK)
        self._engine = TemplateEngine()
        self._ids = count(1)
        self.channel: SlackChannel

    def __enter__(self) -> Self:
        self.lab.start()
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._http.close())
        self._runner.close()
        self.lab.stop()
        assert error is not None or self.lab.violations == (), "what a good client never does"

    @property
    def section(self) -> dict[str, Any]:
        """The channel's section."""
        return self.lab.slack.section() if self._webhook else self.lab.slack.api_section()

    def open(self, *, clock: Callable[[], float] | None = None, **keys: Any) -> None:
        """Put a new object in the place of the old one, with these keys in its section."""
        config = SlackConfig.model_validate({**self.section, **keys})
        self.channel = SlackChannel(config, clock or self.clock)
        self.channel.memory = self.memory
        self._runner.run(self.channel.open(self._http))

    def message(self, *events: NotificationEvent, **fields: Any) -> FormattedMessage:
        """Return a message as the engine makes it."""
        made = self._engine.message("slack", events)
        return msgspec.structs.replace(made, **{"id": f"msg_{next(self._ids)}", **fields})

    def send(self, *events: NotificationEvent, **fields: Any) -> Outcome:
        """Send one message about these events."""
        return self.hand_over(self.message(*events, **fields))

    def hand_over(self, message: FormattedMessage) -> Outcome:
        """Send a message."""
        self.clock.advance(1)
        channel: Channel = self.channel
        return self._runner.run(channel.send(channel.fit(message)))

    def health(self) -> HealthStatus:
        """Ask for the channel's health."""
        return self._runner.run(self.channel.health_check())

    @property
    def messages(self) -> tuple[Message, ...]:
        """What people see in the channel and its threads."""
        return self.lab.slack.messages

    @property
    def parents(self) -> list[Message]:
        """What people see in the channel."""
        return [message for message in self.messages if not message.thread]

    def calls(self, method: str) -> list[dict[str, Any]]:
        """Return the arguments of the calls of a method."""
        return [found.json for found in self.lab.slack.requests if found.path == f"/api/{method}"]


def event(
    kind: str, title: str = "nightly build", job: str | None = JOB, **metadata: Any
) -> NotificationEvent:
    """Return an event of a job."""
    about = metadata if job is None else {"job_id": job, **metadata}
    return NotificationEvent(event_type=kind, source="tests", title=title, metadata=about)


def file(name: str = "details.txt", content: bytes = b"all of it\n") -> Attachment:
    """Return a file."""
    return Attachment(name, content, "text/plain")
