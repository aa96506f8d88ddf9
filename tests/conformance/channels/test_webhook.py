from typing import Any

from knell.channels.webhook import WebhookChannel
from knell.lab import Webhook
from knell.testing import ChannelConformance, Stage


class TestWebhook(ChannelConformance):
    """A signed webhook with a header of the operator's own; its status is all there is to know."""

    channel = WebhookChannel
    provider = Webhook

    def section(self, stage: Stage) -> dict[str, Any]:
        """Sign, and send a token along."""
        token = stage.secret("token")
        section = {**stage.provider.section(), "headers": {"Authorization": f"Bearer {token}"}}
        return section | ({"ca_file": stage.ca_file} if stage.ca_file else {})
