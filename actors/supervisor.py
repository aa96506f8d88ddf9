"""The supervisor: starts its children in order, restarts them by policy, stops them in reverse.

A behaviour like any other, so supervisors nest: one that gives up crashes, and its own parent decides. All
decisions are `policy.restart`'s; this file carries them out. Ask it through `control.Control`.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pykka

from knell.errors import KnellError
from knell.log import log

from .behaviour import Behaviour, Shutdown, Signal, Timer
from .children import Children
from .context import Context
from .orders import ActorEvent, ChildEnded
from .policy import restart
from .policy.restart import AutoShutdown, Exit, Intensity, Restart, RestartPolicy, Status, Strategy
from .spec import Spec, SpecError, check_specs

DEFAULT_INTENSITY = Intensity(5, 60.0)
"""OTP's default, 1 in 5 s, is too tight for workers that talk to a network.

OTP's design principles ("Tuning the intensity and period") read the two numbers as a burst that is survived,
here five crashes at once, and a rate that is borne for ever, here one crash in 12 s.
"""


class EscalatedError(KnellError):
    """A supervisor gives up: too many restarts in its period, or too many hung threads."""


class StartError(KnellError):
    """A child did not come up, so its supervisor did not either."""


class RefusedError(KnellError):
    """The supervisor refuses a request; `code` is OTP's word for it."""

    def __init__(self, id_: str, code: str) -> None:
        super().__init__(f"{id_}: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """A request of `Control`, by the name of the method that answers it."""

    name: str
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child as introspection shows it; `ref` is None while its mailbox is closed."""

    id: str
    status: Status
    ref: pykka.ActorRef[Any] | None
    restarts: int
    supervisor: bool


class Supervisor(Behaviour):
    """Supervises the children its specs name.

    Args:
        specs: the children, in start order; after the first start, what `apply` made of them.
        strategy: which siblings are restarted with a child.
        intensity: how many restarts are too many.
        auto_shutdown: whether the end of significant children ends the supervisor.
        together: stop the children all at once, where none needs another.
        keep: let the children run on while this supervisor is restarted after a crash of its own.
    """

    supervises = True

    def __init__(
        self,
        ctx: Context,
        *,
        specs: Sequence[Spec],
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        intensity: Intensity = DEFAULT_INTENSITY,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        together: bool = False,
        keep: bool = False,
    ) -> None:
        super().__init__(ctx)
        present: Sequence[Spec] = ctx.keep.get("specs", specs)
        check_specs(present, auto_shutdown)
        self._specs = {spec.id: spec for spec in present}
        self._policy = RestartPolicy(strategy, intensity, ctx.clock.dice, auto_shutdown)
        self._auto_shutdown = auto_shutdown
        self._together = together
        self._keep = keep
        self._children = Children(ctx.cell)

    # Life

    def on_start(self) -> None:
        """Start the children in order; if one does not come up, fail: `on_failure` stops those before it."""
        self._policy.add(spec.policy for spec in self._specs.values())
        kept = self._left_running()
        for spec in self._specs.values():
            record = self._policy.children[spec.id]
            if spec.id in kept:
                self._children.cells[spec.id].record = record
            elif failed := self._children.launch(spec, record):
                raise StartError(f"{spec.id} did not start: {failed.error!r}") from failed.error
            self._policy.started(spec.id, self.ctx.clock.now())
        self._watchdog()

    def on_stop(self) -> None:
        """Stop the children in reverse order; for good, unless this supervisor comes back."""
        self._halt(final=self.ctx.leaving or self._is_root)

    def on_failure(self, error: BaseException) -> None:
        """Stop the children, unless they are kept; where this supervisor may come back, for now only."""
        log.error("supervisor.escalated", actor=self.ctx.cell.path or self.ctx.name, error=str(error))
        self.ctx.cell.host.tell(ActorEvent("escalated", self.ctx.cell.path, str(error)))
        if self._is_root or not self._keep:
            self._halt(final=self._is_root)

    def on_signal(self, signal: Signal) -> None:
        """Take a child's report, or a timer."""
        match signal:
            case ChildEnded():
                self._child_ended(signal)
            case Timer("restart"):
                self._carry_out(self._policy.due(self.ctx.clock.now()))
            case Timer("watchdog"):
                self._look_for_hung()
            case _:
                self.ctx.unhandled(signal)

    def on_receive(self, message: Any) -> Any:
        """Answer a request; a refusal is an answer, not a crash."""
        if not isinstance(message, Request):
            return super().on_receive(message)
        try:
            answer = getattr(self, f"_{message.name}")(*message.args)
        except (SpecError, RefusedError) as error:
            answer = error
        self._check_zombies()  # one that did not stop in time may have been one too many
        return answer

    # What the policy decides

    def _child_ended(self, report: ChildEnded) -> None:
        id_, cell = report.cell.spec.id, report.cell
        if self._children.cells.get(id_) is not cell or report.epoch != cell.mailbox.epoch:
            return  # it was replaced or fenced meanwhile
        if self._policy.children[id_].status is Status.UNDEFINED:
            return  # it crashed on its way to a stop that somebody asked for
        if report.ended.how is Exit.CRASH:
            self._children.note("crashed", cell, report.ended.error)
        try:
            self._ended(id_, report.ended.how)
        finally:
            self._children.tell()

    def _ended(self, id_: str, how: Exit) -> None:
        self._check_zombies()
        self._carry_out(self._policy.ended(id_, how, self.ctx.clock.now()))
        child = self._policy.children.get(id_)
        if child is not None and child.status is Status.UNDEFINED:  # transient, and its work is done
            self._children.halt([id_], final=True)

    def _carry_out(self, actions: Iterable[restart.Action]) -> None:
        todo = deque(actions)
        while todo:
            match todo.popleft():
                case restart.Stop(ids):
                    self._children.halt(ids, final=False)
                case restart.Start(ids):
                    todo.extendleft(reversed(self._start_round(ids)))
                case restart.Forget(id_):
                    self._forget(id_)
                case restart.Degrade(id_):
                    self._note("degraded", id_, self._children.cells[id_].cause)
                case restart.Escalate(why):
                    raise EscalatedError(why)
                case restart.Finish():
                    raise Shutdown
        if (at := self._policy.next_due()) is not None:
            self.ctx.wake_at("restart", at)

    def _start_round(self, ids: tuple[str, ...]) -> list[restart.Action]:
        """Start children in order; when one fails, what follows from that comes before the others' turn."""
        for position, id_ in enumerate(ids):
            if more := self._start_again(id_):
                return [*more, restart.Start(ids[position + 1 :])]
        return []

    def _start_again(self, id_: str) -> list[restart.Action]:
        child = self._policy.children.get(id_)
        if child is None or child.status is not Status.RESTARTING or child.due is not None:
            return []  # a sibling that failed before it in the same round has put it off
        if failed := self._children.launch(self._specs[id_], child):
            self._note("crashed", id_, failed.error)
            self._check_zombies()
            return self._policy.ended(id_, failed.how, self.ctx.clock.now())
        self._policy.started(id_, self.ctx.clock.now())
        return []

    # Hung children

    def _watchdog(self) -> None:
        """Wake up when the first child could be hung; never, when no child has a limit."""
        now = self.ctx.clock.now()
        limits = [
            (now if cell.mailbox.hand is None else cell.mailbox.since) + cell.spec.hang_after
            for cell in self._children.cells.values()
            if cell.spec.hang_after is not None
        ]
        if limits:
            self.ctx.wake_at("watchdog", min(limits))

    def _look_for_hung(self) -> None:
        now = self.ctx.clock.now()
        for id_, cell in list(self._children.cells.items()):
            hand, limit = cell.mailbox.hand, cell.spec.hang_after
            # The same sum as in `_watchdog`: a difference rounds differently, and its moment is not yet due.
            if limit is None or hand is None or now < cell.mailbox.since + limit:
                continue
            if cell.fence(hand, "hung"):
                self._note("hung", id_, TimeoutError(f"one message took more than {limit:g} s"))
                self._ended(id_, Exit.CRASH)
        self._watchdog()

    def _check_zombies(self) -> None:
        """Give up when too many threads hang; the supervisors above, told of that crash, give up as well."""
        host = self.ctx.cell.host
        if (zombies := host.living_zombies()) > host.max_zombies:
            raise EscalatedError(f"{zombies} hung threads, more than {host.max_zombies}")

    # Requests

    def _start_child(self, spec: Spec) -> pykka.ActorRef[Any]:
        if known := self._policy.children.get(spec.id):
            running = known.status is Status.RUNNING
            raise RefusedError(spec.id, "already_started" if running else "already_present")
        check_specs((*self._specs.values(), spec), self._auto_shutdown)
        self._specs[spec.id] = spec
        self._policy.add([spec.policy])
        try:
            return self._start_now(spec.id)
        except RefusedError:
            self._forget(spec.id)
            raise

    def _restart_child(self, id_: str) -> pykka.ActorRef[Any]:
        self._require_down(id_)
        return self._start_now(id_)

    def _terminate_child(self, id_: str) -> None:
        self._require_known(id_)
        if self._specs[id_].restart is Restart.TEMPORARY:
            self._forget(id_)
        else:
            self._policy.stopped(id_)
            self._children.halt([id_], final=True)

    def _delete_child(self, id_: str) -> None:
        self._require_down(id_)
        self._forget(id_)

    def _apply(
        self, specs: tuple[Spec, ...], strategy: Strategy | None = None, intensity: Intensity | None = None
    ) -> None:
        """Go from the present children to these; those whose spec is unchanged notice nothing."""
        check_specs(specs, self._auto_shutdown)
        self._policy.strategy = strategy or self._policy.strategy
        self._policy.intensity = intensity or self._policy.intensity
        wanted = {spec.id: spec for spec in specs}
        for id_ in [id_ for id_ in reversed(self._specs) if id_ not in wanted]:
            self._forget(id_)
        changed = [id_ for id_, spec in wanted.items() if self._specs.get(id_) != spec]
        self._children.halt([i for i in reversed(changed) if i in self._children.cells], final=False)
        self._specs = wanted
        self._policy.add(wanted[id_].policy for id_ in changed)
        self._policy.reorder(tuple(wanted))
        for id_ in changed:
            self._policy.children[id_].status, self._policy.children[id_].due = Status.RESTARTING, None
        self._carry_out([restart.Start(tuple(changed))])
        self._children.reorder(wanted)
        self._remember()

    def _which_children(self) -> list[ChildInfo]:
        cells = self._children.cells
        return [
            ChildInfo(
                id_,
                child.status,
                None if cells[id_].closed.is_set() else cells[id_].actor_ref,
                child.restarts,
                self._specs[id_].supervises,
            )
            for id_, child in self._policy.children.items()
        ]

    def _count_children(self) -> dict[str, int]:
        infos = self._which_children()
        return {
            "specs": len(infos),
            "active": sum(info.status is Status.RUNNING for info in infos),
            "supervisors": sum(info.supervisor for info in infos),
            "workers": sum(not info.supervisor for info in infos),
        }

    def _get_childspec(self, id_: str) -> Spec:
        self._require_known(id_)
        return self._specs[id_]

    # Small parts

    @property
    def _is_root(self) -> bool:
        return self.ctx.cell.parent is None

    def _halt(self, *, final: bool) -> None:
        self._children.halt(list(reversed(self._children.cells)), final=final, together=self._together)

    def _left_running(self) -> set[str]:
        """Return the children that a crashed predecessor left running and that are kept; stop the others."""
        cells = self._children.cells
        kept = {
            id_ for id_, cell in cells.items() if self._keep and cell.up and cell.spec == self._specs.get(id_)
        }
        self._children.halt([id_ for id_ in reversed(cells) if id_ not in kept], final=False)
        return kept

    def _start_now(self, id_: str) -> pykka.ActorRef[Any]:
        if failed := self._children.launch(self._specs[id_], self._policy.children[id_]):
            self._policy.stopped(id_)
            self._children.halt([id_], final=True)
            raise RefusedError(id_, f"did not start: {failed.error!r}")
        self._policy.started(id_, self.ctx.clock.now())
        self._remember()
        return self._children.cells[id_].actor_ref

    def _forget(self, id_: str) -> None:
        self._children.forget(id_)
        self._specs.pop(id_, None)
        self._policy.remove(id_)
        self._remember()

    def _remember(self) -> None:
        """Keep the present children for the next incarnation, and watch the new ones."""
        self.ctx.keep["specs"] = tuple(self._specs.values())
        self._watchdog()

    def _require_known(self, id_: str) -> None:
        if id_ not in self._children.cells:
            raise RefusedError(id_, "not_found")

    def _require_down(self, id_: str) -> None:
        self._require_known(id_)
        match self._policy.children[id_].status:
            case Status.RUNNING:
                raise RefusedError(id_, "running")
            case Status.RESTARTING | Status.DEGRADED:
                raise RefusedError(id_, "restarting")
            case Status.UNDEFINED:
                return

    def _note(self, kind: str, id_: str, error: BaseException | None) -> None:
        self._children.note(kind, self._children.cells[id_], error)
        self._children.tell()
