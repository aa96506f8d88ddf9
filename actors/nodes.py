"""What the supervision tree looks like, as plain values: `tree.survey` makes them, `GET /v1/tree` sends them.

Apart from the actors, so that a command that only shows them imports none.
"""

import msgspec

from .policy.breaker import Phase
from .policy.restart import Status


class Circuit(msgspec.Struct, frozen=True, kw_only=True):
    """What holds a channel back.

    Attributes:
        phase: the breaker's state.
        in_flight: attempts that have begun and not ended.
        probe_seconds: what is left until an open breaker lets a probe through.
        paused_seconds: what is left of a pause that a provider asked for.
        limited_seconds: what is left until the rate limit lets the next message through.
        diverted: whether its fallback channels get its deliveries too.
    """

    phase: Phase
    in_flight: int
    probe_seconds: float = 0.0
    paused_seconds: float = 0.0
    limited_seconds: float = 0.0
    diverted: bool = False


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One actor.

    Attributes:
        status: running, restarting, degraded, or undefined for one that was stopped or never came up.
        restarts: how often it was started again.
        again_seconds: what is left until it is started again; None when no start is planned.
        mailbox: messages that wait.
        handled: messages it has handled.
        busy_seconds: age of the message in hand; None when it is idle.
        error: what it crashed with last.
    """

    name: str
    path: str
    status: Status
    supervisor: bool = False
    restarts: int = 0
    again_seconds: float | None = None
    mailbox: int = 0
    handled: int = 0
    busy_seconds: float | None = None
    error: str = ""
    circuit: Circuit | None = None
    children: tuple["Node", ...] = ()


class Survey(msgspec.Struct, frozen=True):
    """The whole tree.

    Attributes:
        root: the actor at the top.
        zombies: hung threads that were given up and have not ended.
        dead_letters: messages that no actor handled.
    """

    root: Node
    zombies: int
    dead_letters: int
