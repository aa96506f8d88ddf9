from collections.abc import Iterator
from typing import Any

import pytest

from knell.actors.clock import Clock
from knell.actors.control import Control
from knell.actors.host import Host
from knell.actors.io import IoLoop
from knell.actors.policy.restart import Backoff, Intensity, Status
from tests.deeds import Puppets, crash
from tests.puppets import Tree

PATIENT = Intensity(10_000, 60.0)
JUST = 0.0001
"""Seconds before the end of a wait at which nothing may have happened yet."""

SLACK = 10.0
"""Seconds a busy machine may add to a wait that was really waited."""


@pytest.fixture
def chancy(time: Any, request: pytest.FixtureRequest) -> Iterator[Tree]:
    """A tree in which time passes when the test says so; its parameter is what the dice show."""
    dice: float = request.param
    host = Host(IoLoop(), Clock(now=time, dice=lambda: dice))
    tree = Tree(host)
    yield tree
    tree.stop()
    host.io.close()


def _look(control: Control) -> Status:
    """Say where the child stands, once the supervisor has done what is due: a request wakes it first."""
    control.which_children()
    (info,) = control.which_children()
    return info.status


def _wait(tree: Tree, control: Control, time: Any) -> int:
    """Let a child that has just crashed wait, and no longer; return how long that was, in milliseconds."""
    tree.event("crashed")
    _look(control)
    began, record = time.now, tree.cell("a").record
    assert record is not None
    due = record.due
    assert due is not None
    time.passes(due - began - JUST)
    assert (_look(control), record.due) == (Status.RESTARTING, due), "it did not wait long enough"
    time.passes(JUST)
    _look(control)
    assert record.due != due, "it waits too long"
    waited: float = due - began
    return round(waited * 1000)


@pytest.mark.parametrize(
    ("chancy", "expected"),
    [(0.0, [20, 40, 80, 160, 200, 200]), (0.5, [25, 50, 100, 200, 250, 250])],
    indirect=["chancy"],
)
def test_38_a_wait_doubles_up_to_its_cap(
    chancy: Tree, puppet: Puppets, time: Any, expected: list[int]
) -> None:
    """Of a child that fails to start again and again; with jitter on top of it, also of the cap.

    Origin: Pekko typed SupervisionSpec, 918.
    """

    def start(puppet: Any) -> None:
        if puppet.ctx.incarnation > 1:
            crash(puppet)

    control = chancy.start(puppet(start=start, backoff=Backoff(0.02, 0.2, jitter=0.5)), intensity=PATIENT)
    chancy.ref("a").tell(crash)
    assert [_wait(chancy, control, time) for _ in expected] == expected


def test_38_a_wait_is_really_waited(tree: Any, story: Any, puppet: Puppets) -> None:
    """On a real clock: not shorter, and not much longer.

    Origin: Pekko typed SupervisionSpec, 918.
    """
    times: list[float] = []

    def note(puppet: Any) -> None:
        times.append(puppet.ctx.clock.now())

    tree.start(puppet(start=note, failure=note, backoff=Backoff(0.1, 0.1)))
    tree.ref("a").tell(crash)
    story.until("a", "start", 2)
    assert 0.1 <= times[2] - times[1] < 0.1 + SLACK


@pytest.mark.parametrize(("reset_after", "enough"), [(None, 0.11), (3.0, 3.0)])
def test_39_a_child_that_ran_long_enough_begins_anew(
    timed: Any, puppet: Puppets, time: Any, reset_after: float | None, enough: float
) -> None:
    """After `reset_after` seconds, by default the middle of both bounds, and not before.

    Origin: Pekko typed SupervisionSpec, 997 and 1123.
    """
    control = timed.start(puppet(backoff=Backoff(0.02, 0.2, reset_after=reset_after)), intensity=PATIENT)

    def crashes_after(seconds: float) -> int:
        assert _look(control) is Status.RUNNING
        time.passes(seconds)
        timed.ref("a").tell(crash)
        return _wait(timed, control, time)

    assert [crashes_after(0.0), crashes_after(enough - JUST), crashes_after(0.0)] == [20, 40, 80]
    assert [crashes_after(enough + JUST), crashes_after(0.0)] == [20, 40]
