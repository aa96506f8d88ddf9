import asyncio
import threading
import time as clocks
from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.context import Fenced
from knell.actors.policy.restart import Intensity
from tests.deeds import Puppets, ask, incarnation
from tests.puppets import PATIENCE, Gate

SLACK = 10.0
"""Seconds a busy machine may add to a limit."""

PATIENT = Intensity(10_000, 60.0)


def _thread(_puppet: Any) -> str:
    return f"{threading.current_thread().name} {threading.get_ident()}"


def _fenced(tree: Any, gate: Gate, order: Any) -> Any:
    """Ask an actor for something that hangs; return who was told that the outcome is unknown."""
    future = tree.ref("a").ask(order, block=False)
    assert gate.entered.wait(PATIENCE)
    with pytest.raises(TimeoutError, match="hung: outcome unknown"):
        future.get(timeout=PATIENCE)
    return future


def _return(tree: Any, gate: Gate) -> None:
    """Let the hung handler return, and wait until its thread has gone."""
    (zombie,) = tree.host.zombies
    gate.leave.set()
    zombie.join(PATIENCE)
    assert not zombie.is_alive()
    assert tree.host.living_zombies() == 0


def test_53_a_hung_handler_is_replaced(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """Another thread serves the next message, on the same ref; the hung one's outcome is unknown.

    Origin: pykka, where a hung actor hangs for ever.
    """
    tree.start(puppet(hang_after=0.2))
    ref = tree.ref("a")
    before = ref.ask(_thread, timeout=PATIENCE)
    began = clocks.monotonic()
    ref.tell(gate)
    ref.tell("next")
    after = ref.ask(_thread, timeout=PATIENCE)
    assert 0.2 <= clocks.monotonic() - began < 0.2 + SLACK
    assert after != before
    assert ("a", "next") in story.rest()
    letter = tree.letter()
    assert (letter.actor, letter.message, letter.reason) == ("a", gate, "hung")
    assert "outcome unknown" in str(letter.error)
    assert tree.event("hung").actor == "a"
    assert tree.ref("a") is ref
    assert (tree.host.living_zombies(), tree.host.letters.total) == (1, 1)


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_54_what_a_fenced_handler_ends_with_is_ignored(
    tree: Any, story: Any, puppet: Puppets, gate: Gate, how: str
) -> None:
    """Its reply, its state and its exception: nothing crashes again, nothing is accounted for twice.

    Origin: pykka, where only the end of the process ends a hung handler.
    """

    def hang(puppet: Any) -> str:
        puppet.memory = "of the first"
        reply = gate(puppet)
        if how == "raises":
            raise ZeroDivisionError("too late")
        return reply

    control = tree.start(puppet(hang_after=0.05))
    future = _fenced(tree, gate, hang)
    ref = tree.ref("a")
    lives = ref.ask(incarnation, timeout=PATIENCE)
    _return(tree, gate)
    assert ask(ref, lambda p: (p.ctx.incarnation, hasattr(p, "memory"))) == (lives, False)
    with pytest.raises(TimeoutError):
        future.get(timeout=PATIENCE)
    assert [info.restarts for info in control.which_children()] == [1]
    assert [word[1] for word in story.rest()] == ["start", "start"]
    assert tree.host.letters.total == 0, "the asker was told"


def test_59_a_turn_that_is_over_is_never_fenced(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """Nor one that begins after it: neither the thread nor its message is given up.

    Origin: a gap of the prototype, a fence that arrives as the handler returns.
    """
    tree.start(puppet())
    ref, cell = tree.ref("a"), tree.cell("a")
    first = ref.ask(gate, block=False)
    assert gate.entered.wait(PATIENCE)
    over = cell.mailbox.hand
    gate.leave.set()
    assert first.get(timeout=PATIENCE) == "left in 1"
    assert ref.ask(incarnation, timeout=PATIENCE) == 1
    assert not cell.fence(over, "hung")
    assert not cell.fence(None, "hung")
    assert ask(ref, lambda _: cell.fence(over, "hung")) is False
    assert ref.ask(incarnation, timeout=PATIENCE) == 1
    assert tree.host.letters.total == tree.host.living_zombies() == 0


def test_59_a_fence_that_meets_the_end_of_a_turn(timed: Any, puppet: Puppets, time: Any) -> None:
    """Exactly one of handled and dead-lettered, two hundred times over; the next message is served.

    Origin: a gap of the prototype, a fence that arrives as the handler returns.
    """
    control = timed.start(puppet(hang_after=1.0), intensity=PATIENT)
    ref, cell, rounds = timed.ref("a"), timed.cell("a"), 200
    for _ in range(rounds):
        entered, ready = threading.Event(), threading.Barrier(2)

        def meet(_puppet: Any, entered: threading.Event = entered, ready: threading.Barrier = ready) -> None:
            entered.set()
            ready.wait(PATIENCE)

        ref.tell(meet)
        assert entered.wait(PATIENCE)
        time.passes(2.0)
        ready.wait(PATIENCE)
        control.which_children()
        assert ref.ask("next", timeout=PATIENCE) == "next"
        for zombie in tuple(timed.host.zombies):
            zombie.join(PATIENCE)
    dead = timed.host.letters.total
    control.terminate_child("a")
    assert cell.handled + dead == 2 * rounds
    assert timed.host.letters.total == dead


def test_64_a_fenced_handler_can_use_nothing(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """Its `keep`, timers and I/O are refused or detached: the new incarnation sees nothing of them.

    Origin: a gap of the prototype, one context for all incarnations.
    """
    refused: list[str] = []

    async def nothing() -> None:
        return

    def hang(puppet: Any) -> None:
        ctx, keep = puppet.ctx, puppet.ctx.keep
        inner = keep["by"] = ["before"]
        gate(puppet)
        inner.append("zombie")
        keep["late"] = True
        actions: dict[str, Callable[[], Any]] = {
            "keep": lambda: ctx.keep,
            "pending": lambda: ctx.pending,
            "cell": lambda: ctx.cell,
            "timer": lambda: ctx.wake_at("x", 0.0),
            "io": lambda: ctx.spawn_io(nothing, op="late"),
            "watch": lambda: ctx.watch(ctx.ref),
        }
        for name, action in actions.items():
            try:
                action()
            except Fenced:
                refused.append(name)

    tree.start(puppet(hang_after=0.05))
    _fenced(tree, gate, hang)
    ref = tree.ref("a")
    assert ref.ask("serves again", timeout=PATIENCE) == "serves again"
    _return(tree, gate)
    assert refused == ["keep", "pending", "cell", "timer", "io", "watch"]
    tree.host.io.run(asyncio.sleep, 0, timeout=PATIENCE)  # an outcome would be posted by now
    assert ask(ref, lambda p: (p.ctx.keep, p.ctx.pending)) == ({"by": ["before"]}, {})
    assert {word[1] for word in story.rest()} == {"start", "serves again"}
