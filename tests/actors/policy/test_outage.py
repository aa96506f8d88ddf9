"""A provider that is down for a day: a channel with the shipped policy loses nothing, in virtual time."""

import heapq
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knell.actors import translate
from knell.actors.policy.breaker import BreakerPolicy, Phase
from knell.actors.policy.channel import (
    Attempted,
    ChannelPolicy,
    ChannelState,
    Deliver,
    Fetch,
    Input,
    Send,
    Settle,
    Tick,
    WakeAt,
)
from knell.actors.policy.core import ChannelCore
from knell.actors.policy.retry import RetryPolicy
from knell.assembly import read
from knell.deliveries import Again, Attempt
from knell.events import NotificationEvent
from knell.messages import Delivered, Outcome, Reason, Retry, Unknown
from tests.actors.policy.tiny_outbox import TinyOutbox

SHIPPED = Path(__file__).parents[3] / "config" / "notifications.yaml"

DAY = 24 * 3600.0
BEGINS = 600.0
"""When the outage begins."""

ANSWER = 0.2
"""Seconds a request takes."""

EVENT = NotificationEvent(event_type="x", source="s", title="t", event_id="e")

FAILURES: list[Outcome] = [
    Retry(Reason.SERVER_ERROR),
    Retry(Reason.SERVER_ERROR, after=1.0),
    Retry(Reason.CONNECTION_ERROR),
    Unknown(Reason.TIMEOUT),
]


def shipped() -> ChannelPolicy:
    """Return the policy of a channel as the shipped configuration has it."""
    config = read(SHIPPED, environ={})
    return translate.channel_policy(config.channels["console"], config)


class World:
    """One channel, its outbox, and a provider that is down for a day.

    Attributes:
        asked: requests of the outage.
        used: attempts used up, by the phase of the breaker in which they were sent.
    """

    def __init__(self, policy: ChannelPolicy, failure: Outcome, seed: int) -> None:
        self.now = 0.0
        self.state = ChannelState.fresh(policy)
        self.core = ChannelCore(policy, self.state, Random(seed).random)  # noqa: S311 - jitter
        self.outbox = TinyOutbox()
        self.failure = failure
        self.asked = 0
        self.used: Counter[Phase] = Counter()
        self._wake = 0.0
        self._wire: list[tuple[float, tuple[int, ...], Attempt]] = []
        self._phases: dict[tuple[int, ...], Phase] = {}

    def live(self, arrivals: list[float]) -> None:
        """Accept an event at each of these times, and go on until every delivery has ended."""
        arrivals = sorted(arrivals)
        while arrivals or self.outbox.unfinished:
            ends = self._wire[0][0] if self._wire else math.inf
            at = min(self._wake, self.outbox.next_due(self.now), ends, arrivals[0] if arrivals else math.inf)
            assert at < math.inf, "stuck"
            self.now = max(self.now, at)
            while arrivals and arrivals[0] <= self.now:
                self.outbox.add("", EVENT)
                arrivals.pop(0)
            self._pass_time()

    def _pass_time(self) -> None:
        if self._wire and self._wire[0][0] <= self.now:
            _, _, attempt = heapq.heappop(self._wire)
            self._handle(Attempted(attempt, self._provider()))
        if self._wake <= self.now:
            self._wake = math.inf
            self._handle(Tick())
        self._serve()

    def _provider(self) -> Outcome:
        if not BEGINS <= self.now < BEGINS + DAY:
            return Delivered()
        self.asked += 1
        return self.failure

    def _handle(self, message: Input) -> None:
        for effect in self.core.handle(message, self.now):
            match effect:
                case Send(attempt):
                    assert self.outbox.start(attempt)
                    self._phases[attempt.rows] = self.state.breaker.phase
                    heapq.heappush(self._wire, (self.now + ANSWER, attempt.rows, attempt))
                case Settle(settlements):
                    for settlement in settlements:
                        self.outbox.settle(settlement, self.now)
                        verdict = settlement.verdict
                        if isinstance(verdict, Again) and verdict.counted:
                            self.used[self._phases[(settlement.delivery.row,)]] += 1
                case Fetch():
                    self.outbox.want = effect
                case WakeAt(at):
                    self._wake = at
                case _:
                    pass
        self._serve()

    def _serve(self) -> None:
        held = self.outbox.want.held if self.outbox.want else None
        if found := self.outbox.serve(self.now):
            self._handle(Deliver(found, held))

    @property
    def states(self) -> Counter[str]:
        """How the deliveries ended."""
        return Counter(row.state for row in self.outbox.rows.values())


BURST = [BEGINS] * 40
STEADY = [BEGINS + 1800.0 * number for number in range(52)]


@pytest.mark.parametrize("failure", FAILURES, ids=["5xx", "5xx that says when", "refused", "silent"])
def test_a_day_of_failures_loses_nothing(failure: Outcome) -> None:
    """All of it arrives, and only what was under way when the breaker opened has used up attempts."""
    policy = shipped()
    world = World(policy, failure, seed=1)
    world.live([*BURST, *STEADY])
    assert world.states == {"done": len(BURST) + len(STEADY)}
    assert set(world.used) == {Phase.CLOSED}
    assert world.used.total() < policy.concurrency + policy.breaker.failure_threshold
    probes = DAY / policy.breaker.timeout
    assert probes / 2 < world.asked < probes + policy.concurrency + policy.breaker.failure_threshold


@given(seed=st.integers(0, 2**32), failure=st.sampled_from([FAILURES[0], FAILURES[2]]))
@settings(max_examples=40)
def test_the_shipped_retries_alone_outlast_a_day(seed: int, failure: Outcome) -> None:
    """Also where the breaker never opens, because every other message gets through, whatever the dice say."""
    never = BreakerPolicy(failure_threshold=10**9)
    world = World(replace(shipped(), breaker=never), failure, seed)
    world.live([BEGINS] * 20)
    assert world.states == {"done": 20}
    assert max(row.delivery.attempts for row in world.outbox.rows.values()) < shipped().retry.max_retries


def test_the_specifications_own_retries_do_not() -> None:
    """Three of them are used up within seconds: this is what the shipped configuration is there for."""
    never = BreakerPolicy(failure_threshold=10**9)
    world = World(replace(shipped(), breaker=never, retry=RetryPolicy()), FAILURES[0], seed=1)
    world.live([BEGINS] * 20)
    assert world.states == {"dead": 20}
    assert world.now < BEGINS + 60


def test_the_shipped_retries_last_70_hours_on_average() -> None:
    """The figure that the configuration, `knell check` and the guarantees name."""
    retry = shipped().retry
    expected = sum(retry.bound(attempt) / 2 for attempt in range(1, retry.max_retries + 1))
    assert round(expected / 3600, 1) == 69.6
