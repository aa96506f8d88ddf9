"""The child spec: how a supervisor makes, restarts and stops one actor (after OTP's child specification)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from knell.errors import KnellError

from .behaviour import Behaviour
from .policy.restart import AutoShutdown, Backoff, ChildPolicy, Intensity, Restart

BRUTAL: Literal["brutal"] = "brutal"
"""Shutdown at once, without `on_stop`."""

INFINITY: Literal["infinity"] = "infinity"
"""Shutdown that may take as long as it takes: for supervisors, whose children have deadlines of their own."""

ACTOR_SHUTDOWN = 5.0
"""Seconds an actor gets to stop; OTP's default for a worker."""


class SpecError(KnellError, ValueError):
    """A child spec is wrong; nothing was started."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One child of a supervisor.

    Attributes:
        id: its name, unique among its siblings.
        behaviour: makes a behaviour from a context and `args`, at every start.
        restart: permanent, transient or temporary.
        shutdown: seconds to stop in, or `BRUTAL`, or `INFINITY`.
        start_timeout: seconds `on_start` may take; None = no limit, for supervisors.
        hang_after: seconds one turn may take before its thread is given up; None = for ever.
        mailbox: most waiting messages; None = no bound.
        attempts: how often a message is handed out before its crashes make it a dead letter.
        backoff: the wait before a restart.
        significant: whether its end may end the supervisor (`AutoShutdown`).
        own: an intensity of its own; exceeding it degrades this child instead of ending the supervisor.
        cooldown: seconds after which a degraded child is tried again; None: exceeding its own intensity ends
            the supervisor.
    """

    id: str
    behaviour: Callable[..., Behaviour]
    args: Mapping[str, Any] = field(default_factory=dict[str, Any])
    restart: Restart = Restart.PERMANENT
    shutdown: float | Literal["brutal", "infinity"] = ACTOR_SHUTDOWN
    start_timeout: float | None = 30.0
    hang_after: float | None = None
    mailbox: int | None = None
    attempts: int = 1
    backoff: Backoff = field(default_factory=Backoff)
    significant: bool = False
    own: Intensity | None = None
    cooldown: float | None = 60.0

    @property
    def policy(self) -> ChildPolicy:
        """What the restart policy needs to know of it."""
        return ChildPolicy(self.id, self.restart, self.backoff, self.significant, self.own, self.cooldown)

    @property
    def seconds(self) -> float | None:
        """How long to wait for it to stop; None = for ever."""
        if self.shutdown == INFINITY:
            return None
        return 0.0 if self.shutdown == BRUTAL else float(self.shutdown)


def check_specs(specs: Sequence[Spec], auto_shutdown: AutoShutdown = AutoShutdown.NEVER) -> None:
    """Check the specs of one supervisor together.

    Raises:
        SpecError: naming the child and the value that is wrong.
    """
    seen: set[str] = set()
    for spec in specs:
        if not spec.id:
            raise SpecError("a child spec has no id")
        if spec.id in seen:
            raise SpecError(f"{spec.id}: two children have this id")
        seen.add(spec.id)
        _check(spec, auto_shutdown)


def _check(spec: Spec, auto_shutdown: AutoShutdown) -> None:
    if not callable(spec.behaviour):
        raise SpecError(f"{spec.id}: behaviour {spec.behaviour!r} cannot be called")
    if spec.restart not in list(Restart):
        raise SpecError(f"{spec.id}: restart {spec.restart!r} is none of {', '.join(Restart)}")
    if isinstance(spec.shutdown, str) and spec.shutdown not in {BRUTAL, INFINITY}:
        raise SpecError(f"{spec.id}: shutdown {spec.shutdown!r} is neither seconds, 'brutal' nor 'infinity'")
    for name in ("shutdown", "start_timeout", "hang_after", "cooldown"):
        value = getattr(spec, name)
        if isinstance(value, int | float) and value < 0:
            raise SpecError(f"{spec.id}: {name} {value!r} is negative")
    for name in ("mailbox", "attempts"):
        value = getattr(spec, name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise SpecError(f"{spec.id}: {name} {value!r} is not 1 or more")
    if spec.significant and spec.restart is Restart.PERMANENT:
        raise SpecError(f"{spec.id}: a permanent child never ends, so it cannot be significant")
    if spec.significant and auto_shutdown is AutoShutdown.NEVER:
        raise SpecError(f"{spec.id}: significant means nothing with auto_shutdown 'never'")
