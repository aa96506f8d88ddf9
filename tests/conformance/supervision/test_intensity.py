from collections.abc import Callable
from typing import Any

import pykka
import pytest

from knell.actors.control import Control
from knell.actors.policy.restart import Backoff, Intensity
from knell.actors.supervisor import EscalatedError
from tests.deeds import Puppets, crash
from tests.puppets import PATIENCE, Puppet


def test_05_too_many_restarts_end_the_supervisor(tree: Any, story: Any, abc: Callable[..., Control]) -> None:
    """With two allowed, the third crash in the period: all children stop and the supervisor fails upward.

    Origin: OTP supervisor_SUITE, one_for_one (the check of the restart frequency).
    """
    abc(intensity=Intensity(2, 60))
    ref = tree.ref("a")
    for _ in range(3):
        ref.tell(crash)
    assert tree.event("escalated").detail == "a: more than 2 restarts in 60 s"
    assert tree.root.closed.wait(PATIENCE)
    assert isinstance(tree.root.cause, EscalatedError)
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("x")
    told = story.rest()
    assert [word for word in told if word[1] == "start"] == [("a", "start", 2), ("a", "start", 3)]
    assert [word for word in told if word[1] == "stop"] == [("c", "stop"), ("b", "stop")]


def test_06_restarts_outside_the_period_are_forgotten(
    timed: Any, time: Any, story: Any, puppet: Puppets
) -> None:
    """One crash every 2.1 s is no reason to give up when one in a second is allowed; two in one are.

    Origin: OTP supervisor_SUITE, multiple_restarts.
    """
    control = timed.start(puppet("a"), intensity=Intensity(1, 1.0))
    for incarnation in range(2, 12):
        timed.ref("a").tell(crash)
        story.until("a", "start", incarnation)
        time.passes(2.1)
    assert [info.restarts for info in control.which_children()] == [10]
    timed.ref("a").tell(crash)
    story.until("a", "start", 12)
    time.passes(0.9)
    timed.ref("a").tell(crash)
    assert timed.event("escalated").detail == "a: more than 1 restarts in 1 s"
    assert timed.root.closed.wait(PATIENCE)


def _fails(*incarnations: int) -> Callable[[Puppet], None]:
    """Return what fails to start in these incarnations."""

    def start(puppet: Puppet) -> None:
        if puppet.ctx.incarnation in incarnations:
            raise ZeroDivisionError

    return start


@pytest.mark.parametrize("backoff", [Backoff(), Backoff(0.001, 0.01)])
def test_07_a_restart_that_fails_is_tried_again(
    tree: Any, story: Any, puppet: Puppets, backoff: Backoff
) -> None:
    """Each try counts as one more restart; once it is up it serves what has waited.

    Origin: OTP supervisor_SUITE, one_for_one_escalation.
    """
    control = tree.start(puppet("a", start=_fails(2, 3), backoff=backoff), intensity=Intensity(3, 60))
    tree.ref("a").tell(crash)
    tree.ref("a").tell("waits")
    told = story.until("a", "waits")
    assert [word[1] for word in told] == ["start", "failure", "failure", "failure", "start", "waits"]
    assert told[-2] == ("a", "start", 4)
    assert [info.restarts for info in control.which_children()] == [3]


@pytest.mark.parametrize("backoff", [Backoff(), Backoff(0.001, 0.01)])
def test_07_restarts_that_keep_failing_end_the_supervisor(
    tree: Any, story: Any, puppet: Puppets, backoff: Backoff
) -> None:
    """A child that never comes up again counts against the intensity like one that crashes again and again.

    Origin: OTP supervisor_SUITE, one_for_one_escalation.
    """
    tree.start(
        puppet("a", start=_fails(*range(2, 100)), backoff=backoff), puppet("b"), intensity=Intensity(4, 3600)
    )
    tree.ref("a").tell(crash)
    assert tree.event("escalated").detail == "a: more than 4 restarts in 3600 s"
    assert tree.root.closed.wait(PATIENCE)
    told = story.rest()
    assert len([word for word in told if word[:2] == ("a", "failure")]) == 1 + 4
    assert told[-1] == ("b", "stop")
