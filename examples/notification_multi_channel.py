"""One failure, five ways to hear of it: routing rules, filters, and what every channel made of it.

The providers are knell's own stand-ins on this machine (`knell.lab`), so the script needs no account; in your
configuration the five sections hold your own addresses instead.
"""

import tempfile
from pathlib import Path

import knell
from knell.lab import Lab

RULES = [
    {
        "name": "Critical failures",
        "event_types": ["job_failed", "agent_error"],
        "channels": ["slack", "email", "discord", "webhook", "sms"],
        "filters": [{"severity": "critical"}],
        "priority": 100,
    },
    {"name": "Everything else", "event_types": ["*"], "channels": ["slack", "webhook"]},
]


def told(manager: "knell.NotificationManager", severity: str, title: str) -> None:
    """Send one event and print who got it."""
    event = knell.NotificationEvent(
        event_type="job_failed",
        source="dispatcher",
        severity=knell.Severity(severity),
        title=title,
        metadata={"job_id": "job-7", "error": "out of memory", "duration_seconds": 75},
    )
    results = manager.notify_and_wait(event, timeout=20)
    print(f"{title} ({severity}):")
    for result in results:
        print(f"  {result.channel:8} {'delivered' if result.success else result.error}")
    for channel, reason in manager.get_delivery_status(event.event_id).suppressed.items():
        print(f"  {channel:8} not sent: {reason}")


with tempfile.TemporaryDirectory() as folder, Lab() as lab:
    config = lab.config()
    config |= {"event_routing": RULES, "store": {"url": f"sqlite:///{Path(folder) / 'knell.db'}"}}
    with knell.start(config) as manager:
        told(manager, "critical", "production deploy failed")
        told(manager, "error", "nightly build failed")
    print("What the stand-ins received:")
    for message in lab.smtp.messages:
        print(f"  a mail to {', '.join(message.to)}: {message.title}")
    print(f"  {len(lab.slack.messages)} Slack messages, {len(lab.twilio.messages)} SMS")
