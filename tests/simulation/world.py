"""One history: what a seed decides, played with the actors of production until everything has ended."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, cast

import pykka

from knell.actors import router as router_module
from knell.actors.clock import Clock
from knell.actors.context import Fenced
from knell.actors.io import IoLoop
from knell.actors.mail import Begin, Settled
from knell.actors.mailbox import Hand
from knell.actors.policy.breaker import Phase
from knell.actors.policy.channel import ChannelState, Reset, Withdrawn
from knell.errors import StoreError

from .audit import Auditor
from .cells import SimulatedCell, SimulatedMailbox, Stage
from .clockwork import Clockwork, Thread
from .memory_disk import Disk
from .network import Internet, Network, Wire
from .plan import Plan, draw
from .process import Cast, Process
from .producer import Producers
from .trace import Trace

EPOCH = 1_700_000_000.0
"""What the wall clock shows at virtual second 0."""

HORIZON = 12 * 3600.0
"""Virtual seconds after the last fault in which everything has to end."""

ROUND = 600.0
"""Virtual seconds between two looks of an operator."""

REST = 60.0
"""Virtual seconds that a history goes on after its end, for what should not happen any more."""

DRAIN = 10.0
"""Virtual seconds that a process gets to stop in good order."""

MOST_UNCONFIRMED = 4
"""Events the outbox may be behind here before the router takes no more: few, so that it happens."""

MOST_WAITING = 1000
"""Messages that a mailbox without a bound holds at most."""


class InjectedError(Exception):
    """A bug that nobody has written yet: an actor crashes."""


class World:
    """One history.

    Args:
        seed: decides everything.
        who: who plays.
        verbose: see `Trace`.
    """

    def __init__(self, seed: int, who: Cast | None = None, *, verbose: bool = False) -> None:
        self.dice = Random(seed)  # noqa: S311 - not for secrets
        self.plan: Plan = draw(self.dice)
        self.faults = self.plan.faults
        self.clockwork = Clockwork(self.dice, self.faults.lag)
        self.trace = Trace(lambda: self.clockwork.now, verbose=verbose)
        self.disk = Disk(self)
        sections = self.plan.config.channels.items()
        concurrency = {name: section.concurrency for name, section in sections}
        self.audit = Auditor(self.disk, self.clockwork.stop, concurrency)
        network = Network(self.dice, self.faults)
        self._internet = Internet(self.clockwork, network, self.audit, self.trace)
        self._producers = Producers(
            self.clockwork, self.trace, self.audit, self.plan.events, self._taker, self._accepted
        )
        self._cast = who or Cast()
        self._process: Process | None = None
        self._up = self._ending = False
        self._life = 0

    # The whole

    def play(self) -> None:
        """Play it to its end.

        Raises:
            Violation: an invariant did not hold.
        """
        most, router_module.MOST_UNCONFIRMED = router_module.MOST_UNCONFIRMED, MOST_UNCONFIRMED
        try:
            with self.trace.instead_of_the_log():
                self._arrange()
                self.clockwork.run(self.faults.end + HORIZON)
                self.audit.finish()
                self._producers.finish()
                self._end_process()
        finally:
            router_module.MOST_UNCONFIRMED = most
        if self.audit.found is not None:
            raise self.audit.found

    def _arrange(self) -> None:
        at = self.clockwork.at
        at(0.0, self._boot)
        for when in self.faults.crashes:
            at(when, self._crash)
        for when in self.faults.stops:
            at(when, self._shut_down)
        at(self.faults.end, self._heal)

    # Processes

    def _boot(self) -> None:
        self.trace.note("boot")
        clockwork, life = self.clockwork, self._life
        wire = Wire(partial(self._internet.send, lambda: self._life == life))
        stage = Stage(
            cast("IoLoop", wire),
            Clock(clockwork.read, lambda: EPOCH + clockwork.now, self.dice.random),
            clockwork=clockwork,
            turn=self._turn,
            telling=self._telling,
            told=self._told,
        )
        poison = {told.sealed.event.event_id for told in self.plan.events if told.poison}
        self._process = Process(self.plan.config, self.disk, stage, poison, self._cast, self._fatal)
        self._process.spawn(partial(self._start, self._process))

    def _start(self, process: Process) -> None:
        try:
            process.start()
        except (StoreError, InjectedError):
            self.trace.note("start failed")
            self._die()
        self._up = True

    def _end_process(self) -> None:
        """Leave nothing of the process but its disk."""
        self._up = False
        self._life += 1
        self._producers.forget()
        process, self._process = self._process, None
        if process is not None:
            process.vanish()

    def _crash(self) -> None:
        """The process dies, and another one starts."""
        if self._process is None:
            return
        self.trace.note("crash")
        self._end_process()
        self.audit.crash()
        self.clockwork.at(self.clockwork.now + self.dice.choice([0.1, 1.0, 30.0]), self._boot)

    def _die(self) -> None:
        """Let the process die at this very moment, in the middle of whatever its thread does."""
        self.clockwork.at_once(self._crash)
        if self.clockwork.current is not None:
            self.clockwork.current.park()

    def _fatal(self, why: str) -> None:
        """The root gave up: `knell run` ends then."""
        if self._process is not None:
            self.trace.note("fatal", why)
            self.clockwork.at_once(self._crash)

    def _shut_down(self) -> None:
        """Somebody stops the process in good order."""
        if self._process is not None and self._up:
            self._up = False
            self.trace.note("stop")
            self._process.spawn(partial(self._stop, self._process))

    def _stop(self, process: Process) -> None:
        process.stop(timeout=DRAIN)
        if self._process is process:
            self._die()

    def _taker(self) -> Process | None:
        """Return the process that takes events."""
        return self._process if self._up else None

    # The end of all faults

    @property
    def _healed(self) -> bool:
        return self.clockwork.now >= self.faults.end

    def _heal(self) -> None:
        """From now on everything works, and an operator looks after what is disabled, now and then."""
        self.trace.note("healed")
        self._look_after_channels()
        self._look()

    def _look_after_channels(self) -> None:
        self.clockwork.at(self.clockwork.now + ROUND, self._look_after_channels)
        process = self._taker()
        for cell in process.channels if process else ():
            state: ChannelState | None = cell.keep.get("state")
            if state is not None and state.breaker.phase is Phase.DISABLED:
                with suppress(pykka.ActorDeadError):
                    cell.actor_ref.tell(Reset())

    def _look(self) -> None:
        """Go on for a while only, when everything has ended."""
        if self._over and not self._ending:
            self._ending = True
            self.clockwork.at(self.clockwork.now + REST, self._end)

    def _end(self) -> None:
        self._ending = False
        if self._over:
            self.clockwork.stop()

    @property
    def _over(self) -> bool:
        return self._healed and not self._producers.open and self.disk.finished

    # Faults

    def _happens(self, share: float) -> bool:
        return share > 0 and self.dice.random() < share and not self._healed

    def touch(self, what: str) -> None:
        """Disk: read or write something."""
        if self._happens(self.faults.store_fails):
            self.trace.note("store fails", what)
            raise StoreError(f"injected: {what}")

    def commit(self, make_durable: Callable[[], None]) -> None:
        """Disk: make a transaction durable."""
        faults, thread = self.faults, self.clockwork.current
        if thread is not None and self._happens(faults.slow):
            thread.sleep(2.0 * self.dice.random() ** 2)
        if self._happens(faults.commit_fails):
            self.trace.note("commit fails")
            raise StoreError("injected: commit")
        if self._happens(faults.crash_in_commit):
            self._die()
        make_durable()
        self.audit.commit()
        if self._happens(faults.crash_in_commit):
            self._die()
        self._look()

    def _accepted(self) -> None:
        """Let the process die just after it has acknowledged something: that is the worst moment."""
        self._look()
        if self._happens(self.faults.crash_after_ack):
            self._die()

    def _disturb(self, cell: SimulatedCell, thread: Thread) -> None:
        """Let an actor crash or hang, on its way to tell something."""
        if self._happens(self.faults.actor):
            self.trace.note("actor crashes", cell.path)
            raise InjectedError
        if cell.spec.hang_after is not None and self._happens(self.faults.hang):
            self.trace.note("actor hangs", cell.path)
            epoch = cell.mailbox.epoch
            thread.sleep(self.faults.longest * self.dice.random())
            if cell.mailbox.epoch != epoch:
                raise Fenced  # as from `Context.lookup`, which comes before

    # What the stage tells

    def _turn(self, cell: SimulatedCell, hand: Hand) -> None:
        self.audit.turn(cell)
        for envelope in hand:
            if type(envelope.message) is Withdrawn:
                self.audit.withdraw(envelope.message.attempt.rows)
        if self.trace.verbose:
            self.trace.note("turn", cell.path, *(envelope.message for envelope in hand))
        else:
            self.trace.note("turn", cell.path, *[type(envelope.message).__name__ for envelope in hand])

    def _telling(self, message: Any) -> None:
        if self._process is None:
            return  # what a dead process says while it falls apart
        if type(message) is Settled:
            self.audit.settle(settlement.delivery.row for settlement in message.settlements)
        thread = self.clockwork.current
        cell = thread.owner if thread is not None else None
        if thread is None or not isinstance(cell, SimulatedCell) or cell.mailbox.hand is None:
            return
        if type(message) is Begin:
            self.audit.admit(cell, message.attempt, thread.read_at)
        if not cell.children:
            self._disturb(cell, thread)

    def _told(self, mailbox: SimulatedMailbox) -> None:
        if self._process is not None:
            self.audit.told(mailbox, MOST_WAITING)
