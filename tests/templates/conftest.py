"""Events of every kind, and the engine that renders them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from knell.events import EventType, Link, NotificationEvent, Severity, seal
from knell.messages import FormattedMessage
from knell.templates import TemplateEngine
from knell.templates.taint import Json

AT = datetime(2025, 12, 1, 9, 30, 5, tzinfo=UTC)

EventFactory = Callable[..., NotificationEvent]
TextOf = Callable[[FormattedMessage], str]

_RICH: dict[str, Any] = {
    "job_id": "job-7",
    "job_name": "nightly",
    "task_id": "1.4",
    "task_title": "Add refunds",
    "pr_number": 42,
    "pr_title": "Refunds",
    "pr_url": "https://git.example.com/pull/42",
    "log_url": "https://ci.example.com/log/7",
    "source_branch": "feat/refunds",
    "target_branch": "main",
    "merge_commit_sha": "0123456789abcdef",
    "runner_id": "runner-3",
    "project": "shop",
    "repo": "acme/shop",
    "component": "dispatcher",
    "tasks_completed": 7,
    "tasks_total": 10,
    "failed_tasks": ["1.4"],
    "retry_count": 3,
    "status": "stuck",
    "error": "exit code 137",
    "execution_time_seconds": 192.4,
}


@pytest.fixture
def engine() -> TemplateEngine:
    """Return an engine as the service has it."""
    return TemplateEngine(dashboard_url="https://dash.example.com/jobs")


@pytest.fixture
def minimal() -> EventFactory:
    """Return a maker of events with the three required fields and nothing else."""

    def make(event_type: str = EventType.JOB_FAILED, **fields: Any) -> NotificationEvent:
        given: dict[str, Any] = {"source": "dispatcher", "title": "nightly build", "timestamp": AT, **fields}
        return seal(NotificationEvent(event_type=event_type, **given)).event

    return make


@pytest.fixture
def rich(minimal: EventFactory) -> EventFactory:
    """Return a maker of events in which every fact is known."""

    def make(event_type: str = EventType.JOB_FAILED, **fields: Any) -> NotificationEvent:
        given: dict[str, Any] = {
            "description": "The build stopped early.",
            "severity": Severity.ERROR,
            "metadata": dict(_RICH),
            "links": [Link("https://ci.example.com/jobs/7", "CI job")],
            **fields,
        }
        return minimal(event_type, **given)

    return make


@pytest.fixture
def text_of() -> TextOf:
    """Return a function that gathers every text of a message, as it goes over the wire."""

    def gather(message: FormattedMessage) -> str:
        found: list[str] = []

        def walk(node: Json) -> None:
            if isinstance(node, str):
                found.append(node)
            elif isinstance(node, dict):
                for value in node.values():
                    walk(value)
            elif isinstance(node, list):
                for value in node:
                    walk(value)

        walk(msgspec.to_builtins(message.content))
        return "\n".join(found)

    return gather
