"""The actors that are measured: the same work on knell's cells and on stock pykka."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pykka

from knell.actors.behaviour import Behaviour
from knell.actors.cell import Cell
from knell.actors.context import Context
from knell.actors.control import Control
from knell.actors.host import Host
from knell.actors.io import IoLoop
from knell.actors.policy.restart import Intensity
from knell.actors.spec import INFINITY, Spec
from knell.actors.supervisor import Supervisor

KNELL, PYKKA = "knell", "pykka"

NEVER_TOO_MANY = Intensity(1_000_000_000, 1.0)
"""No number of crashes ends what is measured."""


class Counter(Behaviour):
    """Counts numbers, calls functions, and answers None with its count."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.count = 0

    def on_receive(self, message: Any) -> Any:
        """Count, call, or answer."""
        if type(message) is int:
            self.count += 1
            return None
        return self.count if message is None else message()


class StockCounter(pykka.ThreadingActor):
    """The same on stock pykka."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_receive(self, message: Any) -> Any:
        """Count, call, or answer."""
        if type(message) is int:
            self.count += 1
            return None
        return self.count if message is None else message()


def tree(*specs: Spec) -> Cell:
    """Start a supervisor with these children and return its cell."""
    # Lines are made as in a host that logs, and written nowhere.
    logging.getLogger("knell").addHandler(logging.NullHandler())
    args = {"specs": specs, "intensity": NEVER_TOO_MANY}
    root = Cell(Spec("root", Supervisor, args, shutdown=INFINITY, start_timeout=None), Host(IoLoop()))
    launch = root.begin()
    launch.done.wait()
    assert launch.failed is None, launch.failed
    return root


def actor(subject: str, mailbox: int | None = None) -> pykka.ActorRef[Any]:
    """Start one counter and return its address; stock pykka knows no bound."""
    if subject == PYKKA:
        return StockCounter.start()
    return tree(_counter(0, mailbox)).children["counter-0"].actor_ref


def crowd(subject: str, mailbox: int | None) -> Callable[[int], object]:
    """Start one counter; return what adds so many more and waits until they are up."""
    if subject == PYKKA:
        StockCounter.start().ask(None)
        return lambda count: [ref.ask(None) for ref in [StockCounter.start() for _ in range(count)]]
    control = Control(tree(_counter(0, mailbox)).actor_ref)
    return lambda count: control.apply([_counter(number, mailbox) for number in range(count + 1)])


def hold(ref: pykka.ActorRef[Any]) -> Callable[[], None]:
    """Keep an actor busy with one message until the function returned is called."""
    entered, leave = threading.Event(), threading.Event()

    def stay() -> None:
        entered.set()
        leave.wait()

    ref.tell(stay)
    entered.wait()
    return leave.set


def _counter(number: int, mailbox: int | None) -> Spec:
    return Spec(f"counter-{number}", Counter, mailbox=mailbox)
