"""The supervision tree as it is now: read from the cells without sending them anything."""

from .cell import Cell
from .channel import ChannelActor
from .nodes import Circuit, Node, Survey
from .policy.breaker import Phase
from .policy.channel import ChannelState
from .policy.restart import Status
from .supervisor import Supervisor

LONGEST_ERROR = 300
"""Characters of an error; a third party's exception may say as much as it likes."""


def survey(root: Cell) -> Survey:
    """Look at a tree; any thread. The values are not of one instant: the actors go on meanwhile."""
    return Survey(_node(root), root.host.living_zombies(), root.host.letters.total)


def _node(cell: Cell) -> Node:
    now, record = cell.host.clock.now(), cell.record
    due = record.due if record else None
    return Node(
        name=cell.spec.id,
        path=cell.path,
        status=_status(cell),
        supervisor=cell.spec.behaviour is Supervisor,
        restarts=record.restarts if record else 0,
        again_seconds=None if due is None else max(0.0, due - now),
        mailbox=cell.mailbox.depth,
        handled=cell.handled,
        busy_seconds=cell.busy,
        error="" if cell.cause is None else repr(cell.cause)[:LONGEST_ERROR],
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
    breaker, bucket = state.breaker, state.bucket
    return Circuit(
        phase=breaker.phase,
        in_flight=len(cell.keep.get("in_flight", ())),
        probe_seconds=breaker.wait(now) if breaker.phase is Phase.OPEN else 0.0,
        paused_seconds=max(0.0, state.paused_until - now),
        limited_seconds=bucket.wait(now) if bucket else 0.0,
        diverted=state.diverted,
    )
