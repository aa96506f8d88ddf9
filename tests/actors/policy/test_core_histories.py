"""The channel core against a tiny outbox, through random outcomes, crashes and times."""

import math
from collections import deque
from dataclasses import dataclass

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
from knell.deliveries import Attempt
from knell.events import NotificationEvent, Severity
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry, Unknown
from tests.actors.policy.tiny_outbox import TinyOutbox

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
