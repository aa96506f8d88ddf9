"""The whole system against Discord's stand-in: limits, a restart in the middle of a job, a lost webhook."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from knell.channels import discord_gate
from knell.lab import Lab, too_many
from knell.lab.discord import Discord
from tests.faults.service import Service
from tests.puppets import PATIENCE
from tests.rogues import Watched, event
from tests.waiting import until

Run = Callable[..., Watched]

BURST = 60
LOOPBACK = {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]}
UNHURRIED = {"max_requests": 1000, "window_seconds": 1}
"""Only what Discord says slows it down."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A lab with Discord's limits, in which time goes ten times as fast."""
    with Lab() as running:
        running.discord.window_seconds = 0.2
        yield running


@pytest.fixture
def start(run_system: Run) -> Run:
    """What starts a system that may call the lab."""

    def run(**channels: dict[str, Any]) -> Watched:
        return run_system(channels, security=LOOPBACK)

    return run


def section(url: str, **keys: Any) -> dict[str, Any]:
    """A Discord section."""
    return {"type": "discord", "webhook_url": url, "events": ["*"], "rate_limit": UNHURRIED, **keys}


def deliver(watched: Watched, event_type: str, title: str, **metadata: Any) -> None:
    """Send an event, and wait until it has arrived."""
    told = event(title, event_type=event_type, metadata=metadata)
    results = watched.manager.notify(told).results(PATIENCE)
    assert [result.error for result in results] == [None] * len(results)


def test_a_burst_meets_no_429(lab: Lab, start: Run) -> None:
    """Sixty events at once, far over five per window: the headers hold them back before Discord must."""
    watched = start(discord=section(lab.discord.url))
    watched.tell(*(f"event {number}" for number in range(BURST)))
    lab.discord.wait_for(BURST, timeout=60)
    statuses = [request.answer.status for request in lab.discord.requests if request.answer]
    assert statuses == [200] * BURST
    until(lambda: watched.metric("knell_attempts_total", channel="discord", reason="delivered") == BURST)
    assert not watched.metric("knell_attempts_total", channel="discord", reason="rate_limit")
    assert lab.violations == ()


def test_a_global_limit_pauses_every_channel(lab: Lab, start: Run) -> None:
    """One channel is told that all webhooks are limited: the other waits too, without having asked."""
    watched = start(
        first=section(lab.discord.url, events=["a"]),
        second=section(lab.discord.add_webhook(), events=["b"]),
    )
    lab.discord.script(too_many(1.5, header=1.5, everywhere=True))
    watched.tell("to the first", event_type="a")
    until(lambda: watched.metric("knell_attempts_total", channel="first", reason="rate_limit"))
    watched.tell("to the second", event_type="b")
    lab.discord.wait(lambda discord: len(discord.requests) == 3)
    limited, *others = lab.discord.requests
    assert limited.answer is not None
    assert limited.answer.status == 429
    assert len(others) == 2
    assert min(request.at for request in others) - limited.at >= 1.5
    assert lab.violations == ()


def test_a_restart_goes_on_editing(lab: Lab, start: Run) -> None:
    """The message of a job is known after a restart of the system, and so is that it has ended."""
    keys = section(lab.discord.url, updates="edit")
    watched = start(discord=keys)
    deliver(watched, "job_started", "begun", job_id="j1")
    watched.manager.stop()
    watched = start(discord=keys)
    deliver(watched, "task_completed", "step", job_id="j1")
    deliver(watched, "job_completed", "done", job_id="j1")
    first, last = lab.discord.messages
    assert (first.edits, last.edits) == (2, 0)
    assert "done" in first.text
    assert "done" in last.text


@pytest.mark.slow
def test_a_kill_goes_on_editing(lab: Lab, tmp_path: Path) -> None:
    """A process that is killed without warning has noted the message with its delivery."""
    service = Service(tmp_path / "service", {"discord": section(lab.discord.url, updates="edit")})
    try:
        for number in range(3):
            service.start()
            _post(service, f"state {number}")
            until(partial(_shows, lab.discord, f"state {number}"))
            until(lambda: service.unfinished() == 0)
            service.kill()
    finally:
        service.end()
    (message,) = lab.discord.messages
    assert message.edits == 2


def test_refused_requests_stop_everything_and_people_are_told(
    lab: Lab, start: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two channels that are refused bring the count to its limit: the good one sends nothing any more."""
    monkeypatch.setattr(discord_gate, "STOP_AT", 2)
    wrong = section(f"{lab.discord.url}x", events=["wrong"])
    watched = start(
        wrong=wrong,
        wrong_too={**wrong, "webhook_url": f"{lab.discord.url}y"},
        good=section(lab.discord.url, events=["good"]),
        teller={**lab.webhook.section(), "events": ["system_alert"]},
    )
    watched.tell("refused", event_type="wrong")
    lab.webhook.wait_for(2)
    watched.tell("held", event_type="good")
    told = lab.webhook.wait_for(3)[-1].text
    assert "Channel good cannot deliver" in told
    assert "knell stopped by itself: Discord refused 2 requests" in told
    answers = [request.answer.status for request in lab.discord.requests if request.answer]
    assert (answers, lab.discord.messages) == ([401, 401], ())


def test_a_deleted_webhook_is_called_once(lab: Lab, start: Run) -> None:
    """Gone is for good: not even a restart asks again, and the other channels tell of it."""
    gone = section(lab.discord.url, events=["job_failed"])
    lab.discord.revoke()
    other = section(lab.discord.add_webhook(), events=["system_alert"])
    watched = start(gone=gone, other=other)
    watched.tell("lost")
    lab.discord.wait_for(1)
    assert "make a new one" in lab.discord.messages[0].text
    watched.manager.stop()
    watched = start(gone=gone, other=other)
    lab.discord.wait_for(2)
    assert "was deleted" in lab.discord.messages[1].text
    asked = [request for request in lab.discord.requests if request.answer and request.answer.status == 404]
    assert len(asked) == 1
    assert lab.violations == ()


def _shows(discord: Discord, text: str) -> bool:
    return any(text in message.text for message in discord.messages)


def _post(service: Service, title: str) -> None:
    told = {"event_type": "task_completed", "source": "tests", "title": title, "metadata": {"job_id": "j1"}}
    request = Request(  # noqa: S310 - our own
        f"{service.url}/v1/events", json.dumps(told).encode(), {"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - our own
        assert answer.status in {200, 202}
