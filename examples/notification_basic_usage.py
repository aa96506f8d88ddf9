"""The least it takes: start knell, tell it an event, see it delivered.

Run it from anywhere: `python notification_basic_usage.py`. Nothing leaves the machine: the channel prints to
the terminal. Put `slack: {webhook_url: ...}` in its place and the same event arrives in Slack.
"""

import tempfile
from pathlib import Path

import knell

with tempfile.TemporaryDirectory() as folder:
    config = {
        "channels": {"console": {"events": ["*"], "stream": "stdout"}},
        "store": {"url": f"sqlite:///{Path(folder) / 'knell.db'}"},
    }
    with knell.start(config) as manager:
        event = knell.NotificationEvent(
            event_type="job_failed",
            source="dispatcher",
            severity="error",
            title="nightly build failed",
            description="2 of 14 tests failed",
            metadata={"job_id": "job-1", "error": "AssertionError: 3 != 4", "duration_seconds": 192},
            links=[knell.Link(url="https://ci.example.com/1", text="Log")],
        )
        receipt = manager.notify(
            event
        )  # returns at once; manager.ref.tell(event) does too, without a receipt

        print("accepted:", receipt.accepted(timeout=5))
        for result in receipt.results(timeout=10):
            print(f"{result.channel}: {'delivered' if result.success else result.error}")
