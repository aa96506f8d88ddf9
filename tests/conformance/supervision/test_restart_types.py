from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.policy.restart import Restart
from tests.deeds import Puppets, crash, end, statuses
from tests.puppets import PATIENCE

How = Callable[[Any], None]


def _tell_end(ref: Any) -> None:
    ref.tell(end)


def _ask_to_stop(ref: Any) -> None:
    assert ref.stop(timeout=PATIENCE)


ORDERLY = pytest.mark.parametrize("orderly", [_tell_end, _ask_to_stop])


@ORDERLY
def test_11_a_permanent_child_is_restarted_after_any_end(
    tree: Any, story: Any, puppet: Puppets, orderly: How
) -> None:
    """After an orderly one too: it raised `Shutdown`, or somebody called `ref.stop()`.

    Origin: OTP supervisor_SUITE, permanent_normal.
    """
    control = tree.start(puppet("a", restart=Restart.PERMANENT))
    ref = tree.ref("a")
    orderly(ref)
    assert story.until("a", "start", 2)[-2] == ("a", "stop")
    assert ref.ask("here", timeout=PATIENCE) == "here"
    assert statuses(control) == {"a": "running"}


@ORDERLY
def test_12_a_transient_child_is_not_restarted_after_an_orderly_end(
    tree: Any, story: Any, puppet: Puppets, orderly: How
) -> None:
    """Its spec stays, so that it can be started again.

    Origin: OTP supervisor_SUITE, transient_normal.
    """
    control = tree.start(puppet("a", restart=Restart.TRANSIENT))
    ref = tree.ref("a")
    orderly(ref)
    assert tree.event("stopped").actor == "a"
    assert statuses(control) == {"a": "undefined"}
    assert not ref.is_alive()
    assert ("a", "start", 2) not in story.rest()
    assert control.restart_child("a") is ref


def test_13_a_transient_child_is_restarted_after_a_crash(tree: Any, story: Any, puppet: Puppets) -> None:
    """A crash is no orderly end.

    Origin: OTP supervisor_SUITE, transient_abnormal.
    """
    control = tree.start(puppet("a", restart=Restart.TRANSIENT))
    tree.ref("a").tell(crash)
    story.until("a", "start", 2)
    assert statuses(control) == {"a": "running"}


@pytest.mark.parametrize("how", [crash, end])
def test_14_a_temporary_child_is_never_restarted(tree: Any, story: Any, puppet: Puppets, how: How) -> None:
    """However it ended; its spec is forgotten.

    Origin: OTP supervisor_SUITE, temporary_abnormal and temporary_normal.
    """
    control = tree.start(puppet("a", restart=Restart.TEMPORARY), puppet("b"))
    ref = tree.ref("a")
    ref.tell(how)
    assert tree.event("stopped").actor == "a"
    assert statuses(control) == {"b": "running"}
    assert not ref.is_alive()
    assert ("a", "start", 2) not in story.rest()
