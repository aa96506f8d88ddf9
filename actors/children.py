"""The cells of one supervisor: starting them, waiting until they are up, stopping them in time."""

from collections import deque
from collections.abc import Iterable

import pykka

from knell.log import log

from .cell import Cell
from .orders import ActorEvent, Ended, Halt, Launch
from .policy.restart import Child, Exit
from .seam import Envelope
from .spec import BRUTAL, Spec

PROMPT = 0.005
"""Seconds a start may take before it is told what led to it; most starts take a hundredth of that."""

LAST_LOOK = 0.005
"""Seconds between attempts to fence a child that is past its deadline but between two turns."""

LONGEST_LOOK = 60.0
"""Seconds between two looks at a child that may take as long as it wants."""


class Children:
    """A supervisor's cells, on the supervisor's thread.

    The table itself lives in the supervisor's cell: a supervisor that crashes finds its children again, with
    their refs and mailboxes.
    """

    def __init__(self, parent: Cell) -> None:
        self._parent = parent
        self._host = parent.host
        self.cells = parent.children
        self._notes: deque[tuple[str, str, BaseException | None]] = deque()

    def note(self, kind: str, cell: Cell, error: BaseException | None = None) -> None:
        """Put down what happened to a child, to be told later: a traceback takes longer than a restart."""
        self._notes.append((kind, cell.path, error))

    def tell(self) -> None:
        """Log what was put down, and tell the observers, in its order."""
        while self._notes:
            kind, path, error = self._notes.popleft()
            if error is None:
                log.info(f"actor.{kind}", actor=path)
            else:
                log.error(f"actor.{kind}", actor=path, exc_info=error)
            self._host.tell(ActorEvent(kind, path, repr(error) if error else ""))

    def launch(self, spec: Spec, record: Child) -> Ended | None:
        """Start a child and wait until it is up; return how it failed if it did.

        `record` is where its history is kept, for those who look at the tree.
        """
        cell = self.cells.get(spec.id)
        kind = "started" if cell is None else "restarted"
        if cell is None:
            cell = self.cells[spec.id] = type(self._parent)(spec, self._host, self._parent)
            pykka.ActorRegistry.register(cell.actor_ref)
        cell.spec, cell.record, cell.mailbox.maxsize = spec, record, spec.mailbox
        if failed := self._await_launch(cell, cell.begin()):
            return failed
        self.note(kind, cell)
        self.tell()
        return None

    def _await_launch(self, cell: Cell, launch: Launch) -> Ended | None:
        limit = cell.spec.start_seconds
        up = launch.done.wait(PROMPT if limit is None else min(PROMPT, limit))
        if not up:
            self.tell()
            up = launch.done.wait(None if limit is None else max(0.0, limit - PROMPT))
        while not up:
            hand = cell.mailbox.hand
            if launch.done.wait(0):  # at the last moment: the turn in hand may be a user's already
                break
            if cell.fence(hand, "hung"):
                return Ended(Exit.CRASH, TimeoutError(f"on_start took more than {limit:g} s"))
            up = launch.done.wait(LAST_LOOK)
        return launch.failed

    def halt(self, ids: Iterable[str], *, final: bool, together: bool = False) -> None:
        """Stop children in this order, each within its deadline; `together`: without waiting in between.

        Not final: they stay down with their mailboxes open, to be launched again.
        """
        orders: list[tuple[Cell, Halt]] = []
        for id_ in ids:
            cell = self.cells[id_]
            if cell.closed.is_set():
                continue
            orders.append((cell, self._order(cell, final=final)))
            if not together:
                self._await_halt(*orders.pop())
        for cell, halt in orders:
            self._await_halt(cell, halt)

    def forget(self, id_: str) -> None:
        """Stop a child for good and drop it from the table."""
        if id_ in self.cells:
            self.halt([id_], final=True)
            del self.cells[id_]

    def reorder(self, ids: Iterable[str]) -> None:
        """Put the table into this order, which is the order of starting."""
        ordered = {id_: self.cells[id_] for id_ in ids if id_ in self.cells}
        self.cells.clear()
        self.cells.update(ordered)

    def _order(self, cell: Cell, *, final: bool) -> Halt:
        seconds = cell.spec.seconds
        until = None if seconds is None else self._host.clock.now() + seconds
        halt = Halt(final, cell.spec.shutdown == BRUTAL, until)
        if cell.threadless or (halt.brutal and cell.fence(cell.mailbox.hand, "stopped")):
            self._finish(cell, halt)
        else:
            cell.mailbox.put_system(Envelope(halt))
        return halt

    def _await_halt(self, cell: Cell, halt: Halt) -> None:
        self.tell()
        was_up = cell.up
        while not halt.done.wait(self._patience(cell, halt)):
            hand = cell.mailbox.hand
            if self._patience(cell, halt) <= LAST_LOOK and cell.fence(hand, "hung"):
                log.warning("actor.abandoned", actor=cell.path, after_seconds=cell.spec.seconds)
                self._finish(cell, halt)
        if was_up or halt.final:
            self.note("stopped", cell)
            self.tell()
        if halt.final:  # of a supervisor that was down itself: its children wait for it to come back
            left = [id_ for id_, child in cell.children.items() if not child.closed.is_set()]
            Children(cell).halt(reversed(left), final=True)

    def _patience(self, cell: Cell, halt: Halt) -> float:
        """Return the seconds a stopping child may still take: to its deadline, or until its turn hangs."""
        now, hand, limit = self._host.clock.now(), cell.mailbox.hand, cell.spec.hang_after
        ends = LONGEST_LOOK if halt.until is None else halt.until - now
        if limit is not None:
            ends = min(ends, limit if hand is None else cell.mailbox.since + limit - now)
        return min(max(ends, LAST_LOOK), LONGEST_LOOK)

    @staticmethod
    def _finish(cell: Cell, halt: Halt) -> None:
        """End a cell that has no thread to do it."""
        if halt.final:
            cell.close("stopped")
        halt.done.set()
