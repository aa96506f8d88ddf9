"""`knell run` with the specification's own example configuration, the providers replaced by the lab."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knell.events import EventType
from knell.lab import Lab

CONFIG = """\
slack:
  enabled: true
  webhook_url: ${SLACK_WEBHOOK_URL}
  channel: "#necrocode"
  username: "NecroCode Bot"
  icon_emoji: ":robot_face:"
  events:
    - job_completed
    - job_failed
    - pr_created
    - pr_merged
  filters:
    - severity: [warning, error, critical]
email:
  enabled: true
  smtp_server: ${SMTP_HOST}
  smtp_port: ${SMTP_PORT}
  use_tls: false
  from: necrocode@example.com
  username: ${EMAIL_USERNAME}
  password: ${EMAIL_PASSWORD}
  to:
    - team@example.com
    - alerts@example.com
  events:
    - job_failed
    - task_failed
discord:
  enabled: true
  webhook_url: ${DISCORD_WEBHOOK_URL}
  username: "NecroCode"
  avatar_url: "https://example.com/necrocode-avatar.png"
  events:
    - job_completed
    - job_failed
    - pr_created
webhook:
  enabled: true
  url: ${WEBHOOK_URL}
  method: POST
  headers:
    Authorization: "Bearer ${WEBHOOK_TOKEN}"
    Content-Type: "application/json"
  signature_secret: ${WEBHOOK_SECRET}
  events:
    - "*"  # All events
sms:
  enabled: true
  provider: twilio
  account_sid: ${TWILIO_ACCOUNT_SID}
  auth_token: ${TWILIO_AUTH_TOKEN}
  api_base_url: ${TWILIO_URL}
  from_number: "${TWILIO_NUMBER}"
  to_numbers:
    - "+819012345678"
  events:
    - job_failed
  filters:
    - severity: [critical]
event_routing:
  - name: "Critical Failures"
    event_types: [job_failed, agent_error]
    channels: [slack, email, sms]
    filters:
      - severity: critical
    priority: 100
  - name: "Success Notifications"
    event_types: [job_completed, pr_merged]
    channels: [slack, discord]
    priority: 50
  - name: "PR Activity"
    event_types: [pr_created, pr_merged, pr_closed]
    channels: [slack]
    filters:
      - metadata.repo: "necrocode-main"
    priority: 75
security: {require_tls: false, allowed_networks: [127.0.0.0/8]}
store: {url: "sqlite:///outbox.db"}
"""

REACHES = {
    # Rules name the channels; each channel's own `events` and `filters` have the last word. Where no rule
    # matches, a channel gets what its `events` list.
    "job_started": {"webhook"},
    "job_completed": {"slack", "discord"},
    "job_failed": {"slack", "email", "sms"},
    "task_started": {"webhook"},
    "task_completed": {"webhook"},
    "task_failed": {"email", "webhook"},
    "pr_created": {"slack"},
    "pr_merged": {"slack"},
    "pr_closed": set[str](),  # the one rule names Slack, whose `events` leave it out
    "agent_error": set[str](),  # the same for Slack, e-mail and SMS
    "system_alert": {"webhook"},
}

HOSTILE = 'a "quoted"\nline <!channel> @everyone <script>alert(1)</script> {{7*7}} & <@U1>'


class Service:
    """A running `knell run`."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port

    def post(self, *events: dict[str, Any]) -> None:
        """Send events and insist on their acceptance."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/v1/events", json.dumps(events), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 202, answer.read()
        connection.close()

    def status(self, event_id: str) -> dict[str, Any]:
        """Return where an event stands."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", f"/v1/events/{event_id}")
        body: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return body


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Return stand-ins that take as much as they are sent."""
    with Lab(rate_limited=False) as running:
        yield running


@pytest.fixture
def service(lab: Lab, tmp_path: Path) -> Iterator[Service]:
    """Start `knell run` with the example configuration and the stand-ins' addresses in its environment."""
    given = lab.config()["channels"]
    (tmp_path / "notifications.yaml").write_text(CONFIG, encoding="utf-8")
    lab.twilio.numbers.add("+15005550006")
    environment = os.environ | {
        "SLACK_WEBHOOK_URL": given["slack"]["webhook_url"],
        "SMTP_HOST": given["email"]["smtp_server"],
        "SMTP_PORT": str(given["email"]["smtp_port"]),
        "EMAIL_USERNAME": lab.smtp.username,
        "EMAIL_PASSWORD": lab.smtp.password,
        "DISCORD_WEBHOOK_URL": given["discord"]["webhook_url"],
        "WEBHOOK_URL": given["webhook"]["url"],
        "WEBHOOK_TOKEN": "receiver-token",
        "WEBHOOK_SECRET": given["webhook"]["signature_secret"],
        "TWILIO_ACCOUNT_SID": lab.twilio.account_sid,
        "TWILIO_AUTH_TOKEN": lab.twilio.auth_token,
        "TWILIO_URL": given["sms"]["api_base_url"],
        "TWILIO_NUMBER": given["sms"]["from_number"],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "knell", "run", "--config", "notifications.yaml", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Service(process, _port(process))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        process.stderr.close()


def _port(process: "subprocess.Popen[str]") -> int:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"127\.0\.0\.1:(\d+)", line):
            return int(found[1])
    raise AssertionError("knell run ended without an address")


def event(event_type: str, **fields: Any) -> dict[str, Any]:
    """Return an event as a component would send it."""
    return {
        "event_id": f"id-{event_type}",
        "event_type": event_type,
        "source": "test",
        "title": f"about {event_type}",
        "severity": "critical",
        "metadata": {"repo": "necrocode-main"},
    } | fields


def test_every_event_type_reaches_exactly_its_channels(service: Service, lab: Lab) -> None:
    """Each of the eleven types is delivered to the channels that rules, events and filters name, no other."""
    assert set(REACHES) == set(EventType)
    service.post(*(event(event_type) for event_type in REACHES))
    stand_ins = {
        "slack": lab.slack,
        "email": lab.smtp,
        "discord": lab.discord,
        "webhook": lab.webhook,
        "sms": lab.twilio,
    }
    for channel, stand_in in stand_ins.items():
        types = sorted(name for name, channels in REACHES.items() if channel in channels)
        stand_in.wait_for(len(types))
        seen = [f"{message.title} {message.text}" for message in stand_in.messages]
        assert sorted(name for name in REACHES for text in seen if f"about {name}" in text) == types, channel
    for event_type, channels in REACHES.items():
        status = service.status(f"id-{event_type}")
        assert {row["channel"] for row in status["channels"]} == channels, event_type
    assert lab.violations == ()


def test_a_hostile_title_arrives_intact_and_harmless(service: Service, lab: Lab) -> None:
    """Quotes, mentions, markup and template code in a title are text everywhere."""
    service.post(event("job_failed", title=HOSTILE), event("job_completed", title=HOSTILE))
    service.post(event("system_alert", title=HOSTILE))
    flat = HOSTILE.replace("\n", " ")
    for stand_in in (lab.slack, lab.smtp, lab.discord, lab.twilio):
        stand_in.wait_for(1)
        for message in stand_in.messages:
            seen = f"{message.title}\n{message.text}".replace("\n", " ")
            assert flat in seen, seen
            assert message.mentions == ()
            assert "49" not in seen.replace(message.id, "")
    lab.webhook.wait_for(1)
    assert lab.webhook.messages[0].payload["data"]["title"] == HOSTILE
    assert "<script>" not in lab.smtp.messages[0].html
    assert lab.violations == ()
