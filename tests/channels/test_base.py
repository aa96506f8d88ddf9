import asyncio

import pytest

from knell.channels.base import Channel, OpenChannelConfig, text_of, titles
from knell.channels.http import Http
from knell.config.schema import Security
from knell.events import NotificationEvent
from knell.messages import Delivered, FormattedMessage, HealthStatus, MessageFormat, Outcome

MESSAGE = FormattedMessage(format=MessageFormat.TEXT, content="x" * 100_000)


class Pager(Channel):
    """A channel that only sends."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Deliver."""
        return Delivered(len(message.content))

    def validate_config(self) -> list[str]:
        """Want a number."""
        return [] if "number" in self.config else ["number is missing", "and nothing else helps"]


def test_a_channel_needs_send_alone() -> None:
    """Everything else has a default: opening keeps the client, fitting and closing do nothing."""

    async def run() -> Outcome:
        channel, http = Pager(OpenChannelConfig.model_validate({"number": "1"})), Http(Security())
        await channel.open(http)
        assert channel.http is http
        outcome = await channel.send(channel.fit(MESSAGE))
        await channel.close()
        return outcome

    assert asyncio.run(run()) == Delivered(100_000)


@pytest.mark.parametrize(
    ("section", "status"),
    [
        ({"number": "1"}, HealthStatus(True)),
        ({}, HealthStatus(False, "number is missing; and nothing else helps")),
    ],
)
def test_health_is_the_configurations_unless_a_channel_knows_better(
    section: dict[str, str], status: HealthStatus
) -> None:
    """What is wrong with the section is what is wrong with the channel."""
    assert asyncio.run(Pager(OpenChannelConfig.model_validate(section)).health_check()) == status


def test_text_of_any_content() -> None:
    """Text is itself; an object is known by its text, if it has one."""
    assert text_of(FormattedMessage(format=MessageFormat.TEXT, content="a")) == "a"
    assert text_of(FormattedMessage(format=MessageFormat.JSON, content={"text": "a", "blocks": []})) == "a"
    assert text_of(FormattedMessage(format=MessageFormat.JSON, content={"embeds": []})) == ""


def test_titles_of_any_number_of_events() -> None:
    """The first title stands for all, with the number of the others."""
    events = [NotificationEvent(event_type="a", source="b", title=title) for title in ("one", "two", "three")]
    assert [titles(events[:number]) for number in range(4)] == ["", "one", "one (+1)", "one (+2)"]
