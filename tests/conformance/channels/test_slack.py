from typing import Any

from knell.channels.slack import SlackChannel
from knell.lab import Respond, Slack
from knell.testing import ChannelConformance, Stage, Verdict


class TestSlackWebhook(ChannelConformance):
    """An incoming webhook: the address is the secret, and the status is the answer."""

    channel = SlackChannel
    provider = Slack

    def section(self, stage: Stage) -> dict[str, Any]:
        """Use the stand-in's webhook."""
        section: dict[str, Any] = stage.provider.section()
        return section


class TestSlackApi(ChannelConformance):
    """The Web API: a 200 whose body does not say `ok` tells nothing."""

    channel = SlackChannel
    provider = Slack
    statuses = dict.fromkeys((200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 299), Verdict.UNKNOWN)
    unreadable = Verdict.UNKNOWN

    def section(self, stage: Stage) -> dict[str, Any]:
        """Use the stand-in's bot token."""
        section: dict[str, Any] = stage.provider.api_section()
        return section

    def limited(self, retry_after: str) -> Respond:
        """Say so in words, as the Web API does."""
        return Respond(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": retry_after})
