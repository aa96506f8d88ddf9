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

ACTOR_START = 30.0
"""Seconds an actor gets to start. OTP has no such limit; here a child that hangs would hang its siblings."""


class SpecError(KnellError, ValueError):
    """A child spec is wrong; nothing was started."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One child of a supervisor.

    Attributes:
        id: its name, unique among its siblings.
        behaviour: makes a behaviour from a context and `args`, at every start.
        restart: permanent, transient or temporary.
        shutdown: seconds to stop in, or `BRUTAL`, or `INFINITY`. None becomes `ACTOR_SHUTDOWN`, or `INFINITY`
            for a supervisor, whose children have deadlines of their own.
        start_timeout: seconds `on_start` may take, or `INFINITY`. None becomes `ACTOR_START`, or `INFINITY`
            for a supervisor.
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
    shutdown: float | Literal["brutal", "infinity"] | None = None
    start_timeout: float | Literal["infinity"] | None = None
    hang_after: float | None = None
    mailbox: int | None = None
    attempts: int = 1
    backoff: Backoff = field(default_factory=Backoff)
    significant: bool = False
    own: Intensity | None = None
    cooldown: float | None = 60.0

    def __post_init__(self) -> None:
        for name, seconds in (("shutdown", ACTOR_SHUTDOWN), ("start_timeout", ACTOR_START)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, INFINITY if self.supervises else seconds)

    @property
    def supervises(self) -> bool:
        """Whether it is a supervisor."""
        return bool(getattr(self.behaviour, "supervises", False))

    @property
    def policy(self) -> ChildPolicy:
        """What the restart policy needs to know of it."""
        return ChildPolicy(self.id, self.restart, self.backoff, self.significant, self.own, self.cooldown)

    @property
    def seconds(self) -> float | None:
        """How long to wait for it to stop; None = for ever."""
        return 0.0 if self.shutdown == BRUTAL else _limit(self.shutdown)

    @property
    def start_seconds(self) -> float | None:
        """How long to wait until it is up; None = for ever."""
        return _limit(self.start_timeout)


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
    for name, right, otherwise in _FIELDS:
        value = getattr(spec, name)
        if not right(value):
            raise SpecError(f"{spec.id}: {name} {value!r} {otherwise}")
    if spec.significant and spec.restart is Restart.PERMANENT:
        raise SpecError(f"{spec.id}: a permanent child never ends, so it cannot be significant")
    if spec.significant and auto_shutdown is AutoShutdown.NEVER:
        raise SpecError(f"{spec.id}: significant means nothing with auto_shutdown 'never'")


def _limit(value: float | str | None) -> float | None:
    return None if value is None or value == INFINITY else float(value)


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _backoff(value: Any) -> bool:
    return isinstance(value, Backoff) and all(
        _seconds(number) for number in (value.minimum, value.maximum, value.jitter, value.reset_after or 0.0)
    )


def _intensity(value: Any) -> bool:
    return isinstance(value, Intensity) and _count(value.restarts + 1) and _seconds(value.within)


_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("behaviour", callable, "cannot be called"),
    ("args", lambda value: isinstance(value, Mapping), "is no mapping"),
    ("restart", lambda value: isinstance(value, Restart), f"is none of {', '.join(Restart)}"),
    (
        "shutdown",
        lambda value: value in (BRUTAL, INFINITY) or _seconds(value),
        f"is neither seconds, {BRUTAL!r} nor {INFINITY!r}",
    ),
    (
        "start_timeout",
        lambda value: value == INFINITY or _seconds(value),
        f"is neither seconds nor {INFINITY!r}",
    ),
    ("hang_after", lambda value: value is None or _seconds(value), "is no number of seconds"),
    ("mailbox", lambda value: value is None or _count(value), "is not 1 or more"),
    ("attempts", _count, "is not 1 or more"),
    ("backoff", _backoff, "is no backoff"),
    ("significant", lambda value: isinstance(value, bool), "is neither true nor false"),
    ("own", lambda value: value is None or _intensity(value), "is no intensity"),
    ("cooldown", lambda value: value is None or _seconds(value), "is no number of seconds"),
)
"""The fields of a spec: which values are right, and what is said about another."""
