"""Loopback stand-ins of Slack, Discord, Twilio, a webhook receiver and a mail server.

They enforce what the real ones enforce, log every request, and fail on demand: for `knell demo`, for tests of
knell, and for trying one's own configuration without an account.

    with Lab() as lab, knell.start(lab.config()) as manager:
        lab.slack.script(Respond(503), Reset())
        manager.notify(event)
        (message,) = lab.slack.wait_for(1)
        assert message.title == event.title
        assert not message.mentions
        assert not lab.violations
"""

from knell.lab.discord import Discord
from knell.lab.discord_faults import cloudflare, too_many
from knell.lab.faults import Drop, Endless, Fault, Gate, Half, Hold, Redirect, Reset, Respond, Slow
from knell.lab.lab import Lab
from knell.lab.limits import ManualClock
from knell.lab.record import Answer, File, Message, Request
from knell.lab.slack import Slack
from knell.lab.smtp import Smtp
from knell.lab.standin import Setting, StandIn
from knell.lab.twilio import Twilio
from knell.lab.webhook import Webhook

__all__ = [
    "Answer",
    "Discord",
    "Drop",
    "Endless",
    "Fault",
    "File",
    "Gate",
    "Half",
    "Hold",
    "Lab",
    "ManualClock",
    "Message",
    "Redirect",
    "Request",
    "Reset",
    "Respond",
    "Setting",
    "Slack",
    "Slow",
    "Smtp",
    "StandIn",
    "Twilio",
    "Webhook",
    "cloudflare",
    "too_many",
]
