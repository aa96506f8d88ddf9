"""Your own words: a folder of templates that is looked at before the built-in ones.

A template is named after its channel and the event type. Inside a JSON template every value is escaped by
construction: the title below holds quotes, and the message is still one valid message.
"""

import tempfile
from pathlib import Path

import knell
from knell.lab import Lab

TEMPLATE = """\
{
  "text": "{{ status_emoji }} {{ event.title }}",
  "blocks": [
    {"type": "section", "text": {"type": "mrkdwn",
      "text": "*{{ event.metadata.team }}*, please look: {{ event.title }}\\n> {{ facts.error }}"}}
  ]
}
"""

with tempfile.TemporaryDirectory() as folder, Lab() as lab:
    templates = Path(folder) / "templates"
    (templates / "slack").mkdir(parents=True)
    (templates / "slack" / "job_failed.json").write_text(TEMPLATE, encoding="utf-8")

    config = lab.config()
    config |= {
        "channels": {"slack": config["channels"]["slack"]},
        "templates": {"directories": [str(templates)]},
        "store": {"url": f"sqlite:///{Path(folder) / 'knell.db'}"},
    }
    with knell.start(config) as manager:
        manager.notify_and_wait(
            knell.NotificationEvent(
                event_type="job_failed",
                source="dispatcher",
                title='the "nightly" build <failed>',
                metadata={"team": "platform", "error": "exit code 137"},
            )
        )
    print(lab.slack.messages[0].text)
