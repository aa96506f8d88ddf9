from typing import Any

from knell.channels.discord import DiscordChannel
from knell.lab import Discord, Respond
from knell.testing import ChannelConformance, Stage, Verdict


class TestDiscord(ChannelConformance):
    """A webhook with `wait`: a success without the message it made tells nothing."""

    channel = DiscordChannel
    provider = Discord
    statuses = dict.fromkeys((200, 201, 202, 203, 205, 206, 207, 208, 226, 299), Verdict.UNKNOWN)
    unreadable = Verdict.UNKNOWN

    def section(self, stage: Stage) -> dict[str, Any]:
        """Use the stand-in's webhook."""
        section: dict[str, Any] = stage.provider.section()
        return section

    def limited(self, retry_after: str) -> Respond:
        """Answer as Discord itself does, in JSON: without it, it is the front that bans addresses."""
        body = {"message": "You are being rate limited.", "code": 0, "global": False}
        return Respond(429, body, {"Retry-After": retry_after})
