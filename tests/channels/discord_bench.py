"""Discord channels at work against the lab, on one clock that stands still."""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from knell.channels.discord import DiscordChannel
from knell.channels.discord_config import DiscordConfig
from knell.channels.http import Http
from knell.channels.memory import Memory
from knell.events import NotificationEvent
from knell.lab import Lab, ManualClock
from knell.messages import Attachment, FormattedMessage, HealthStatus, MessageFormat, Outcome
from tests.channels.opening import LOOPBACK


class Bench:
    """Channels that share a client, as those of one system do.

    Attributes:
        lab: what they talk to.
        clock: the time of the lab and of the channels.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lab = Lab(clock=self.clock)
        self._loop = asyncio.Runner()
        self.http = Http(LOOPBACK)

    def __enter__(self) -> Self:
        self.lab.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self.http.close())
        self._loop.close()
        self.lab.stop()

    def channel(
        self,
        url: str = "",
        *,
        memory: Memory | None = None,
        clock: Callable[[], float] | None = None,
        **keys: Any,
    ) -> DiscordChannel:
        """Return a channel that is open: for the lab's text channel, if no address is given."""
        section = {"webhook_url": url or self.lab.discord.url, "timeout_seconds": 10, **keys}
        channel = DiscordChannel(DiscordConfig.model_validate(section))
        channel.clock = clock or self.clock
        if memory is not None:
            channel.memory = memory
        self._loop.run(channel.open(self.http))
        return channel

    def send(self, channel: DiscordChannel, message: FormattedMessage) -> Outcome:
        """Fit and send a message, and look for secrets in what became of it."""
        outcome = self._loop.run(channel.send(channel.fit(message)))
        assert str(channel.config["webhook_url"]).rpartition("/")[2].partition("?")[0] not in repr(outcome)
        return outcome

    def check(self, channel: DiscordChannel) -> HealthStatus:
        """Ask for its health."""
        return self._loop.run(channel.health_check())


def message(
    text: str = "hello",
    *,
    event_type: str = "task_completed",
    job: str = "",
    severity: Any = "info",
    title: str = "A title",
    attachments: tuple[Attachment, ...] = (),
    content: dict[str, Any] | None = None,
    **more: Any,
) -> FormattedMessage:
    """Return a message about one event."""
    event = NotificationEvent(
        event_type=event_type,
        source="tests",
        title=title,
        severity=severity,
        metadata={"job_id": job} if job else {},
    )
    return FormattedMessage(
        format=MessageFormat.JSON,
        content=content if content is not None else {"content": text},
        events=(event,),
        attachments=attachments,
        **more,
    )
