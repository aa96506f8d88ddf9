from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.control import Control
from knell.actors.policy.restart import Restart, Strategy
from tests.deeds import Puppets, crash, incarnation, statuses
from tests.puppets import PATIENCE

CRASHED = ("b", "failure", "ZeroDivisionError('over a message')")
Abc = Callable[..., Control]


def _stop(*names: str) -> list[tuple[str, str]]:
    return [(name, what) for name in names for what in ("drain", "stop")]


def _fails_once(puppet: Any) -> None:
    """Fail to start again, the first time."""
    if puppet.ctx.incarnation == 2:
        raise ZeroDivisionError("at its start")


def _incarnations(tree: Any) -> list[int]:
    """Ask the children which they are; then nothing of theirs is still to come."""
    return [tree.ref(name).ask(incarnation, timeout=PATIENCE) for name in "abc"]


def test_02_one_for_one_restarts_the_crashed_child_only(tree: Any, story: Any, abc: Abc) -> None:
    """Its siblings notice nothing.

    Origin: OTP supervisor_SUITE, one_for_one.
    """
    abc(strategy=Strategy.ONE_FOR_ONE)
    tree.ref("b").tell(crash)
    assert story.take(2) == [CRASHED, ("b", "start", 2)]
    assert _incarnations(tree) == [1, 2, 1]
    assert story.rest() == []


def test_03_one_for_all_restarts_all(tree: Any, story: Any, abc: Abc) -> None:
    """The others are stopped in reverse order, then all start in order; their mailboxes stay.

    Origin: OTP supervisor_SUITE, one_for_all.
    """
    abc(strategy=Strategy.ONE_FOR_ALL)
    tree.ref("b").tell(crash)
    assert story.take(8) == [CRASHED, *_stop("c", "a"), *[(name, "start", 2) for name in "abc"]]
    assert _incarnations(tree) == [2, 2, 2]
    assert story.rest() == []


def test_04_rest_for_one_restarts_those_after_it(tree: Any, story: Any, abc: Abc) -> None:
    """Those started before it notice nothing.

    Origin: OTP supervisor_SUITE, rest_for_one and order_of_children.
    """
    abc(strategy=Strategy.REST_FOR_ONE)
    tree.ref("b").tell(crash)
    assert story.take(5) == [CRASHED, *_stop("c"), ("b", "start", 2), ("c", "start", 2)]
    assert _incarnations(tree) == [1, 2, 2]
    assert story.rest() == []


def test_08_one_for_all_begins_again_when_a_restart_fails(tree: Any, story: Any, puppet: Puppets) -> None:
    """The one already started again is stopped before the next try; the one after it never starts in vain.

    Origin: OTP supervisor_SUITE, one_for_all_other_child_fails_restart.
    """
    tree.start(puppet("a"), puppet("b", start=_fails_once), puppet("c"), strategy=Strategy.ONE_FOR_ALL)
    story.take(3)
    tree.ref("a").tell(crash)
    assert [word[:2] for word in story.take(1)] == [("a", "failure")]
    assert story.take(11) == [
        *_stop("c", "b"),
        *[("a", "start", 2), ("b", "failure", "ZeroDivisionError('at its start')")],
        *_stop("a"),
        *[("a", "start", 3), ("b", "start", 3), ("c", "start", 2)],
    ]
    assert _incarnations(tree) == [3, 3, 2]
    assert story.rest() == []


def test_09_rest_for_one_begins_again_at_the_child_that_failed(
    tree: Any, story: Any, puppet: Puppets
) -> None:
    """Those after it wait for it and never start in vain.

    The one that crashed is before it and runs again already: it is left alone, unlike in one_for_all.

    Origin: OTP supervisor_SUITE, rest_for_one_other_child_fails_restart (where it is called
    restarting_started_child to do otherwise).
    """
    specs = [puppet("a"), puppet("b", start=_fails_once), puppet("c")]
    tree.start(*specs, strategy=Strategy.REST_FOR_ONE)
    story.take(3)
    tree.ref("a").tell(crash)
    assert [word[:2] for word in story.take(1)] == [("a", "failure")]
    assert story.take(8) == [
        *_stop("c", "b"),
        *[("a", "start", 2), ("b", "failure", "ZeroDivisionError('at its start')")],
        *[("b", "start", 3), ("c", "start", 2)],
    ]
    assert _incarnations(tree) == [2, 3, 2]
    assert story.rest() == []


def test_15_a_temporary_bystander_is_stopped_and_forgotten(tree: Any, story: Any, puppet: Puppets) -> None:
    """It is no reason to give up, and does not come back; the others do.

    Origin: OTP supervisor_SUITE, temporary_bystander.
    """
    specs = [puppet("a"), puppet("b"), puppet("c", restart=Restart.TEMPORARY)]
    control = tree.start(*specs, strategy=Strategy.ONE_FOR_ALL)
    story.take(3)
    bystander = tree.ref("c")
    tree.ref("b").tell(crash)
    assert story.take(7) == [CRASHED, *_stop("c", "a"), ("a", "start", 2), ("b", "start", 2)]
    assert statuses(control) == {"a": "running", "b": "running"}
    assert not bystander.is_alive()
    assert story.rest() == []


@pytest.mark.parametrize("error", [ZeroDivisionError("at its stop"), SystemExit("at its stop")])
def test_45_a_crash_during_on_stop_does_not_hinder_a_restart(
    tree: Any, story: Any, puppet: Puppets, error: BaseException
) -> None:
    """All are restarted, although one of them cannot even stop: that has been decided before.

    Origin: Pekko classic SupervisorSpec, line 421: restarts a child when its postStop or preRestart throws.
    """

    def break_off(_puppet: Any) -> None:
        raise error

    control = tree.start(puppet("a", stop=break_off), puppet("b"), strategy=Strategy.ONE_FOR_ALL)
    story.take(2)
    tree.ref("b").tell(crash)
    assert story.take(4) == [CRASHED, ("a", "drain"), ("a", "start", 2), ("b", "start", 2)]
    assert [info.restarts for info in control.which_children()] == [0, 1]
