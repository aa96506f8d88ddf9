"""A channel with a bug, as a third party might write one."""

from knell.channels.slack import SlackChannel
from knell.messages import FormattedMessage, Outcome

BUG = "demo_bug"
"""The key in an event's metadata that this channel stumbles over, at its first attempt."""


class FragileSlack(SlackChannel):
    """Slack, but an exception escapes its `send` when it first meets a certain event.

    The configuration names it as it would any third party's class: the system knows nothing of the demo.
    """

    templates = "slack"

    async def send(self, message: FormattedMessage) -> Outcome:
        """Send, or crash the actor."""
        if message.attempt == 1 and any(BUG in event.metadata for event in message.events):
            raise RuntimeError("a bug in this channel's code")
        return await super().send(message)
