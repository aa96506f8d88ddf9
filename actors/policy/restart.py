"""What a supervisor decides when a child ends: the pure half of supervision.

A child that ends is restarted, forgotten or left down by its restart type; the strategy says which siblings
go with it; too many restarts in a period end the supervisor (or, for a child with an intensity of its own,
degrade that child alone); backoff says when. Nothing here touches a thread: `handle` returns actions.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

RETRY = 0.001
"""Seconds at least until a start that failed is tried again. Meanwhile the supervisor serves its mailbox, so
that a loop of failing starts can be looked at and stopped (OTP-9549)."""


class Strategy(StrEnum):
    """Which siblings are restarted with a child (Erlang/OTP's names and meaning)."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class Restart(StrEnum):
    """When a child is restarted: always, unless it ended orderly, never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class AutoShutdown(StrEnum):
    """Whether a supervisor ends when its significant children have ended.

    By themselves: one that an operator stops, or that is stopped along with a sibling, ends nobody (OTP's
    design principles, "Automatic Shutdown"; supervisor.erl calls `do_auto_shutdown` in `do_restart` only).
    """

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Exit(StrEnum):
    """How a child ended: `normal` and `shutdown` are orderly."""

    NORMAL = "normal"
    SHUTDOWN = "shutdown"
    CRASH = "crash"


class Status(StrEnum):
    """Where a child stands, as introspection shows it."""

    RUNNING = "running"
    RESTARTING = "restarting"
    DEGRADED = "degraded"
    UNDEFINED = "undefined"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a child stays down: doubling from `minimum` to `maximum` seconds, plus a share of jitter.

    After `reset_after` seconds of running (by default the middle of both) it begins at `minimum` again.
    """

    minimum: float = 0.0
    maximum: float = 0.0
    jitter: float = 0.0
    reset_after: float | None = None

    def delay(self, failures: int, dice: float) -> float:
        """Return the wait after `failures` failures in a row (from 1); `dice` is uniform in [0, 1)."""
        base = min(self.maximum, self.minimum * 2.0 ** min(failures - 1, 64))
        return max(base, self.minimum) * (1 + self.jitter * dice)

    def forgets(self, uptime: float) -> bool:
        """Say whether a child that ran this long begins anew."""
        after = (self.minimum + self.maximum) / 2 if self.reset_after is None else self.reset_after
        return uptime > after


@dataclass(frozen=True, slots=True)
class Intensity:
    """How many restarts in how many seconds are too many: more than `restarts`."""

    restarts: int
    within: float


@dataclass(frozen=True, slots=True)
class ChildPolicy:
    """How one child is restarted.

    Attributes:
        own: an intensity of its own: exceeding it degrades the child and does not count for its supervisor.
        cooldown: seconds after which a degraded child is tried again; None: nobody can do without it, so
            exceeding its own intensity ends the supervisor.
    """

    id: str
    restart: Restart = Restart.PERMANENT
    backoff: Backoff = field(default_factory=Backoff)
    significant: bool = False
    own: Intensity | None = None
    cooldown: float | None = 60.0


@dataclass(slots=True)
class Child:
    """One child's history, as the machine keeps it. `due`: when it is to be started again."""

    policy: ChildPolicy
    status: Status = Status.UNDEFINED
    since: float = 0.0
    failures: int = 0
    restarts: int = 0
    due: float | None = None
    recent: deque[float] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop these children, in this order, without forgetting them."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Start these children, in this order; report each with `started` or `ended`."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove this child: it is temporary and has ended."""

    id: str


@dataclass(frozen=True, slots=True)
class Degrade:
    """This child crashed too often; it stays down for its cool-down and its siblings go on."""

    id: str


@dataclass(frozen=True, slots=True)
class Escalate:
    """Too many restarts: the supervisor itself has failed."""

    why: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The significant children have ended: the supervisor ends orderly."""


Action = Stop | Start | Forget | Degrade | Escalate | Finish


class RestartPolicy:
    """The restart decisions of one supervisor.

    Args:
        strategy: which siblings go with a child.
        intensity: for all children without one of their own.
        auto_shutdown: whether significant children end the supervisor.
        dice: uniform numbers in [0, 1) for jitter.
    """

    def __init__(
        self,
        strategy: Strategy,
        intensity: Intensity,
        dice: Callable[[], float],
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    ) -> None:
        self.strategy = Strategy(strategy)
        self.intensity = intensity
        self.auto_shutdown = AutoShutdown(auto_shutdown)
        self._dice = dice
        self._recent: deque[float] = deque()
        self.children: dict[str, Child] = {}

    def add(self, policies: Iterable[ChildPolicy]) -> None:
        """Take children in, last in the order; a known id gets its new policy and keeps its history."""
        for policy in policies:
            known = self.children.get(policy.id)
            if known:
                known.policy = policy
            else:
                self.children[policy.id] = Child(policy)

    def reorder(self, ids: Sequence[str]) -> None:
        """Put the children into this order."""
        self.children = {id_: self.children[id_] for id_ in ids}

    def remove(self, id_: str) -> None:
        """Forget a child."""
        self.children.pop(id_, None)

    def started(self, id_: str, now: float) -> None:
        """Note that a child runs."""
        child = self.children[id_]
        child.status, child.since, child.due = Status.RUNNING, now, None

    def stopped(self, id_: str) -> None:
        """Note that a child was stopped on purpose: by an operator, or to be replaced."""
        child = self.children[id_]
        child.status, child.due = Status.UNDEFINED, None

    def ended(self, id_: str, how: Exit, now: float) -> list[Action]:
        """Decide what follows when a child ended by itself, or did not come up."""
        child = self.children[id_]
        if child.policy.restart is Restart.TEMPORARY:
            self.remove(id_)
            return [Forget(id_), *self._auto_shutdown(child)]
        if child.policy.restart is Restart.TRANSIENT and how is not Exit.CRASH:
            child.status = Status.UNDEFINED
            return self._auto_shutdown(child)
        return self._restart(child, now)

    def due(self, now: float) -> list[Action]:
        """Return the starts whose time has come."""
        ids = tuple(id_ for id_, child in self.children.items() if child.due is not None and child.due <= now)
        for id_ in ids:
            child = self.children[id_]
            if child.status is Status.DEGRADED:
                child.recent.clear()
                child.failures = 0
            child.due, child.status = None, Status.RESTARTING
        return [Start(ids)] if ids else []

    def next_due(self) -> float | None:
        """Return when `due` will have something next."""
        return min((child.due for child in self.children.values() if child.due is not None), default=None)

    def _restart(self, child: Child, now: float) -> list[Action]:
        ran = child.status is Status.RUNNING
        child.restarts += 1
        if ran and child.policy.backoff.forgets(now - child.since):
            child.failures = 0
        child.failures += 1
        child.status = Status.RESTARTING
        own, cooldown = child.policy.own, child.policy.cooldown
        limit, recent = (self.intensity, self._recent) if own is None else (own, child.recent)
        if _exceeds(recent, limit, now):
            if own is None or cooldown is None:
                most = f"{limit.restarts} restarts in {limit.within:g} s"
                return [Escalate(f"{child.policy.id}: more than {most}")]
            child.status, child.due = Status.DEGRADED, now + cooldown
            return [Degrade(child.policy.id)]
        group = self._group(child.policy.id)
        actions = self._take_along(child, group) if len(group) > 1 else []
        delay = child.policy.backoff.delay(child.failures, self._dice())
        wait = delay if ran else max(delay, RETRY)
        starting = tuple(id_ for id_ in group if id_ in self.children)
        for id_ in starting:
            self.children[id_].status = Status.RESTARTING
            self.children[id_].due = now + wait if wait else None
        return actions if wait else [*actions, Start(starting)]

    def _take_along(self, child: Child, group: list[str]) -> list[Action]:
        """Stop the siblings that are restarted with a child; temporary ones do not come back."""
        actions: list[Action] = []
        if running := tuple(i for i in reversed(group) if self.children[i].status is Status.RUNNING):
            actions.append(Stop(running))
        for id_ in group:
            if id_ != child.policy.id and self.children[id_].policy.restart is Restart.TEMPORARY:
                self.remove(id_)
                actions.append(Forget(id_))
        return actions

    def _group(self, id_: str) -> list[str]:
        """Return the children that are restarted together, in start order."""
        if self.strategy is Strategy.ONE_FOR_ONE:
            return [id_]
        ids = list(self.children)
        return ids if self.strategy is Strategy.ONE_FOR_ALL else ids[ids.index(id_) :]

    def _auto_shutdown(self, ended: Child) -> list[Action]:
        if not ended.policy.significant or self.auto_shutdown is AutoShutdown.NEVER:
            return []
        others = (c for c in self.children.values() if c is not ended and c.policy.significant)
        alive = any(child.status is not Status.UNDEFINED for child in others)
        wait = self.auto_shutdown is AutoShutdown.ALL_SIGNIFICANT and alive
        return [] if wait else [Finish()]


def _exceeds(recent: deque[float], intensity: Intensity, now: float) -> bool:
    """Note a restart; say whether it is one too many in the period."""
    recent.append(now)
    while recent and recent[0] <= now - intensity.within:
        recent.popleft()
    return len(recent) > intensity.restarts
