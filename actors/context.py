"""What a behaviour may do: its incarnation's handle on its cell."""

import heapq
import itertools
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, cast

import pykka

from knell.log import log

from .behaviour import Signal, Timer
from .clock import Clock
from .io import IoFunction
from .seam import Envelope

if TYPE_CHECKING:
    from .cell import Cell
    from .mailbox import Mailbox


_watches = itertools.count(1)


class Fenced(Exception):  # noqa: N818 - a state
    """This incarnation was given up while it hung; nothing it does counts any more."""


class Context:
    """One incarnation's access to its cell. Once the incarnation is fenced, every use raises `Fenced`.

    Attributes:
        incarnation: 1 for the first, rising with every start.
        keep: what survives a crash: small, plain values. A fenced incarnation keeps a copy nobody reads.
        clock: time and dice.
        leaving: whether the cell closes for good when this incarnation has stopped.
        holding: while True, user messages wait and only the system lane is served.
    """

    def __init__(self, cell: "Cell", epoch: int, clock: Clock) -> None:
        self._cell = cell
        self.incarnation = epoch
        self.clock = clock
        self.holding = self.leaving = False
        self.watches: dict[int, Cell] = {}
        self._timers: list[tuple[float, int, Hashable]] = []
        self._wanted: dict[Hashable, float] = {}
        self._order = itertools.count()

    @property
    def name(self) -> str:
        """The id of the actor's child spec."""
        return self._cell.spec.id

    @property
    def ref(self) -> pykka.ActorRef[Any]:
        """The actor's address: the same for every incarnation."""
        return self._cell.actor_ref

    @property
    def cell(self) -> "Cell":
        """The cell itself, for supervisors."""
        return self._live()

    @property
    def keep(self) -> dict[str, Any]:
        """What survives a crash."""
        return self._live().keep

    @property
    def pending(self) -> dict[Any, int]:
        """The I/O under way, by `op`, with the incarnation that started it."""
        return self._live().pending

    def spawn_io(self, function: IoFunction, *args: Any, op: Hashable) -> None:
        """Run a coroutine on the I/O loop; its outcome comes to `on_io`, of this or a later incarnation."""
        self._live().spawn_io(function, args, op, self.incarnation)

    def lookup(self, path: str) -> pykka.ActorRef[Any] | None:
        """Return the address of an actor of this tree by its path; None while there is none."""
        found: Cell | None = self._live().root
        for name in path.split("/"):
            found = found.children.get(name) if found else None
        return found.actor_ref if found else None

    def wake_at(self, key: Hashable, at: float) -> None:
        """Ask for `Timer(key)` at a monotonic time; replaces an earlier wish for the same key."""
        self._live()
        self._wanted[key] = at
        heapq.heappush(self._timers, (at, next(self._order), key))

    def unhandled(self, message: object) -> None:
        """Log a message that nobody expected; it is dropped and harms nobody."""
        log.warning("actor.unhandled", actor=self.name, message_type=type(message).__name__)

    def watch(self, ref: pykka.ActorRef[Any]) -> int:
        """Ask for one `Terminated` when an actor has stopped for good; at once if it has already.

        A restart is no stop. The watch ends with this incarnation: a new one watches again, if it wants to.

        Raises:
            TypeError: it is no actor of knell.
        """
        watch = next(_watches)
        watched = self._live().behind(ref)
        self.watches[watch] = watched
        watched.watch(watch, self._cell.mailbox)
        return watch

    def unwatch(self, watch: int) -> None:
        """Want no notice any more, not even one that is on its way."""
        if watched := self.watches.pop(watch, None):
            watched.unwatch(watch)

    def next_timer(self) -> float | None:
        """Return when the next timer is due."""
        while self._timers and self._wanted.get(self._timers[0][2]) != self._timers[0][0]:
            heapq.heappop(self._timers)  # replaced or taken meanwhile
        return self._timers[0][0] if self._timers else None

    def due_timer(self, now: float) -> Timer | None:
        """Take the next timer that is due; None when there is none."""
        at = self.next_timer()
        if at is None or at > now:
            return None
        _, _, key = heapq.heappop(self._timers)
        del self._wanted[key]
        return Timer(key)

    def _live(self) -> "Cell":
        if self._cell.mailbox.epoch != self.incarnation:
            raise Fenced(f"{self._cell.spec.id}: incarnation {self.incarnation} was given up")
        return self._cell


def signal(ref: pykka.ActorRef[Any], what: Signal) -> None:
    """Put a signal on an actor's system lane, where it overtakes users."""
    cast("Mailbox", ref.actor_inbox).put_system(Envelope(what))
