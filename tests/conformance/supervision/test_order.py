import queue
import time
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from knell.actors.control import Control
from knell.actors.spec import BRUTAL, INFINITY
from knell.actors.supervisor import StartError
from tests.deeds import Puppets, crash
from tests.puppets import PATIENCE, Gate


def _events(tree: Any) -> list[str]:
    """Return what has happened to actors so far, in short."""
    told: list[str] = []
    while True:
        try:
            told.append(tree.events.get_nowait().kind)
        except queue.Empty:
            return told


def test_01_start_in_order_and_stop_in_reverse(tree: Any, story: Any, abc: Callable[..., Control]) -> None:
    """Children start in the order of their specs and stop in reverse: nobody runs without those it needs.

    Origin: OTP supervisor_SUITE, order_of_children.
    """
    abc()
    tree.stop()
    assert story.rest() == [(name, what) for name in "cba" for what in ("drain", "stop")]
    assert not any(cell.actor_ref.is_alive() for cell in (tree.root, *map(tree.cell, "abc")))
    assert pykka.ActorRegistry.get_all() == []


def test_10_a_first_start_that_fails_unwinds(tree: Any, story: Any, puppet: Puppets) -> None:
    """Those before it are stopped, those after it never start, and the starter is told why.

    Origin: OTP supervisor.erl, init_children.
    """
    with pytest.raises(StartError, match=r"b did not start: ZeroDivisionError") as caught:
        tree.start(puppet("a"), puppet("b", start=crash), puppet("c"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert [word[:2] for word in story.rest()] == [
        *[("a", "start"), ("b", "failure"), ("a", "drain"), ("a", "stop")]
    ]
    assert "c" not in tree.root.children
    assert pykka.ActorRegistry.get_all() == []


def test_16_children_without_a_deadline_end_orderly(tree: Any, story: Any, puppet: Puppets) -> None:
    """Two idle children with an infinite shutdown end as told: no crash, no thread given up.

    Origin: OTP supervisor_SUITE, sup_stop_infinity.
    """
    tree.start(puppet("a", shutdown=INFINITY), puppet("b", shutdown=INFINITY))
    tree.stop()
    assert story.rest()[2:] == [(name, what) for name in "ba" for what in ("drain", "stop")]
    assert _events(tree) == ["started", "started", "stopped", "stopped"]
    assert tree.host.living_zombies() == 0


def test_17_a_child_past_its_deadline_is_abandoned(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """At the deadline, not before it and not when its call returns one day: here, never.

    Origin: OTP supervisor_SUITE, sup_stop_timeout.
    """
    tree.start(puppet("a", shutdown=0.2))
    tree.ref("a").tell(gate)
    assert gate.entered.wait(PATIENCE)
    since = time.monotonic()
    tree.stop()
    assert 0.2 <= time.monotonic() - since < PATIENCE / 2
    letter = tree.letter()
    assert (letter.message, letter.reason) == (gate, "hung")
    assert tree.host.living_zombies() == 1
    assert not tree.ref("a").is_alive()


def test_18_a_brutal_stop_calls_no_hook(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """Neither in an idle child nor in a busy one, which is given up at once, in the middle of its message.

    Origin: OTP supervisor_SUITE, sup_stop_brutal_kill.
    """
    tree.start(puppet("idle", shutdown=BRUTAL), puppet("busy", shutdown=BRUTAL))
    story.take(2)
    tree.ref("busy").tell(gate)
    assert gate.entered.wait(PATIENCE)
    tree.stop()
    assert not gate.leave.is_set()
    assert tree.letter().reason == "stopped"
    assert tree.host.living_zombies() == 1
    (thread,) = tree.host.zombies
    gate.leave.set()
    thread.join(PATIENCE)
    assert story.rest() == []
