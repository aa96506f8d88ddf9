"""The cells of one supervisor: starting them, waiting until they are up, stopping them in time."""

from collections.abc import Iterable

import pykka

from knell.log import log

from .cell import Cell
from .orders import ActorEvent, Ended, Halt, Launch
from .policy.restart import Child, Exit
from .seam import Envelope
from .spec import BRUTAL, Spec

LAST_LOOK = 0.005
"""Seconds between attempts to fence a child that is past its deadline but between two turns."""


class Children:
    """A supervisor's cells, on the supervisor's thread.

    The table itself lives in the supervisor's cell: a supervisor that crashes finds its children again, with
    their refs and mailboxes.
    """

    def __init__(self, parent: Cell) -> None:
        self._parent = parent
        self._host = parent.host
        self.cells = parent.children

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
        log.info(f"actor.{kind}", actor=cell.path)
        self._host.tell(ActorEvent(kind, cell.path))
        return None

    def _await_launch(self, cell: Cell, launch: Launch) -> Ended | None:
        limit = cell.spec.start_timeout
        up = launch.done.wait(limit)
        while not up:
            if cell.fence(cell.mailbox.hand, "hung"):
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
        was_up = cell.up
        seconds = None if halt.until is None else max(0.0, halt.until - self._host.clock.now())
        done = halt.done.wait(seconds)
        while not done:
            if cell.fence(cell.mailbox.hand, "hung"):
                log.warning("actor.abandoned", actor=cell.path, after_seconds=cell.spec.seconds)
                self._finish(cell, halt)
            done = halt.done.wait(LAST_LOOK)
        if was_up or halt.final:
            log.info("actor.stopped", actor=cell.path)
            self._host.tell(ActorEvent("stopped", cell.path))

    @staticmethod
    def _finish(cell: Cell, halt: Halt) -> None:
        """End a cell that has no thread to do it."""
        if halt.final:
            cell.close("stopped")
        halt.done.set()
