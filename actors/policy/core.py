"""The channel core: everything a channel decides, as one pure machine.

    Deliver ──► batch ──► limit ──► break ──► Send ... Attempted ──► Settle (done, again or dead)

`handle(input, now)` returns effects; the actor around it carries them out and decides nothing. `now` is a
monotonic time in seconds. The deliveries it holds are a cache over the outbox: dropping them loses nothing.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import assert_never

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Settlement, Verdict
from knell.messages import Delivered, Outcome, Rejected, Retry, Scope, Unknown

from .batcher import Batch, Batcher
from .breaker import Phase
from .channel import (
    Attempted,
    Broke,
    Changed,
    ChannelPolicy,
    ChannelState,
    Deliver,
    Divert,
    Drain,
    Effect,
    Fetch,
    Input,
    Limited,
    Reset,
    Send,
    Settle,
    Tick,
    WakeAt,
    Withdrawn,
)

PROBE_REST = 1.5
"""A delivery whose probe failed rests this many breaker timeouts, so that the next probe is another one: a
message the provider chokes on must not stand for the health of the whole channel."""

LEAST_PAUSE = 1.0
"""Seconds of pause after a 429 that names no time."""

MOST_PAUSE = 3600.0
"""Seconds beyond which a provider's Retry-After is not believed."""


class ChannelCore:
    """One channel's decisions.

    Args:
        policy: the channel's rules.
        state: what the incarnation before left behind.
        dice: returns uniform numbers in [0, 1).
        in_flight: attempts that have begun and not ended, by their rows, also those of earlier incarnations;
            the core keeps it up to date.
    """

    def __init__(
        self,
        policy: ChannelPolicy,
        state: ChannelState,
        dice: Callable[[], float],
        in_flight: dict[tuple[int, ...], Attempt] | None = None,
    ) -> None:
        self.policy = policy
        self.state = state.under(policy)
        self._dice = dice
        self._in_flight = {} if in_flight is None else in_flight
        self._busy = {d.order_key for attempt in self._in_flight.values() for d in attempt.deliveries}
        self._batcher = Batcher(policy.batch)
        self._ready: deque[Batch] = deque()
        self._alone = any(_suspect(attempt) for attempt in self._in_flight.values())
        self._asked: frozenset[int] | None = None  # what the request under way leaves out
        self._draining = False
        self._limited_since: float | None = None
        self._wake = math.inf
        self._effects: list[Effect] = []
        if state.breaker.probe not in self._in_flight:  # the probe died with the incarnation that chose it
            state.breaker.neutral(state.breaker.probe)

    def handle(self, message: Input, now: float) -> list[Effect]:
        """Take one input and return what is to be done, in order."""
        self._effects = []
        before, why = self.state.breaker.phase, ""
        match message:
            case Deliver(deliveries, held):
                # An answer to an older request may lack the predecessors of what it brings: they were held
                # when it was asked for, and are not any more. The newest request is answered too.
                if held is None or held == self._asked:
                    self._take(deliveries, now)
            case Attempted(attempt, outcome, elapsed):
                why = self._ended(attempt, outcome, elapsed, now)
            case Broke(attempt, detail, elapsed):
                why = self._broke(attempt, detail, elapsed)
            case Withdrawn(attempt):
                self._release(attempt)
                self._ask_anew(attempt.rows)
                self.state.breaker.neutral(attempt.rows)
            case Reset():
                why = self._reset()
            case Drain():
                self._draining = True
            case Tick():
                self._wake = math.inf
            case _:
                assert_never(message)
        self._advance(now)
        if (after := self.state.breaker.phase) is not before:
            self._effects.append(Changed(before, after, why))
        return self._effects

    @property
    def in_flight(self) -> tuple[Attempt, ...]:
        """The attempts that have begun and not ended."""
        return tuple(self._in_flight.values())

    @property
    def held(self) -> frozenset[int]:
        """The rows that wait here; those under way are not among them."""
        waiting = [delivery.row for batch in self._ready for delivery in batch]
        return frozenset([*waiting, *(delivery.row for delivery in self._batcher)])

    # Taking deliveries in

    def _take(self, deliveries: Iterable[Delivery], now: float) -> None:
        self._asked = None
        known = self.held.union(*self._in_flight)
        for delivery in deliveries:
            if delivery.row in known:  # fetched twice: by this incarnation and by the one before it
                continue
            if delivery.crashes or delivery.progress:
                # What killed an actor goes alone, so that no neighbour is blamed with it; what has been
                # delivered in part is a message of its own from then on.
                self._ready.append((delivery,))
            else:
                self._ready.extend(self._batcher.add(delivery, now))

    def _ask(self) -> None:
        if self._asked is not None or self._draining:
            return
        held = self.held
        if len(held) <= self.policy.window // 2:
            self._asked = held
            self._effects.append(Fetch(self.policy.window - len(held), self.policy.batch.max_size, held))

    def _ask_anew(self, rows: Iterable[int]) -> None:
        """Note that rows go back to the outbox: a request that leaves them out would never bring them."""
        if self._asked is not None and not self._asked.isdisjoint(rows):
            self._asked = None

    # Sending

    def _advance(self, now: float) -> None:
        self._ready.extend(self._batcher.due(now))
        while self._gate(now) == 0 and (batch := self._next()):
            self._send(Attempt(batch), now)
        self._ask()
        self._divert(now)
        self._schedule(now)

    def _gate(self, now: float) -> float:
        """Return the seconds until a message may go; infinity when only an input can tell."""
        if self._draining or self._alone or len(self._in_flight) >= self.policy.concurrency:
            return math.inf
        return max(self._limit(now), self.state.breaker.wait(now))

    def _limit(self, now: float) -> float:
        bucket = self.state.bucket
        return max(self.state.paused_until - now, bucket.wait(now) if bucket else 0.0, 0.0)

    def _next(self) -> Batch | None:
        """Take the first message that overtakes nothing of its own order keys."""
        busy = self._busy
        for index, batch in enumerate(self._ready):
            if batch[0].crashes and self._in_flight:
                return None
            keys = {delivery.order_key for delivery in batch}
            if busy.isdisjoint(keys):
                del self._ready[index]
                return batch
            busy = busy | keys
        return None

    def _send(self, attempt: Attempt, now: float) -> None:
        self.state.breaker.admit(attempt.rows, now)
        if self.state.bucket:
            self.state.bucket.take(now)
        if self._limited_since is not None:
            self._effects.append(Limited(now - self._limited_since))
            self._limited_since = None
        self._in_flight[attempt.rows] = attempt
        self._busy |= {delivery.order_key for delivery in attempt.deliveries}
        self._alone = _suspect(attempt)
        self._effects.append(Send(attempt))

    # Outcomes

    def _ended(self, attempt: Attempt, outcome: Outcome, elapsed: float, now: float) -> str:
        """Judge an attempt for each of its deliveries; return what happened, for people."""
        self._release(attempt)
        verdicts = self._judge(attempt, outcome, now)
        self._settle(attempt, verdicts, outcome, elapsed)
        if isinstance(outcome, Delivered):
            return "the provider works again"
        return f"{outcome.reason}: {outcome.detail}" if outcome.detail else str(outcome.reason)

    def _broke(self, attempt: Attempt, detail: str, elapsed: float) -> str:
        self._release(attempt)
        self.state.breaker.neutral(attempt.rows)
        crashed = Crashed(self.policy.crash_limit, detail)
        self._settle(attempt, [crashed] * len(attempt.deliveries), None, elapsed)
        return "the channel crashed"

    def _release(self, attempt: Attempt) -> None:
        self._in_flight.pop(attempt.rows, None)
        self._busy -= {delivery.order_key for delivery in attempt.deliveries}
        self._alone = self._alone and not _suspect(attempt)

    def _settle(
        self, attempt: Attempt, verdicts: Iterable[Verdict], outcome: Outcome | None, elapsed: float
    ) -> None:
        settlements = tuple(
            Settlement(delivery, verdict, outcome, elapsed)
            for delivery, verdict in zip(attempt.deliveries, verdicts, strict=True)
        )
        for settlement in settlements:
            if isinstance(settlement.verdict, Again | Crashed):
                self._put_back(settlement.delivery)
        self._effects.append(Settle(settlements))

    def _put_back(self, delivery: Delivery) -> None:
        """Forget a delivery that will be tried again and what waits behind it; the outbox has both."""
        order_key, before = delivery.order_key, self.held
        self._batcher.drop(order_key)
        kept = (tuple(d for d in batch if d.order_key != order_key) for batch in self._ready)
        self._ready = deque(batch for batch in kept if batch)
        self._ask_anew([delivery.row, *(before - self.held)])

    def _judge(self, attempt: Attempt, outcome: Outcome, now: float) -> list[Verdict]:
        breaker, call = self.state.breaker, attempt.rows
        if isinstance(outcome, Delivered):
            breaker.success(call)
            self.state.limits = 0
            if (wish := _seconds(outcome.pause)) is not None:
                self.state.paused_until = max(self.state.paused_until, now + wish)
            return [Done(outcome.receipt)] * len(attempt.deliveries)
        match outcome.reason.scope:
            case Scope.LIMITED:
                breaker.neutral(call)
                self._pause(outcome, now)
                return self._unused(attempt, outcome, 0.0)
            case Scope.CHANNEL:
                breaker.trip(call, now)
                return self._unused(attempt, outcome, self._rest)
            case Scope.GONE:
                breaker.disable(now)
                return self._unused(attempt, outcome, 0.0)
            case scope:
                if isinstance(outcome, Rejected) or scope is Scope.MESSAGE:
                    breaker.neutral(call)
                    return [_dead(outcome)] * len(attempt.deliveries)
        return self._failed(attempt, outcome, now)

    def _failed(self, attempt: Attempt, outcome: Retry | Unknown, now: float) -> list[Verdict]:
        """Judge an attempt that failed and whose like may work; a probe's failure uses up no attempt."""
        probed = attempt.rows == self.state.breaker.probe
        self.state.breaker.failure(attempt.rows, now)
        return self._unused(attempt, outcome, self._rest) if probed else self._again(attempt, outcome)

    @property
    def _rest(self) -> float:
        return PROBE_REST * self.policy.breaker.timeout

    def _again(self, attempt: Attempt, outcome: Retry | Unknown) -> list[Verdict]:
        dice = self._dice()  # one throw for the whole batch, so that it comes back together
        hint = _hint(outcome)
        verdicts: list[Verdict] = []
        for delivery in attempt.deliveries:
            number = delivery.attempts + 1
            if self.policy.retry.again(number, outcome.reason):
                delay = self.policy.retry.delay(number, dice) if hint is None else hint
                verdicts.append(Again(outcome.reason, delay, True, outcome.detail, dict(outcome.progress)))
            else:
                verdicts.append(_dead(outcome))
        return verdicts

    def _unused(self, attempt: Attempt, outcome: Retry | Unknown | Rejected, delay: float) -> list[Verdict]:
        """Put the deliveries back without using up an attempt: the failure is not theirs."""
        verdict = Again(outcome.reason, delay, False, outcome.detail, dict(outcome.progress))
        return [verdict] * len(attempt.deliveries)

    def _pause(self, outcome: Retry | Unknown | Rejected, now: float) -> None:
        self.state.limits += 1
        hint = _hint(outcome)
        wait = max(LEAST_PAUSE, self.policy.retry.bound(self.state.limits)) if hint is None else hint
        self.state.paused_until = max(self.state.paused_until, now + wait)

    def _reset(self) -> str:
        self.state.breaker.reset()
        self.state.paused_until, self.state.limits = -math.inf, 0
        return "an operator says it works"

    # Time

    def _divert(self, now: float) -> None:
        on = self._divert_at() <= now
        if on is not self.state.diverted:
            self.state.diverted = on
            self._effects.append(Divert(on))

    def _divert_at(self) -> float:
        breaker, after = self.state.breaker, self.policy.divert_after
        return math.inf if after is None or breaker.phase is Phase.CLOSED else breaker.opened_at + after

    def _schedule(self, now: float) -> None:
        """Name the next time at which something can change by itself."""
        times = [math.inf]
        if (due := self._batcher.next_due()) is not None:
            times.append(due)
        if self._ready:
            if wait := self._gate(now):  # without a wait, what is under way has to end first
                times.append(now + wait)
            if self._limited_since is None and self._limit(now):
                self._limited_since = now
        if not self.state.diverted:
            times.append(self._divert_at())
        if (at := min(times)) < self._wake or self._wake <= now:
            self._wake = at
            if at < math.inf:
                self._effects.append(WakeAt(at))


def _suspect(attempt: Attempt) -> bool:
    """Say whether it may be what crashed an actor before: nothing else goes beside it."""
    return any(delivery.crashes for delivery in attempt.deliveries)


def _hint(outcome: Outcome) -> float | None:
    """Return the wait the provider asked for, within reason; None when it asked for none."""
    return _seconds(outcome.after) if isinstance(outcome, Retry) else None


def _seconds(wish: float | None) -> float | None:
    """Return a provider's wish within reason; None when it has none."""
    return None if wish is None or math.isnan(wish) else min(max(wish, 0.0), MOST_PAUSE)


def _dead(outcome: Retry | Unknown | Rejected) -> Verdict:
    return Dead(outcome.reason, outcome.detail, dict(outcome.progress))
