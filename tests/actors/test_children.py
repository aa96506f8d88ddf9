import threading
from collections.abc import Callable
from typing import Any

from knell.actors.spec import Spec
from tests.puppets import PATIENCE, Gate

Puppets = Callable[..., Spec]


def _meet(_puppet: Any) -> str:
    return "here"


def test_an_order_to_a_thread_that_was_given_up_is_not_for_the_next(
    tree: Any, puppet: Puppets, gate: Gate
) -> None:
    """The new thread finds the order to stop on the mailbox they share; it has been carried out."""
    control = tree.start(puppet(shutdown=0.05))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    control.apply([puppet(shutdown=5.0)])
    assert ref.ask(_meet, timeout=PATIENCE) == "here"
    assert control.count_children()["active"] == 1
    assert tree.host.letters.counts() == {("a", "hung"): 1}


def test_a_child_that_hangs_is_not_waited_for_to_its_deadline(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """While its supervisor waits for it to stop, nobody else would find out that it hangs."""
    control = tree.start(puppet(shutdown=PATIENCE * 10, hang_after=0.05))
    tree.ref("a").tell(gate)
    assert gate.entered.wait(PATIENCE)
    control.terminate_child("a")
    assert tree.host.letters.counts() == {("a", "hung"): 1}


def test_a_crash_on_the_way_to_a_stop_brings_nobody_back(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """Its report arrives after the order it crossed: who stopped the child wants it stopped."""

    def crash(puppet: Any) -> None:
        raise ZeroDivisionError(gate(puppet))

    control = tree.start(puppet())
    tree.ref("a").tell(crash)
    assert gate.entered.wait(PATIENCE)
    ordered = tree.system_message("a")
    stopper = threading.Thread(target=control.terminate_child, args=["a"])
    stopper.start()
    assert ordered.wait(PATIENCE)
    gate.leave.set()
    stopper.join(PATIENCE)
    assert control.count_children()["active"] == 0
    assert not tree.ref("a").is_alive()
