"""Jobs in Slack through a crash of the actor and a restart of everything: one thread for each."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import knell
from knell.channels.slack_touches import Touches
from knell.lab import Lab
from tests.puppets import PATIENCE
from tests.rogues import Watched, event

Run = Callable[..., Watched]
SECURITY = {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab that lets rates alone: how they are kept is tested elsewhere, on a clock of its own."""
    with Lab(rate_limited=False) as running:
        yield running


def told(kind: str, job: str, title: str) -> knell.NotificationEvent:
    """Return an event of a job."""
    return event(title, event_type=kind, metadata={"job_id": job})


def deliver(watched: Watched, *events: knell.NotificationEvent) -> None:
    """Tell of events, and wait until each is delivered."""
    receipts = [watched.manager.notify(found) for found in events]
    for receipt in receipts:
        (result,) = receipt.results(PATIENCE)
        assert result.success, result.error


def test_two_jobs_through_crash_and_restart(
    run_system: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The actor crashes after a post, and nothing is posted twice; after the restart threads go on."""
    section = {**lab.slack.api_section(), "events": ["*"], "rate_limit": None}
    watched = run_system({"slack": section}, security=SECURITY)
    react, crashes = Touches.react, iter([True])

    async def crash_once(self: Touches, *about: Any) -> list[str]:
        if about[2][1] and next(crashes, False):
            raise RuntimeError("a bug, after the message was posted")
        return await react(self, *about)

    monkeypatch.setattr(Touches, "react", crash_once)
    deliver(watched, told("job_started", "a", "job a"))
    watched.event("restarted", "channels/slack")
    deliver(
        watched,
        told("job_started", "b", "job b"),
        told("task_completed", "a", "a.1"),
        told("task_failed", "b", "b.1"),
        told("task_completed", "a", "a.2"),
    )
    watched.manager.stop()
    watched = run_system({"slack": section}, security=SECURITY)
    deliver(
        watched,
        told("task_completed", "b", "b.2"),
        told("job_completed", "a", "job a"),
        told("job_failed", "b", "job b"),
        told("pr_created", "a", "a.pr"),
    )
    parents = {message.title: message for message in lab.slack.messages if not message.thread}
    assert sorted(parents) == ["✅ Job completed: job a", "❌ Job failed: job b"]
    a, b = parents["✅ Job completed: job a"], parents["❌ Job failed: job b"]
    assert (a.reactions, b.reactions) == (("white_check_mark",), ("x",))
    assert (a.edits, b.edits) == (1, 1)
    replies = {message.title.partition(": ")[2]: message.thread for message in lab.slack.messages}
    assert {title: thread for title, thread in replies.items() if thread} == {
        **dict.fromkeys(("a.1", "a.2", "job a", "a.pr"), a.id),
        **dict.fromkeys(("b.1", "b.2", "job b"), b.id),
    }
    assert (lab.slack.violations, lab.slack.duplicates) == ((), ())
    assert len(lab.slack.messages) == 9
