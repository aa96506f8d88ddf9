from typing import Any

from knell.channels.sms import SmsChannel
from knell.lab import Twilio
from knell.testing import ChannelConformance, Stage, Verdict


class TestSms(ChannelConformance):
    """Twilio: a success without a SID tells nothing."""

    channel = SmsChannel
    provider = Twilio
    statuses = dict.fromkeys((200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 299), Verdict.UNKNOWN)
    unreadable = Verdict.UNKNOWN

    def section(self, stage: Stage) -> dict[str, Any]:
        """Use the stand-in's account."""
        section: dict[str, Any] = stage.provider.section()
        return section
