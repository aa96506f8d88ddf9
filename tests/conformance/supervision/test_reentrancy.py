import gc
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from knell.actors.cell import Cell
from knell.actors.letters import DeadLetters
from knell.actors.mailbox import Mailbox
from tests.deeds import Puppets
from tests.puppets import PATIENCE, Gate

PLACES = {function.__code__.co_filename for function in (Mailbox.put, DeadLetters.take, Cell.bury)}
"""The files in which a `tell` may be interrupted."""


@contextmanager
def _interrupted(call: Callable[[], None]) -> Generator[None]:
    """Raise a signal at every line of those files, on this very thread; its handler makes the call."""

    def handler(_number: int, _frame: FrameType | None) -> None:
        call()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line" and frame.f_code.co_filename in PLACES:
            signal.raise_signal(signal.SIGUSR1)
        return trace

    tracer, taker = sys.gettrace(), signal.signal(signal.SIGUSR1, handler)
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(tracer)
        signal.signal(signal.SIGUSR1, taker)


@pytest.fixture
def eager() -> Iterator[None]:
    """Collect garbage at nearly every allocation, so that a finalizer may run anywhere."""
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("bound", [None, 10], ids=["unbounded", "bounded"])
def test_62_tell_works_in_a_signal_handler(
    tree: Any, story: Any, puppet: Puppets, gate: Gate, bound: int | None
) -> None:
    """In the middle of a `tell` on the same thread: no deadlock, and every message is accounted for.

    Origin: pykka, whose queue has a lock that a thread cannot take twice.
    """
    sent = 0
    tree.start(puppet("a", mailbox=bound))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)

    def tell() -> None:
        nonlocal sent
        sent += 1
        ref.tell("told")

    with _interrupted(tell):
        for _ in range(20):
            tell()
    assert sent > 100
    dead = tree.host.letters.total
    assert dead == tree.letters.qsize() == (sent - tree.cell("a").mailbox.depth if bound else 0)
    gate.leave.set()
    assert len(story.take(sent - dead + 1)) == sent - dead + 1
    assert tree.ref("a").ask("nothing after it", timeout=PATIENCE)
    assert story.rest() == [("a", "nothing after it")]


@pytest.mark.parametrize("bound", [None, 10], ids=["unbounded", "bounded"])
@pytest.mark.usefixtures("eager")
def test_62_tell_works_in_a_finalizer(
    tree: Any, story: Any, puppet: Puppets, gate: Gate, bound: int | None
) -> None:
    """Run by the garbage collector in the middle of a `tell`: no deadlock, and nothing is lost.

    Origin: pykka, whose queue has a lock that a thread cannot take twice.
    """
    finalized = 0

    class Farewell:
        """Says good-bye to an actor when it is collected; a cycle, so that only the collector can."""

        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            nonlocal finalized
            finalized += 1
            ref.tell("from __del__")

    tree.start(puppet("a", mailbox=bound))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    for _ in range(300):
        Farewell()
        ref.tell("told")
    gc.collect()
    assert finalized == 300
    waiting = bound or 600
    assert tree.host.letters.total == 600 - waiting
    gate.leave.set()
    assert len(story.take(waiting + 1)) == waiting + 1
