"""The cells of production on simulated threads: mailboxes wait in virtual time, everything else is theirs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from knell.actors.cell import Cell
from knell.actors.host import Host
from knell.actors.io import IoFunction
from knell.actors.mailbox import Hand, Mailbox
from knell.actors.orders import Halt, Launch
from knell.actors.seam import Envelope

from .clockwork import Clockwork, Event, Thread


@dataclass(frozen=True, kw_only=True)
class Stage(Host):
    """The surroundings of a simulated tree.

    Attributes:
        clockwork: time and threads.
        turn: told of every turn that begins: the cell and what it has in hand.
        telling: told before a message goes into a mailbox: may raise, or let time pass.
        told: told after it: the mailbox.
        threads: all of them, also those that have ended.
    """

    clockwork: Clockwork
    turn: Callable[["SimulatedCell", Hand], None]
    telling: Callable[[Any], None]
    told: Callable[["SimulatedMailbox"], None]
    threads: list[Thread] = field(default_factory=list[Thread])


class SimulatedMailbox(Mailbox):
    """Waits in virtual time; and even for what is there already, others may come first."""

    def __init__(self, cell: "SimulatedCell", stage: Stage) -> None:
        super().__init__(cell.spec.mailbox, cell.bury)
        self.cell = cell
        self._stage = stage
        self._clockwork = stage.clockwork
        self._waiter: Thread | None = None

    def put(self, envelope: Envelope[Any]) -> None:
        """Take a message, unless something happens to the sender before."""
        self._stage.telling(envelope.message)
        super().put(envelope)
        self._stir()
        self._stage.told(self)

    def put_system(self, envelope: Envelope[Any]) -> None:
        """Take a message for the system lane."""
        if type(envelope.message) is Halt:
            object.__setattr__(envelope.message, "done", Event(self._clockwork))
        super().put_system(envelope)
        self._stir()

    def take(self, timeout: float | None) -> Envelope[Any] | None:
        """Wait for the next message of either lane."""
        return self._wait(timeout, partial(super().take, 0), lambda: not self._empty)

    def take_system(self, timeout: float | None) -> Envelope[Any] | None:
        """Wait for the next system message."""
        return self._wait(timeout, partial(super().take_system, 0), lambda: not self._system.empty())

    def begin(self, hand: Hand, now: float) -> None:
        """Note that a turn begins."""
        super().begin(hand, now)
        self._stage.turn(self.cell, hand)

    @property
    def waiting(self) -> int:
        """How many messages of users wait that were never handed out."""
        return self.depth - len(self._again)

    @property
    def _empty(self) -> bool:
        return self._system.empty() and not self._again and self._users.empty()

    def _stir(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()

    def _wait(
        self, timeout: float | None, get: Callable[[], Envelope[Any] | None], ready: Callable[[], bool]
    ) -> Envelope[Any] | None:
        thread = self._clockwork.current
        assert thread is not None, "only a thread can wait"
        until = None if timeout is None else self._clockwork.now + timeout
        self._waiter = thread
        while True:
            if not thread.park(until, ready=ready()) and until is not None and self._clockwork.now >= until:
                return None
            if (envelope := get()) is not None:
                return envelope


class SimulatedCell(Cell):
    """A cell on a simulated thread."""

    host: Stage

    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]  # as in Cell
        self.mailbox = SimulatedMailbox(self, self.host)
        return self.mailbox

    def _start_actor_loop(self, epoch: int = 0) -> None:
        self.threadless = False
        thread = Thread(self.host.clockwork, partial(self._actor_loop, epoch), self)
        self.host.threads.append(thread)
        self.thread = cast("Any", thread)

    def spawn_io(self, function: IoFunction, args: tuple[Any, ...], op: Any, epoch: int) -> None:
        """Send; what goes over the wire here is the attempt itself, not its text."""
        assert epoch == self.mailbox.epoch, "an incarnation that was given up sends"
        del args
        super().spawn_io(function, (op,), op, epoch)

    def begin(self) -> Launch:
        """Start the next incarnation."""
        launch = super().begin()
        launch.done = cast("Any", Event(self.host.clockwork))
        return launch
