"""Sample events: for every event type one that says much and one that says as little as it may."""

from datetime import UTC, datetime
from typing import Any

from knell.events import EventType, Link, NotificationEvent, Severity

CUSTOM = "custom_event"
"""Stands for the event types that are not the specification's."""

_AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
_TROUBLE = {EventType.JOB_FAILED, EventType.TASK_FAILED, EventType.AGENT_ERROR, EventType.SYSTEM_ALERT}
_PULL_REQUEST: dict[str, Any] = {
    "pr_number": 7,
    "pr_url": "https://git.example.com/necrocode/pull/7",
    "repo": "necrocode-main",
    "branch": "feature/login",
    "author": "mika",
}
_JOB: dict[str, Any] = {
    "job_id": "job-42",
    "task_id": "1.1",
    "spec_id": "chat-app",
    "duration": "3m 12s",
    "tasks_completed": 9,
    "tasks_total": 10,
    "runner_id": "runner-1",
}


def samples(event_type: str) -> tuple[NotificationEvent, NotificationEvent]:
    """Return a full event of a type, with what texts may hold at their worst, and a bare one."""
    facts = dict(_PULL_REQUEST if event_type.startswith("pr_") else _JOB)
    if event_type in _TROUBLE:
        facts["error"] = 'AssertionError: expected <b>"1"</b> & got \'2\'\n  File "test_login.py", line 7'
    full = NotificationEvent(
        event_type=event_type,
        source="dispatcher",
        title=f'Sample "{event_type}" <of> {{{{ everything }}}} & ビルド',
        description="The first line.\nThe second line has *stars*, `ticks` and <tags>.",
        severity=Severity.ERROR if event_type in _TROUBLE else Severity.INFO,
        metadata=facts,
        links=[Link(url="https://ci.example.com/42?a=1&b=2", text="Log")],
        timestamp=_AT,
        event_id=f"sample-{event_type}",
    )
    bare = NotificationEvent(
        event_type=event_type, source="cli", title="Sample", timestamp=_AT, event_id=f"bare-{event_type}"
    )
    return full, bare
