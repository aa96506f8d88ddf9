"""What must hold at every step, whatever goes wrong: the invariants, checked from outside.

I1  acknowledged is stored, at once and after every crash
I2  once faults stop, every delivery ends, and everybody who waits gets an answer
I3  one owner of the store; nothing an incarnation does counts once it was given up
I4  never more than burst + rate x time begin in any window, over restarts of actors too; and never more
    are on the wire at once than the channel may have there
I5  while a breaker is open nothing begins but its probe
I6  within a channel and an order key nothing starts before its predecessor has ended
I7  a provider gets twice only what had an unknown outcome
I8  mailboxes stay within their bounds
I9  deliveries accepted = delivered + dead + expired + cancelled + pending
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from knell.actors.policy.breaker import Phase
from knell.actors.policy.channel import ChannelState
from knell.deliveries import Attempt
from knell.messages import Delivered, Outcome, Unknown
from knell.store.contract import State

from .cells import SimulatedCell, SimulatedMailbox
from .memory_disk import Disk
from .memory_reader import MemoryReader


class Violation(AssertionError):  # noqa: N818 - a finding
    """An invariant does not hold."""


@dataclass(eq=False)
class Request:
    """One request on the wire. `unknown`: whether its sender cannot know whether it arrived."""

    attempt: Attempt
    life: int
    arrived: bool = False
    unknown: bool = False


@dataclass(repr=False, eq=False)
class Auditor:
    """Knows what was promised, and looks at the disk and the wire.

    Attributes:
        disk: what is stored.
        stop: ends the history: most of what is found is found inside an actor, which would only crash.
        concurrency: most requests on the wire at once, by channel.
        found: the first violation.
        running: the rows of attempts that a core let begin, until they are settled or withdrawn.
        wire: those of them that are on the wire.
        busy: how many requests are on the wire, by channel.
    """

    disk: Disk
    stop: Callable[[], None]
    concurrency: dict[str, int]
    found: Violation | None = None
    life: int = 0
    acknowledged: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    requests: list[Request] = field(default_factory=list[Request])
    running: set[int] = field(default_factory=set[int])
    wire: set[int] = field(default_factory=set[int])
    busy: Counter[str] = field(default_factory=Counter[str])
    full_at: dict[str, float] = field(default_factory=dict[str, float])
    epochs: dict[str, int] = field(default_factory=dict[str, int])
    inherited: dict[str, set[tuple[int, ...]]] = field(default_factory=dict[str, set[tuple[int, ...]]])
    arrivals: defaultdict[int, list[Request]] = field(default_factory=lambda: defaultdict(list))
    rows: int = 0

    # What happens

    def acknowledge(self, event_id: str, channels: list[str]) -> None:
        """Somebody is told that an event is durable."""
        known = self.acknowledged.get(event_id, frozenset())
        self.acknowledged[event_id] = known.union(channels)
        self._stored(self.disk.committed(), event_id)

    def admit(self, cell: SimulatedCell, attempt: Attempt, now: float) -> None:
        """A core lets an attempt begin."""
        self.running.update(attempt.rows)
        if (
            attempt.rows in self.inherited[cell.path]
        ):  # let begin by the incarnation before, and asked for again
            self.inherited[cell.path].discard(attempt.rows)
            return
        state: ChannelState = cell.keep["state"]
        breaker = state.breaker
        self.hold(breaker.phase is Phase.CLOSED or breaker.probe == attempt.rows, "I5", attempt)
        if state.bucket is not None:
            interval, burst = state.bucket.interval, state.bucket.burst
            full_at = max(self.full_at.get(cell.spec.id, now), now) + interval
            self.full_at[cell.spec.id] = full_at
            self.hold(full_at - now <= burst * interval + 1e-6, "I4", attempt)

    def settle(self, rows: Iterable[int]) -> None:
        """Attempts at these deliveries are over."""
        self.running.difference_update(rows)

    def withdraw(self, rows: Iterable[int]) -> None:
        """A channel is told that an attempt does not begin."""
        self.settle(set(rows) - self.wire)

    def send(self, attempt: Attempt) -> Request:
        """A request goes on the wire."""
        self.hold(self.running.issuperset(attempt.rows), "I4: nobody let it begin", attempt)
        self.hold(self.wire.isdisjoint(attempt.rows), "I7: one attempt, two requests", attempt)
        self.wire.update(attempt.rows)
        channel = attempt.deliveries[0].channel
        self.busy[channel] += 1
        self.hold(self.busy[channel] <= self.concurrency[channel], "I4: too many at once", attempt)
        disk = self.disk.committed()
        for delivery in attempt.deliveries:
            row = disk.tables.rows[delivery.row]
            self.hold(row.state is State.SENDING, "I1: the attempt is not durable", attempt)
            for other in disk.unfinished(row.channel):
                older = other.order_key == row.order_key != "" and other.id < row.id
                self.hold(not older or other.id in attempt.rows, "I6", (other, row))
        request = Request(attempt, self.life)
        self.requests.append(request)
        return request

    def arrive(self, request: Request) -> None:
        """A provider accepts a message."""
        request.arrived = True
        for row in request.attempt.rows:
            for other in self.arrivals[row]:
                first = min(request, other, key=self.requests.index)
                self.hold(first.unknown, "I7", request.attempt)
            self.arrivals[row].append(request)

    def end(self, request: Request, outcome: Outcome | BaseException) -> None:
        """The sender learns what became of a request."""
        self.wire.difference_update(request.attempt.rows)
        self.busy[request.attempt.deliveries[0].channel] -= 1
        if isinstance(outcome, Unknown | BaseException):
            request.unknown = True
        else:
            arrived = isinstance(outcome, Delivered)
            self.hold(arrived is request.arrived, "the simulation lies", request.attempt)

    def told(self, mailbox: SimulatedMailbox, most: int) -> None:
        """A mailbox has got a message."""
        self.hold(mailbox.waiting <= (mailbox.maxsize or most), "I8", (mailbox.cell.path, mailbox.waiting))

    def turn(self, cell: SimulatedCell) -> None:
        """An incarnation begins a turn."""
        epoch, before = cell.mailbox.epoch, self.epochs.get(cell.path, 0)
        self.hold(before <= epoch, "I3", cell.path)
        if before < epoch:
            self.epochs[cell.path] = epoch
            self.inherited[cell.path] = set(cell.keep.get("in_flight", ()))

    def commit(self) -> None:
        """A transaction is durable."""
        rows = len(self.disk.tables.rows)
        self.hold(rows >= self.rows, "I9: a delivery is gone", (self.rows, rows))
        self.rows = rows

    def crash(self) -> None:
        """The process has died: everything on the wire has an unknown end, everything acknowledged stays."""
        for request in self.requests:
            settled = all(self.disk.tables.rows[row].state >= State.DONE for row in request.attempt.rows)
            if request.life == self.life and not settled:
                request.unknown = True
        self.commit()
        wrong = MemoryReader(self.disk).check() if self.disk.used else []
        self.hold(not wrong, "I6: the store is out of order", wrong)
        for event_id in self.acknowledged:
            self._stored(self.disk, event_id)
        self.life += 1
        self.full_at.clear()
        self.running.clear()
        self.wire.clear()
        self.busy.clear()
        self.epochs.clear()

    def finish(self) -> None:
        """Everything should have come to its end."""
        rows = self.disk.committed().tables.rows.values()
        unfinished = [row for row in rows if row.state < State.DONE]
        self.hold(not unfinished, "I2: not ended", unfinished)
        done = {row.id for row in rows if row.state is State.DONE}
        reached = {row for row, requests in self.arrivals.items() if requests}
        self.hold(done <= reached, "I9: done, and no provider has it", sorted(done - reached))

    # Parts

    def _stored(self, disk: Disk, event_id: str) -> None:
        known = disk.tables.keys.get(event_id)
        self.hold(known is not None, "I1: acknowledged and not stored", event_id)
        if known is not None:
            stored = Counter(row.channel for row in disk.tables.rows.values() if row.seq == known.seq)
            missing = self.acknowledged[event_id].difference(stored)
            self.hold(not missing, "I1: acknowledged deliveries are not stored", (event_id, sorted(missing)))
            self.hold(max(stored.values(), default=1) == 1, "I9: two deliveries in one channel", event_id)

    def hold(self, holds: bool, invariant: str, about: object) -> None:  # noqa: FBT001 - as in assert
        """Note that an invariant does not hold."""
        if not holds and self.found is None:
            self.found = Violation(f"{invariant}: {about!r}")
            self.stop()
