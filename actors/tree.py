"""The supervision tree as it is now: plain values, read from the cells without sending them anything."""

import msgspec

from .cell import Cell
from .channel import ChannelActor
from .policy.breaker import Phase
from .policy.channel import ChannelState
from .policy.restart import Status
from .supervisor import Supervisor


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """What holds a channel back. `paused_seconds`: what is left of a pause a provider asked for."""

    phase: Phase
    in_flight: int
    paused_seconds: float = 0.0
    limited_seconds: float = 0.0


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One actor.

    Attributes:
        status: running, restarting, degraded, or undefined for one that was stopped.
        mailbox: messages that wait.
        busy_seconds: age of the message in hand; None when it is idle.
        error: what it crashed with last.
    """

    name: str
    path: str
    status: Status
    supervisor: bool = False
    restarts: int = 0
    mailbox: int = 0
    handled: int = 0
    busy_seconds: float | None = None
    error: str = ""
    circuit: Circuit | None = None
    children: tuple["Node", ...] = ()


class Survey(msgspec.Struct, frozen=True):
    """The whole tree. `zombies`: hung threads that were given up and have not ended."""

    root: Node
    zombies: int
    dead_letters: int


def survey(root: Cell) -> Survey:
    """Look at a tree."""
    return Survey(_node(root), root.host.living_zombies(), root.host.letters.total)


def _node(cell: Cell) -> Node:
    now, hand = cell.host.clock.now(), cell.mailbox.hand
    return Node(
        name=cell.spec.id,
        path=cell.path,
        status=_status(cell),
        supervisor=cell.spec.behaviour is Supervisor,
        restarts=cell.record.restarts if cell.record else 0,
        mailbox=cell.mailbox.depth,
        handled=cell.handled,
        busy_seconds=None if hand is None else max(0.0, now - cell.mailbox.since),
        error="" if cell.cause is None else repr(cell.cause),
        circuit=_circuit(cell, now) if cell.spec.behaviour is ChannelActor else None,
        children=tuple(_node(child) for child in list(cell.children.values())),
    )


def _status(cell: Cell) -> Status:
    if cell.record is not None:
        return cell.record.status
    return Status.RUNNING if cell.up else Status.UNDEFINED


def _circuit(cell: Cell, now: float) -> Circuit | None:
    state: ChannelState | None = cell.keep.get("state")
    if state is None:
        return None
    return Circuit(
        phase=state.breaker.phase,
        in_flight=len(cell.keep.get("in_flight", ())),
        paused_seconds=max(0.0, state.paused_until - now),
        limited_seconds=state.bucket.wait(now) if state.bucket else 0.0,
    )
