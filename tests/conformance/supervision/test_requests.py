from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.control import Control
from knell.actors.policy.restart import Backoff, Intensity
from knell.actors.supervisor import RefusedError
from tests.deeds import Puppets, crash, statuses
from tests.puppets import PATIENCE

NEVER_AGAIN = Backoff(3600, 3600)


def _refusal(request: Callable[[Any], Any], argument: Any) -> str:
    """Return the word with which a request is refused."""
    with pytest.raises(RefusedError) as caught:
        request(argument)
    return caught.value.code


@pytest.fixture
def restarting(tree: Any, puppet: Puppets) -> Control:
    """A supervisor with a child that runs and one that waits for its restart."""
    control: Control = tree.start(puppet("up"), puppet("down", backoff=NEVER_AGAIN))
    tree.ref("down").tell(crash)
    assert tree.event("crashed").actor == "down"
    return control


def test_19_a_child_that_is_known_is_not_added(tree: Any, story: Any, puppet: Puppets) -> None:
    """`already_started` while it runs, `already_present` when it was stopped; it stays what it was.

    Origin: OTP supervisor.erl, handle_start_child.
    """
    control = tree.start(puppet("a"), puppet("b"))
    control.terminate_child("b")
    assert _refusal(control.start_child, puppet("a", mailbox=1)) == "already_started"
    assert _refusal(control.start_child, puppet("b", mailbox=1)) == "already_present"
    assert statuses(control) == {"a": "running", "b": "undefined"}
    assert [control.get_childspec(name).mailbox for name in "ab"] == [None, None]
    assert [word for word in story.rest() if word[1] == "start"] == [("a", "start", 1), ("b", "start", 1)]


def test_19_a_child_between_two_starts_is_present(restarting: Control, puppet: Puppets) -> None:
    """It does not run, so it is not `already_started`.

    Origin: OTP supervisor_SUITE, hanging_restart_loop.
    """
    assert _refusal(restarting.start_child, puppet("down")) == "already_present"


def test_20_only_a_stopped_child_is_deleted(tree: Any, puppet: Puppets) -> None:
    """`running` while it runs; after terminate_child its spec goes, and its name is free again.

    Origin: OTP supervisor.erl, handle_call of delete_child.
    """
    control = tree.start(puppet("a"), puppet("b"))
    assert _refusal(control.delete_child, "a") == "running"
    assert statuses(control) == {"a": "running", "b": "running"}
    control.terminate_child("a")
    control.delete_child("a")
    assert statuses(control) == {"b": "running"}
    assert control.start_child(puppet("a")).ask("here", timeout=PATIENCE) == "here"


def test_21_nobody_is_stopped_who_is_not_known(tree: Any, puppet: Puppets) -> None:
    """`not_found`, for every request that names a child.

    Origin: OTP supervisor.erl, handle_call of terminate_child and its neighbours.
    """
    control = tree.start(puppet("a"))
    requests = (control.terminate_child, control.restart_child, control.delete_child, control.get_childspec)
    assert [_refusal(request, "nobody") for request in requests] == ["not_found"] * 4
    assert statuses(control) == {"a": "running"}


def test_22_only_a_stopped_child_is_restarted_by_hand(restarting: Control, story: Any) -> None:
    """`running` while it runs, `restarting` while its supervisor is about to do so.

    Origin: OTP supervisor_SUITE, hanging_restart_loop.
    """
    assert _refusal(restarting.restart_child, "up") == "running"
    assert _refusal(restarting.restart_child, "down") == "restarting"
    assert _refusal(restarting.delete_child, "down") == "restarting"
    assert statuses(restarting) == {"up": "running", "down": "restarting"}
    assert [word for word in story.rest() if word[1:] == ("start", 2)] == []


@pytest.fixture
def looping(tree: Any, puppet: Puppets) -> Control:
    """A supervisor in a loop: a child fails to start again and again, without a wait or a limit."""

    def start(puppet: Any) -> None:
        if puppet.ctx.incarnation > 1:
            raise ZeroDivisionError

    control: Control = tree.start(puppet("a", start=start), intensity=Intensity(10**9, 3600))
    tree.ref("a").tell(crash)
    for _ in range(5):
        assert tree.event("crashed").actor == "a"
    return control


def test_23_a_child_in_a_restart_loop_can_be_stopped(tree: Any, looping: Control) -> None:
    """Its supervisor answers between two tries, and then there are no more of them.

    Origin: OTP supervisor_SUITE, hanging_restart_loop (OTP-9549).
    """
    ref = tree.ref("a")
    looping.terminate_child("a")
    tries = [info.restarts for info in looping.which_children()]
    assert statuses(looping) == {"a": "undefined"}
    assert not ref.is_alive()
    with pytest.raises(RefusedError, match="did not start"):
        looping.restart_child("a")
    assert [info.restarts for info in looping.which_children()] == tries


def test_23_a_supervisor_with_a_restart_loop_can_be_stopped(tree: Any, looping: Control) -> None:
    """The order to stop is seen between two tries.

    Origin: OTP supervisor_SUITE, hanging_restart_loop (OTP-9549).
    """
    assert looping.count_children()["specs"] == 1
    ref = tree.ref("a")
    tree.stop()
    assert not ref.is_alive()
    assert tree.root.closed.is_set()


def test_24_a_restarting_child_is_shown_as_such(restarting: Control) -> None:
    """It counts as a spec and as a worker, but not as active.

    Origin: OTP supervisor_SUITE, hanging_restart_loop.
    """
    up, down = restarting.which_children()
    assert (up.id, up.status, up.restarts) == ("up", "running", 0)
    assert (down.id, down.status, down.restarts) == ("down", "restarting", 1)
    assert restarting.count_children() == {"specs": 2, "active": 1, "supervisors": 0, "workers": 2}
