"""What passes between a supervisor and its cells."""

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .behaviour import Signal
from .policy.restart import Exit

if TYPE_CHECKING:
    from .cell import Cell


@dataclass(frozen=True, slots=True)
class Ended:
    """How an incarnation ended. `error` is what it crashed with."""

    how: Exit
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class ChildEnded(Signal):
    """Report of a cell: my incarnation `epoch` has ended and I wait for a verdict."""

    cell: "Cell"
    epoch: int
    ended: Ended


@dataclass(frozen=True, slots=True)
class Resume(Signal):
    """Verdict: begin a new incarnation."""


@dataclass(frozen=True, slots=True, eq=False)
class Halt(Signal):
    """Order to stop.

    Attributes:
        final: close for good; otherwise stay down with the mailbox open.
        brutal: without waiting for I/O and without `on_stop`.
        until: deadline, monotonic; None = no hurry.
        done: set when the cell is down or closed.
    """

    final: bool
    brutal: bool = False
    until: float | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Latch:
    """Shut until it is set, once; like an `Event`, whose making and waiting are a tenth of a restart."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let everybody through."""
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False when that took longer than `timeout` seconds."""
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            return False
        self._lock.release()
        return True


@dataclass(slots=True, eq=False)
class Launch:
    """A start somebody waits for. `done` is set when it is up or has failed; `failed` tells which."""

    done: Latch = field(default_factory=Latch)
    failed: Ended | None = None


@dataclass(frozen=True, slots=True)
class ActorEvent:
    """Something that happened to an actor, for those who watch the system.

    Attributes:
        kind: started, restarted, crashed, hung, stopped, degraded or escalated.
        actor: its path in the tree, as in "channels/slack".
    """

    kind: str
    actor: str
    detail: str = ""
