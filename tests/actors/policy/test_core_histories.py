"""The channel core against a tiny outbox, through random outcomes, crashes and times.

The outbox here keeps the same promises as the real one (`knell.store.contract`), in a page of plain Python:
only the oldest unfinished delivery of an order key may go, a batch takes its followers with it.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from knell.actors.policy.batcher import BatchPolicy
from knell.actors.policy.breaker import BreakerPolicy, Phase
from knell.actors.policy.channel import (
    Attempted,
    Broke,
    ChannelPolicy,
    ChannelState,
    Deliver,
    Divert,
    Effect,
    Fetch,
    Input,
    Reset,
    Send,
    Settle,
    Tick,
    WakeAt,
    Withdrawn,
)
from knell.actors.policy.core import ChannelCore
from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Settlement
from knell.events import NotificationEvent, Severity
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry, Unknown

EVENTS = {
    severity: NotificationEvent(event_type="x", source="s", title="t", severity=severity, event_id="e")
    for severity in Severity
}
EVENT_B = NotificationEvent(event_type="y", source="s", title="t", event_id="e")

OUTCOMES = st.sampled_from(
    [
        Delivered(),
        Delivered(),
        Retry(Reason.TIMEOUT),
        Retry(Reason.CONNECTION_ERROR, progress={"a": 1}),
        Retry(Reason.RATE_LIMIT),
        Retry(Reason.RATE_LIMIT, after=5),
        Retry(Reason.SERVER_ERROR, after=2),
        Unknown(Reason.TIMEOUT),
        Rejected(Reason.INVALID_MESSAGE),
        Rejected(Reason.AUTHENTICATION),
        Rejected(Reason.GONE),
        Retry(Reason.TLS),
        None,
    ]
)

WORK = st.sampled_from([0, 1, 2, 99, 99, 99])
"""How many messages are taken before the next thing happens."""

POLICIES = st.builds(
    ChannelPolicy,
    breaker=st.builds(BreakerPolicy, st.integers(1, 3), st.just(10.0), st.integers(1, 2)),
    batch=st.sampled_from([BatchPolicy(), BatchPolicy(3, 4.0), BatchPolicy(2, 0.3, by_event_type=False)]),
    rate=st.sampled_from([None, (0.7, 2), (3.0, 1)]),
    concurrency=st.sampled_from([1, 2, 20]),
    divert_after=st.sampled_from([None, 0.0, 15.0]),
)


@dataclass(slots=True)
class Row:
    """A delivery in the outbox of this test."""

    delivery: Delivery
    state: str = "ready"
    due: float = 0.0


@dataclass
class TinyOutbox:
    """Waiting, ready, deferred, sending, done, dead: as the store has them."""

    rows: dict[int, Row] = field(default_factory=dict)
    want: Fetch | None = None

    def add(self, key: str, event: NotificationEvent) -> None:
        """Accept a delivery."""
        number = len(self.rows) + 1
        delivery = Delivery(row=number, event=event, channel="c", order_key=key or f"#{number}")
        blocked = any(self._unfinished(row) for row in self._same_key(delivery))
        self.rows[number] = Row(delivery, "waiting" if blocked else "ready")

    def _same_key(self, delivery: Delivery) -> list[Row]:
        return [row for row in self.rows.values() if row.delivery.order_key == delivery.order_key]

    @staticmethod
    def _unfinished(row: Row) -> bool:
        return row.state not in {"done", "dead"}

    @property
    def unfinished(self) -> list[Row]:
        """The rows that have not ended."""
        return [row for row in self.rows.values() if self._unfinished(row)]

    def serve(self, now: float) -> tuple[Delivery, ...]:
        """Answer the request that waits, if there is anything to give."""
        if self.want is None:
            return ()
        for row in self.rows.values():
            if row.state == "deferred" and row.due <= now:
                row.state = "ready"
        want = self.want
        heads = [n for n, row in self.rows.items() if row.state == "ready" and n not in want.held]
        found: list[Delivery] = []
        for head in heads[: want.limit]:
            found.append(self.rows[head].delivery)
            waiting = [
                row.delivery
                for row in self._same_key(self.rows[head].delivery)
                if row.state == "waiting" and row.delivery.row > head
            ]
            found += [d for d in waiting[: want.chain - 1] if d.row not in want.held]
        if found:
            self.want = None
        return tuple(found)

    def next_due(self, now: float) -> float:
        """Return when the next deferred row may go."""
        due = [row.due for row in self.rows.values() if row.state == "deferred" and row.due > now]
        return min(due, default=math.inf)

    def start(self, attempt: Attempt) -> bool:
        """Begin an attempt, if its rows may go, or if this very attempt was begun before."""
        rows = [self.rows[number] for number in attempt.rows]
        if all(
            row.state == "sending" and row.delivery.attempts == d.attempts
            for row, d in zip(rows, attempt.deliveries, strict=True)
        ):
            return True
        for row in rows:
            older = [
                o
                for o in self._same_key(row.delivery)
                if self._unfinished(o) and o.delivery.row < row.delivery.row
            ]
            follows = row.state == "waiting" and all(o.delivery.row in attempt.rows for o in older)
            if row.state != "ready" and not (follows and len(rows) > 1):
                return False
        for row in rows:
            row.state = "sending"
        return True

    def settle(self, settlement: Settlement, now: float) -> None:
        """Write down an end."""
        row = self.rows[settlement.delivery.row]
        if row.state != "sending":
            return
        match settlement.verdict:
            case Done():
                row.state = "done"
            case Dead():
                row.state = "dead"
            case Crashed(limit) if row.delivery.crashes + 1 >= limit:
                row.state = "dead"
            case Crashed():
                crashed = replace_delivery(row.delivery, attempts=1, crashes=1)
                row.delivery, row.state, row.due = crashed, "deferred", now
            case Again(_, delay, counted, _, progress):
                again = replace_delivery(row.delivery, attempts=int(counted), progress=progress)
                row.delivery, row.state, row.due = again, "deferred", now + delay
        waiting = [o for o in self._same_key(row.delivery) if self._unfinished(o)]
        for other in waiting[1:]:
            if other.state == "deferred":
                other.state = "waiting"
        if waiting and waiting[0].state == "waiting":
            waiting[0].state = "ready" if waiting[0] is not row else "deferred"


def replace_delivery(
    delivery: Delivery, attempts: int = 0, crashes: int = 0, progress: dict[str, Any] | None = None
) -> Delivery:
    """Return a delivery after another attempt."""
    return Delivery(
        row=delivery.row,
        event=delivery.event,
        channel=delivery.channel,
        order_key=delivery.order_key,
        attempts=delivery.attempts + attempts,
        crashes=delivery.crashes + crashes,
        progress=progress or delivery.progress,
    )


@dataclass(frozen=True)
class Begin:
    """To the outbox."""

    attempt: Attempt


@dataclass(frozen=True)
class Begun:
    """From the outbox."""

    attempt: Attempt


class Channel(RuleBasedStateMachine):
    """A channel actor without threads: the core, the messages between it and its outbox, and the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.outbox = TinyOutbox()
        self.to_outbox: deque[Begin | Settle | Fetch] = deque()
        self.to_core: deque[Deliver | Begun | Withdrawn] = deque()
        self.wire: dict[tuple[int, ...], Attempt] = {}
        self.in_flight: dict[tuple[int, ...], Attempt] = {}
        self.first_starts: dict[str, list[int]] = {}
        self.sends: list[float] = []
        self.diverted = False

    @initialize(policy=POLICIES)
    def begin(self, policy: ChannelPolicy) -> None:
        """Start the actor."""
        self.policy = policy
        self.state = ChannelState.fresh(policy)
        self.incarnate()

    def incarnate(self) -> None:
        """Make a new core, as an actor does after a crash: the state and the attempts under way stay."""
        self.wake = math.inf
        self.core = ChannelCore(self.policy, self.state, lambda: 0.9, self.in_flight)
        for rows, attempt in self.in_flight.items():
            if rows not in self.wire:
                self.to_outbox.append(Begin(attempt))
        self.handle(Tick())

    def handle(self, message: Input) -> None:
        """Carry out what the core decides, as the actor does, and check each effect."""
        for effect in self.core.handle(message, self.now):
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        """Do one thing."""
        match effect:
            case Fetch() | Settle():
                self.to_outbox.append(effect)
            case Send(attempt):
                self.check_send(attempt)
                self.to_outbox.append(Begin(attempt))
            case WakeAt(at):
                assert at > self.now, "a wish for the past is a loop without end"
                self.wake = at
            case Divert(on):
                assert on is not self.diverted
                self.diverted = on
            case _:
                pass

    def check_send(self, attempt: Attempt) -> None:
        """Check what must hold whenever a message goes out."""
        breaker = self.state.breaker
        assert breaker.phase is Phase.CLOSED or breaker.probe == attempt.rows, "open, and no probe"
        assert self.now >= self.state.paused_until, "in a pause the provider asked for"
        assert len(attempt.deliveries) <= self.policy.batch.max_size
        others = [a for a in self.in_flight.values() if a.rows != attempt.rows]
        for other in others:
            assert set(other.rows).isdisjoint(attempt.rows), "under way twice"
            keys = {d.order_key for d in other.deliveries}
            assert keys.isdisjoint(d.order_key for d in attempt.deliveries), "two of one key"
        if any(d.crashes for a in [*others, attempt] for d in a.deliveries):
            assert (len(others), len(attempt.deliveries)) == (0, 1), "a suspect goes alone"
        for delivery in attempt.deliveries:
            starts = self.first_starts.setdefault(delivery.order_key, [])
            assert delivery.row in starts or not starts or delivery.row > starts[-1], "overtaken"
            if delivery.row not in starts:
                starts.append(delivery.row)
        self.sends.append(self.now)

    # What happens

    @rule(
        key=st.sampled_from(["", "", "a", "b"]),
        event=st.sampled_from([*EVENTS.values(), EVENT_B]),
        count=st.integers(1, 6),
        work=WORK,
    )
    def event(self, key: str, event: NotificationEvent, count: int, work: int) -> None:
        """Events are accepted."""
        for _ in range(count):
            self.outbox.add(key, event)
        self.serve()
        self.work(work)

    @rule(which=st.integers(0, 99), outcome=OUTCOMES, work=WORK)
    def answer(self, which: int, outcome: Outcome | None, work: int) -> None:
        """The provider answers, or an exception escapes the channel: then the actor crashes."""
        if not self.wire:
            self.work(math.inf)
        if not self.wire:
            return
        attempt = self.wire.pop(sorted(self.wire)[which % len(self.wire)])
        if outcome is None:
            self.handle(Broke(attempt, "Traceback"))
            self.incarnate()
        else:
            self.handle(Attempted(attempt, outcome))
        self.work(work)

    @rule(seconds=st.sampled_from([0.1, 0.5, 3.0, 10.0, 40.0]), work=WORK)
    def wait(self, seconds: float, work: int) -> None:
        """Time passes; everybody is woken at the times they named."""
        until = self.now + seconds
        while (at := min(self.wake, self.outbox.next_due(self.now))) <= until:
            self.wake_up(at)
            self.work(work)
        self.now = until
        self.serve()

    @rule(what=st.sampled_from(["crash", "crash", "reset"]), work=WORK)
    def disturb(self, what: str, work: int) -> None:
        """The actor crashes over something else, or an operator says that the provider works."""
        if what == "crash":
            self.incarnate()
        else:
            self.handle(Reset())
        self.work(work)

    # Who does it

    def work(self, steps: float) -> None:
        """Let outbox and actor take so many messages, by turns."""
        while steps > 0 and (self.to_outbox or self.to_core):
            if self.to_outbox:
                self.outbox_works()
            if self.to_core:
                self.core_works()
            steps -= 1

    def outbox_works(self) -> None:
        """The outbox takes one message."""
        match self.to_outbox.popleft():
            case Begin(attempt):
                begun = self.outbox.start(attempt)
                assert begun, "the core sent what may not go"
                self.to_core.append(Begun(attempt) if begun else Withdrawn(attempt))
            case Settle(settlements):
                for settlement in settlements:
                    self.outbox.settle(settlement, self.now)
            case Fetch() as fetch:
                self.outbox.want = fetch
        self.serve()

    def serve(self) -> None:
        """Let the outbox answer."""
        held = self.outbox.want.held if self.outbox.want else None
        if found := self.outbox.serve(self.now):
            self.to_core.append(Deliver(found, held))

    def core_works(self) -> None:
        """The actor takes one message."""
        match self.to_core.popleft():
            case Begun(attempt):
                if attempt.rows in self.in_flight and attempt.rows not in self.wire:
                    self.wire[attempt.rows] = attempt
            case (Deliver() | Withdrawn()) as message:
                self.handle(message)

    def wake_up(self, at: float) -> None:
        """Go to a time that somebody named."""
        self.now = max(self.now, at)
        self.serve()
        if self.wake <= self.now:
            self.wake = math.inf
            self.handle(Tick())

    # What holds

    @invariant()
    def bounds_hold(self) -> None:
        """Concurrency, one owner a row, and no row on the wire that the outbox thinks is elsewhere."""
        assert len(self.in_flight) <= self.policy.concurrency
        assert set(self.wire) <= set(self.in_flight)
        for rows in self.wire:
            assert all(self.outbox.rows[row].state == "sending" for row in rows)
        assert self.core.held.isdisjoint(row for rows in self.in_flight for row in rows)

    @invariant()
    def the_bucket_holds(self) -> None:
        """Never more than burst and rate, over restarts of the actor too."""
        if self.policy.rate is None or not self.sends:
            return
        interval, burst = self.policy.rate
        last = self.sends[-1]
        for index, since in enumerate(self.sends):
            assert len(self.sends) - index <= burst + (last - since) / interval + 1e-6

    def teardown(self) -> None:
        """Once faults stop, every delivery ends."""
        self.handle(Reset())
        for _ in range(20 * len(self.outbox.rows) + 200):
            self.work(math.inf)
            while self.wire:
                self.handle(Attempted(self.wire.pop(min(self.wire)), Delivered()))
                self.work(math.inf)
            if not self.outbox.unfinished:
                break
            at = min(self.wake, self.outbox.next_due(self.now))
            assert at < math.inf, f"stuck: {self.outbox.unfinished}"
            self.wake_up(at)
        assert not self.outbox.unfinished
        assert not self.in_flight
        assert self.state.breaker.phase is Phase.CLOSED
        assert not self.diverted


Channel.TestCase.settings = settings(max_examples=400, stateful_step_count=40)
TestChannel = Channel.TestCase
