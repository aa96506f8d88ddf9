"""The log of supervision: what operators read and what log pipelines look for."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched

Run = Callable[..., Watched]
AT_ONCE = {"min_seconds": 0, "max_seconds": 0}


def told(caplog: pytest.LogCaptureFixture, *names: str) -> list[tuple[str, str, str]]:
    """Return event, level and actor of the lines of these names."""
    return [
        (record.message, record.levelname, record.__dict__["actor"])
        for record in caplog.records
        if record.message in names
    ]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="knell")


def test_starts_and_stops(run_system: Run, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Every actor, in the order in which it happens."""
    watched = run_system({"a": stage.section()})
    up = ["outbox", "channels/a", "channels", "router"]
    assert told(caplog, "actor.started") == [("actor.started", "INFO", actor) for actor in up]
    watched.manager.stop()
    down = ["router", "channels/a", "channels", "outbox"]
    assert told(caplog, "actor.stopped") == [("actor.stopped", "INFO", actor) for actor in down]


def test_a_crash_and_what_follows(run_system: Run, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The crash with its traceback, each restart, and that it was too much."""
    stage.crashing.set()
    watched = run_system({"a": stage.section()}, supervision={"max_restarts": 1, "backoff": AT_ONCE})
    watched.tell("one")
    watched.event("degraded", "channels/a")
    assert told(caplog, "actor.crashed", "actor.restarted", "actor.degraded") == [
        ("actor.crashed", "ERROR", "channels/a"),
        ("actor.restarted", "INFO", "channels/a"),
        ("actor.crashed", "ERROR", "channels/a"),
        ("actor.degraded", "ERROR", "channels/a"),
    ]
    crash = next(record for record in caplog.records if record.message == "actor.crashed")
    assert "RuntimeError: a bug" in crash.__dict__["exception"]


def test_a_supervisor_that_gives_up(run_system: Run, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """With its reason, from the first that does to the root."""
    stage.hanging.set()
    children = {"a": {"hang_after_seconds": 0.05}}
    watched = run_system({"a": stage.section()}, supervision={"max_zombies": 0, "children": children})
    watched.tell("stuck")
    watched.event("escalated", "")
    assert watched.manager.system.root.closed.wait(PATIENCE)
    assert told(caplog, "actor.hung") == [("actor.hung", "ERROR", "channels/a")]
    escalated = [record for record in caplog.records if record.message == "supervisor.escalated"]
    assert [(r.levelname, r.__dict__["actor"]) for r in escalated] == [
        ("ERROR", "channels"),
        ("ERROR", "root"),
    ]
    assert {r.__dict__["error"] for r in escalated} == {"1 hung threads, more than 0"}


def test_dead_letters(run_system: Run, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Named by actor and reason; never with the message, which holds what people wrote."""
    watched = run_system({"a": stage.section()})
    watched.manager.system.root.children["router"].mailbox.refusing = "stopped"
    watched.tell("secret words")
    (letter,) = [record for record in caplog.records if record.message == "actor.dead_letter"]
    fields: dict[str, Any] = letter.__dict__
    assert (fields["actor"], fields["reason"], fields["count"]) == ("router", "stopped", 1)
    assert "secret words" not in json.dumps({key: str(value) for key, value in fields.items()})
