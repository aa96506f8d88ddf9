"""One history: what a seed decides, played with the actors of production until everything has ended."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any, ClassVar, cast

import pykka
from prometheus_client import CollectorRegistry

import knell.log
from knell.actors import router as router_module
from knell.actors.cell import Cell
from knell.actors.channel import ChannelActor, Equipment, Sending
from knell.actors.clock import Clock
from knell.actors.context import Fenced
from knell.actors.host import Host
from knell.actors.io import Finished, IoLoop
from knell.actors.mail import Begin, Settled, Submit
from knell.actors.mailbox import Hand
from knell.actors.outbox import Outbox
from knell.actors.policy.breaker import Phase
from knell.actors.policy.channel import Reset, Withdrawn
from knell.actors.receipt import Receipt
from knell.actors.spec import Spec
from knell.actors.system import System
from knell.actors.telemetry import Telemetry
from knell.channels.base import Channel
from knell.errors import StoreError

from .audit import Auditor, Request
from .cells import SimulatedCell, Stage
from .clockwork import Clockwork, Thread
from .memory_store import Disk
from .network import Network, SimulatedChannel, Templates, Wire
from .plan import Plan, Told, draw

EPOCH = 1_700_000_000.0
"""What the wall clock shows at virtual second 0."""

HORIZON = 12 * 3600.0
"""Virtual seconds after the last fault in which everything has to end."""

PATIENCE = 60.0
"""Virtual seconds after which somebody who tells an event and hears nothing tells it again."""

ROUND = 600.0
"""Virtual seconds between two looks of an operator."""

REST = 60.0
"""Virtual seconds that a history goes on after its end, for what should not happen any more."""


class InjectedError(Exception):
    """A bug that nobody has written yet: an actor crashes."""


class Ack(Receipt):
    """A receipt that says when it changes."""

    def __init__(self, told: Told, decided: Callable[["Ack"], None]) -> None:
        super().__init__(told.sealed.event.event_id)
        self.told = told
        self.channels: list[str] = []
        self._decided_by = decided

    def accept(self, channels: list[str], *, duplicate: bool = False) -> None:
        """Note that the event is durable."""
        super().accept(channels, duplicate=duplicate)
        self.channels = channels
        self._decided_by(self)

    def refuse(self, reason: str) -> None:
        """Note that it was not accepted."""
        super().refuse(reason)
        self._decided_by(self)


class Metrics(Telemetry):
    """The metrics of all simulated processes: made once, because that takes as long as a whole history."""

    def close(self) -> None:
        """Stay for the next one."""


METRICS = Metrics(CollectorRegistry())


class SimulatedSystem(System):
    """The real topology with the real actors, in simulated surroundings."""

    cell: ClassVar[type[Cell]] = SimulatedCell

    def __init__(self, world: "World", stage: Stage) -> None:
        self._world = world
        self._stage = stage
        classes: dict[str, type[Channel]] = dict.fromkeys(world.plan.config.channels, SimulatedChannel)
        super().__init__(
            world.plan.config, classes, METRICS.registry, clock=stage.clock, on_fatal=world.fatal
        )

    def _surroundings(self, clock: Clock) -> Host:  # noqa: ARG002 - it is in the stage
        return self._stage

    def _metrics(self, registry: CollectorRegistry) -> Telemetry:  # noqa: ARG002
        return METRICS

    def _equip(self) -> Equipment:
        poison = {told.sealed.event.event_id for told in self._world.plan.events if told.poison}
        return Equipment(cast("Any", Templates(poison)), cast("Any", Unused()), METRICS)

    def _outbox(self) -> Spec:
        args = {"url": "memory", "telemetry": METRICS, "find": self._world.find_store}
        return self._worker("outbox", self._world.outbox, args, hang_after=None, mailbox=None)

    def _channel_specs(self) -> tuple[Spec, ...]:
        return tuple(replace(spec, behaviour=self._world.channel) for spec in super()._channel_specs())


class Unused:
    """Stands for the HTTP client."""

    async def close(self) -> None:
        """Close nothing."""


class Quiet:
    """Stands for the log: keeps lines for a trace, or drops them."""

    def __init__(self, note: Callable[..., None] | None) -> None:
        self._note = note

    def __getattr__(self, level: str) -> Callable[..., None]:
        return _drop if self._note is None else partial(self._line, level)

    def _line(self, level: str, event: str, **fields: Any) -> None:
        assert self._note is not None
        self._note("log", level, event, {key: value for key, value in fields.items() if key != "event_id"})


def _drop(*_: Any, **__: Any) -> None:
    return


@dataclass(repr=False, eq=False)
class World:
    """One history.

    Args:
        seed: decides everything.
        outbox, channel, make_disk: what plays these parts: the real ones, or mutants.
        verbose: whether the trace has log lines and whole messages.
    """

    seed: int
    outbox: type[Outbox] = Outbox
    channel: type[ChannelActor] = ChannelActor
    make_disk: Callable[[Any], Disk] = Disk
    verbose: bool = False
    trace: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)
        self.plan: Plan = draw(self.dice)
        self.faults = self.plan.faults
        self.clockwork = Clockwork(self.dice, self.faults.lag)
        self.disk = self.make_disk(self)
        concurrency = {name: section.concurrency for name, section in self.plan.config.channels.items()}
        self.audit = Auditor(self.disk, self.clockwork.stop, concurrency)
        self.network = Network(self.dice, self.faults)
        self.system: SimulatedSystem | None = None
        self.up = self.ending = False
        self.open: dict[int, Told] = dict(enumerate(self.plan.events))
        self.acks: list[Ack] = []
        self.stage: Stage = cast("Any", None)

    # The whole

    def play(self) -> None:
        """Play it to its end.

        Raises:
            Violation: an invariant did not hold.
        """
        made, most = knell.log._make, router_module.MOST_UNCONFIRMED
        logger = Quiet(self.note if self.verbose else None)
        knell.log._make = lambda: logger
        router_module.MOST_UNCONFIRMED = 4
        try:
            self._play()
        finally:
            self.end_process()
            knell.log._make = made
            router_module.MOST_UNCONFIRMED = most

    def _play(self) -> None:
        clockwork = self.clockwork
        clockwork.at(0.0, self.boot)
        for number, told in enumerate(self.plan.events):
            clockwork.at(told.at, partial(self.tell, number))
        for at in self.faults.crashes:
            clockwork.at(at, self.crash)
        for at in self.faults.stops:
            clockwork.at(at, self.shut_down)
        clockwork.at(self.faults.end, self.heal)
        clockwork.run(self.faults.end + HORIZON)
        self.audit.finish()
        self.audit.hold(not self.open, "I2: told and never accepted", list(self.open.values()))
        waiting = [ack.id for ack in self.acks if not ack._decided or ack.open]
        self.audit.hold(not waiting, "I2: somebody waits for ever", waiting)
        if self.audit.found is not None:
            raise self.audit.found

    def note(self, what: str, *about: Any) -> None:
        """Write into the trace."""
        self.trace.append((self.clockwork.now, what, *about))

    def digest(self) -> str:
        """Return the SHA-256 of the trace."""
        return hashlib.sha256("\n".join(map(repr, self.trace)).encode()).hexdigest()

    def story(self) -> list[str]:
        """Return the trace for people, a line for each thing that happened."""
        return [f"{at:12.3f}  {what:14} {' '.join(map(_brief, about))}" for at, what, *about in self.trace]

    # Processes

    def boot(self) -> None:
        """Start a process."""
        self.note("boot")
        clockwork = self.clockwork
        self.stage = stage = Stage(
            cast("IoLoop", Wire(self._send)),
            Clock(clockwork.read, lambda: EPOCH + clockwork.now, self.dice.random),
            clockwork=clockwork,
            turn=self._turn,
            telling=self._telling,
            told=self._told,
            threads=[],
        )
        self.system = SimulatedSystem(self, stage)
        stage.threads.append(Thread(clockwork, self._start))

    def _start(self) -> None:
        assert self.system is not None
        try:
            self.system.start()
        except StoreError:
            self.note("start failed")
            self.die()
        self.up = True

    def end_process(self) -> None:
        """Leave nothing of the process but its disk."""
        self.up = False
        system, self.system = self.system, None
        if system is None:
            return
        self.disk.crash()
        for thread in self.stage.threads:
            thread.kill()
        for cell in (system.root, *system.cells()):
            pykka.ActorRegistry.unregister(cell.actor_ref)

    def crash(self) -> None:
        """The process dies, and another one starts."""
        if self.system is None:
            return
        self.note("crash")
        self.end_process()
        self.audit.crash()
        self.acks.clear()
        self.clockwork.at(self.clockwork.now + self.dice.choice([0.1, 1.0, 30.0]), self.boot)

    def die(self) -> None:
        """Let the process die at this very moment, in the middle of whatever the thread does."""
        self.clockwork.at_once(self.crash)
        thread = self.clockwork.current
        if thread is not None:
            thread.park()

    def fatal(self, why: str) -> None:
        """The root gave up: `knell run` ends then."""
        if self.system is None:
            return  # it is being ended already
        self.note("fatal", why)
        self.clockwork.at_once(self.crash)

    def shut_down(self) -> None:
        """Somebody stops the process in good order."""
        if self.up:
            self.up = False
            self.note("stop")
            self.stage.threads.append(Thread(self.clockwork, self._stop))

    def _stop(self) -> None:
        assert self.system is not None
        self.system.stop(timeout=10.0)
        self.die()

    # Faults

    @property
    def healed(self) -> bool:
        """Whether the faults have stopped."""
        return self.clockwork.now >= self.faults.end

    def heal(self) -> None:
        """From now on everything works, and an operator looks after what is disabled, now and then."""
        self.note("healed")
        for visit in range(int(HORIZON / ROUND)):
            self.clockwork.at(self.clockwork.now + visit * ROUND, self._reset)
        self._look()

    def _reset(self) -> None:
        if not self.up:
            return
        for cell in self._channels().values():
            state = cell.keep.get("state")
            if state is not None and state.breaker.phase is Phase.DISABLED:
                cell.actor_ref.tell(Reset())

    def _channels(self) -> dict[str, Cell]:
        channels = self.system.root.children.get("channels") if self.system else None
        return channels.children if channels else {}

    def happens(self, share: float) -> bool:
        """Say whether a fault of this share happens now."""
        return share > 0 and not self.healed and self.dice.random() < share

    def touch(self, what: str) -> None:
        """Disk: read or write something."""
        if self.happens(self.faults.store_fails):
            self.note("store fails", what)
            raise StoreError(f"injected: {what}")

    def commit(self, make_durable: Callable[[], None]) -> None:
        """Disk: make a transaction durable."""
        faults, thread = self.faults, self.clockwork.current
        if self.happens(faults.slow) and thread is not None:
            thread.sleep(2.0 * self.dice.random() ** 2)
        if self.happens(faults.commit_fails):
            self.note("commit fails")
            raise StoreError("injected: commit")
        if self.happens(faults.crash_in_commit):
            self.die()
        make_durable()
        self.audit.commit()
        if self.happens(faults.crash_in_commit):
            self.die()
        self._look()

    @property
    def over(self) -> bool:
        """Whether everything has come to its end."""
        return self.healed and not self.open and not any(self.disk.live.values())

    def _look(self) -> None:
        """Go on for a while only, when everything has ended."""
        if self.over and not self.ending:
            self.ending = True
            self.clockwork.at(self.clockwork.now + REST, self._end)

    def _end(self) -> None:
        self.ending = False
        if self.over:
            self.clockwork.stop()

    def find_store(self, _url: str) -> Any:
        """Return another store on the one disk."""
        return self.disk.store()

    # What the stage tells

    def _turn(self, cell: SimulatedCell, hand: Hand) -> None:
        self.audit.turn(cell)
        for envelope in hand:
            if type(envelope.message) is Withdrawn:
                self.audit.withdraw(envelope.message.attempt.rows)
        if self.verbose:
            self.note("turn", cell.path, *[envelope.message for envelope in hand])
        else:
            self.note("turn", cell.path, *[type(envelope.message).__name__ for envelope in hand])

    def _telling(self, message: Any) -> None:
        thread = self.clockwork.current
        cell = thread.owner if thread is not None else None
        if self.system is None:
            return
        if type(message) is Settled:
            self.audit.settle(settlement.delivery.row for settlement in message.settlements)
        if not isinstance(cell, SimulatedCell) or cell.mailbox.hand is None:
            return
        assert thread is not None
        if type(message) is Begin:
            self.audit.admit(cell, message.attempt, thread.read_at)
        if not cell.children:
            self._disturb(cell, thread)

    def _disturb(self, cell: SimulatedCell, thread: Thread) -> None:
        if self.happens(self.faults.actor):
            self.note("actor crashes", cell.path)
            raise InjectedError
        if cell.spec.hang_after is not None and self.happens(self.faults.hang):
            self.note("actor hangs", cell.path)
            epoch = cell.mailbox.epoch
            thread.sleep(self.faults.longest * self.dice.random())
            if cell.mailbox.epoch != epoch:
                raise Fenced

    def _told(self, cell: SimulatedCell) -> None:
        if self.system is not None:
            self.audit.told(cell, 1000)

    # The wire

    def _send(self, sending: Sending, finished: Finished) -> None:
        attempt = sending.attempt
        channel = attempt.deliveries[0].channel
        request = self.audit.send(attempt)
        fate = self.network.fate(channel, self.clockwork.now)
        self.note("send", channel, attempt.rows)
        system = self.system
        if fate.arrives is not None:
            self.clockwork.at(self.clockwork.now + fate.arrives, partial(self._arrive, request))

        def end() -> None:
            if self.system is system:
                if fate.arrives is not None:
                    self._arrive(request)  # it has, at this very moment at the latest
                self.audit.end(request, fate.outcome)
                self.note(
                    "end",
                    channel,
                    attempt.rows,
                    fate.outcome if self.verbose else type(fate.outcome).__name__,
                )
                if isinstance(fate.outcome, BaseException):
                    finished(None, fate.outcome, fate.ends)
                else:
                    finished(fate.outcome, None, fate.ends)

        self.clockwork.at(self.clockwork.now + fate.ends, end)

    def _arrive(self, request: Request) -> None:
        if request.arrived:
            return
        self.note("arrive", request.attempt.rows)
        self.audit.arrive(request)

    # Those who tell events

    def tell(self, number: int) -> None:
        """Tell an event, until it is accepted."""
        if number not in self.open:
            return
        told = self.open[number]
        if not self.up or self.system is None:
            self.clockwork.at(self.clockwork.now + 5.0, partial(self.tell, number))
            return
        ack = Ack(told, partial(self._decided, number, self.system))
        self.acks.append(ack)
        with suppress(pykka.ActorDeadError):
            self.system.router.tell(Submit(told.sealed, ack, told.key))
        self.clockwork.at(self.clockwork.now + PATIENCE, partial(self.tell, number))

    def _decided(self, number: int, system: SimulatedSystem, ack: Ack) -> None:
        if self.system is not system:
            return  # the process is dead
        if ack.refused is not None:
            self.note("refused", ack.id, ack.refused)
            return
        self.note("accepted", ack.id, *ack.channels)
        self.open.pop(number, None)
        self.audit.acknowledge(ack.id, ack.channels)
        self._look()
        if self.happens(self.faults.crash_after_ack):
            self.die()


_EVENT = re.compile(r"NotificationEvent\([^|]{0,500}?event_id='([^']*)'\)")
_DELIVERY = re.compile(
    r"Delivery\(row=(\d+), event=(\S+), channel='(\w+)', order_key='([^']*)', attempts=(\d+), crashes=(\d+)[^)]*\)"
)


def _brief(about: object) -> str:
    """Write something for people: an event as its id, a delivery as its row, and nothing too long."""
    text = _EVENT.sub(r"\1", str(about)[:3000])
    return _DELIVERY.sub(r"<\1 \2 \3 \4 attempts=\5 crashes=\6>", text)[:300]
