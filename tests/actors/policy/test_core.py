import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from knell.actors.policy.batcher import BatchPolicy
from knell.actors.policy.breaker import BreakerPolicy, Phase
from knell.actors.policy.channel import (
    LEAST_WINDOW,
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
    Limited,
    Reset,
    Send,
    Settle,
    Tick,
    WakeAt,
    Withdrawn,
)
from knell.actors.policy.core import LEAST_PAUSE, MOST_PAUSE, ChannelCore
from knell.actors.policy.limiter import TokenBucket
from knell.actors.policy.retry import RetryPolicy
from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Verdict
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry, Scope, Unknown

MakeDelivery = Callable[..., Delivery]

ONE = ChannelPolicy(concurrency=1)
MANY = ChannelPolicy()
BATCH = ChannelPolicy(batch=BatchPolicy(max_size=3, max_wait=30))
BREAK = BreakerPolicy(failure_threshold=2, timeout=60, success_threshold=2)
DICE = 0.5


def _core(policy: ChannelPolicy, state: ChannelState | None = None, **rest: Any) -> ChannelCore:
    return ChannelCore(policy, state or ChannelState.fresh(policy), lambda: DICE, **rest)


def _sent(effects: Iterable[Effect]) -> list[tuple[int, ...]]:
    return [effect.attempt.rows for effect in effects if isinstance(effect, Send)]


def _only(effects: Iterable[Effect], *kinds: type[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, kinds)]


def _woken(effects: Iterable[Effect]) -> list[float]:
    return [effect.at for effect in effects if isinstance(effect, WakeAt)]


def _verdicts(effects: Iterable[Effect]) -> list[Verdict]:
    return [s.verdict for effect in effects if isinstance(effect, Settle) for s in effect.settlements]


def _end(
    core: ChannelCore, outcome: Outcome, now: float, rows: tuple[int, ...] | None = None
) -> list[Effect]:
    """End the attempt under way, or that at these rows."""
    attempt = next(a for a in core.in_flight if rows is None or a.rows == rows)
    return core.handle(Attempted(attempt, outcome, 0.25), now)


# Fetching


def test_a_new_core_asks_for_work() -> None:
    """As much as its window holds."""
    assert _core(MANY).handle(Tick(), 0) == [Fetch(32, 1, frozenset())]
    assert _core(BATCH).handle(Tick(), 0) == [Fetch(32, 3, frozenset())]


@pytest.mark.parametrize(
    ("policy", "window"),
    [
        (ONE, LEAST_WINDOW),
        (ChannelPolicy(concurrency=100), 100),
        (ChannelPolicy(batch=BatchPolicy(100)), 200),
    ],
)
def test_the_window_fits_the_policy(policy: ChannelPolicy, window: int) -> None:
    """Two full batches, everything that may be under way, and never too few for a commit."""
    assert policy.window == window


def test_it_asks_once(make_delivery: MakeDelivery) -> None:
    """The request waits in the outbox until there is something."""
    core = _core(ONE)
    assert len(_only(core.handle(Tick(), 0), Fetch)) == 1
    assert _only(core.handle(Tick(), 1), Fetch) == []
    assert len(_only(core.handle(Deliver((make_delivery(1),)), 2), Fetch)) == 1


def test_it_asks_for_more_when_half_of_its_window_is_free(make_delivery: MakeDelivery) -> None:
    """What it holds is left out, what is under way is not mentioned: the outbox knows."""
    core = _core(ONE)
    core.handle(Tick(), 0)
    effects = core.handle(Deliver(tuple(make_delivery(row) for row in range(1, 11))), 0)
    assert _only(effects, Fetch) == []
    effects = _end(core, Delivered(), 1)
    assert _only(effects, Fetch) == [Fetch(8, 1, frozenset(range(3, 11)))]
    assert core.held == frozenset(range(3, 11))


def test_what_comes_twice_is_taken_once(make_delivery: MakeDelivery) -> None:
    """Asked for by this incarnation and by the one before it: under way, waiting, gathered."""
    core = _core(ChannelPolicy(concurrency=1, batch=BatchPolicy(2, 30)))
    first = [make_delivery(1, severity="critical"), make_delivery(2, severity="critical"), make_delivery(3)]
    core.handle(Deliver(tuple(first)), 0)
    assert core.held == {2, 3}
    core.handle(Deliver(tuple(first)), 0)
    assert core.held == {2, 3}
    assert _sent(_end(core, Delivered(), 1)) == [(2,)]


def test_an_outdated_answer_is_dropped(make_delivery: MakeDelivery) -> None:
    """It leaves out what was held when it was asked for: what it brings may stand behind what is not here."""
    core = _core(ChannelPolicy(concurrency=1))
    core.handle(Deliver((make_delivery(1, "job"), make_delivery(2, "job"))), 0)
    assert core.held == {2}
    assert _only(_end(core, Retry(Reason.RATE_LIMIT), 0), Fetch) == [Fetch(16, 1, frozenset())]
    assert core.handle(Deliver((make_delivery(1, "job"), make_delivery(3, "job")), frozenset({2})), 0) == []
    core.handle(Deliver((make_delivery(1, "job"), make_delivery(2, "job")), frozenset()), 0)
    assert core.held == {1, 2}


def test_what_goes_back_is_asked_for_anew(make_delivery: MakeDelivery) -> None:
    """The request under way leaves it out, so it would stay in the outbox until another event comes."""
    core = _core(ONE)
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 0)
    assert _only(_end(core, Delivered(), 0), Fetch) == []
    assert _only(_end(core, Retry(Reason.TIMEOUT), 0), Fetch) == [Fetch(16, 1, frozenset())]


def test_what_was_withdrawn_is_asked_for_anew(make_delivery: MakeDelivery) -> None:
    """The same when the outbox would not begin it, for example because its disk was full."""
    core = _core(ONE)
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 0)
    _end(core, Delivered(), 0)
    effects = core.handle(Withdrawn(core.in_flight[0]), 0)
    assert _only(effects, Fetch) == [Fetch(16, 1, frozenset())]
    assert core.in_flight == ()


# Sending


def test_attempts_run_side_by_side_up_to_the_concurrency(make_delivery: MakeDelivery) -> None:
    """The next one goes when one has ended, in the order of acceptance."""
    core = _core(ChannelPolicy(concurrency=2))
    effects = core.handle(Deliver(tuple(make_delivery(row) for row in (1, 2, 3, 4))), 0)
    assert _sent(effects) == [(1,), (2,)]
    assert _sent(_end(core, Delivered(), 1, (2,))) == [(3,)]
    assert _sent(_end(core, Delivered(), 1, (1,))) == [(4,)]


def test_two_of_one_key_never_run_side_by_side(make_delivery: MakeDelivery) -> None:
    """Others may overtake them, but not each other."""
    core = _core(MANY)
    deliveries = (make_delivery(1, "job"), make_delivery(2, "job"), make_delivery(3), make_delivery(4, "job"))
    assert _sent(core.handle(Deliver(deliveries), 0)) == [(1,), (3,)]
    assert _sent(_end(core, Delivered(), 1, (1,))) == [(2,)]
    assert _sent(_end(core, Delivered(), 2, (2,))) == [(4,)]


def test_a_message_that_waits_for_another_asks_for_no_time(make_delivery: MakeDelivery) -> None:
    """Only the end of the other lets it go: a wish to be woken now would be repeated for ever."""
    core = _core(MANY)
    effects = core.handle(Deliver((make_delivery(1, "job"), make_delivery(2, "job"))), 5)
    assert _woken(effects) == []
    assert _woken(core.handle(Tick(), 6)) == []


def test_an_end_is_settled_for_each_delivery(make_delivery: MakeDelivery) -> None:
    """With its verdict, its outcome and how long it took."""
    core = _core(BATCH)
    core.handle(Deliver(tuple(make_delivery(row) for row in (1, 2, 3))), 0)
    effects = _end(core, Delivered("ref"), 1)
    (settle,) = _only(effects, Settle)
    assert isinstance(settle, Settle)
    assert [s.delivery.row for s in settle.settlements] == [1, 2, 3]
    assert {(s.verdict, s.outcome, s.elapsed) for s in settle.settlements} == {
        (Done("ref"), Delivered("ref"), 0.25)
    }
    assert core.in_flight == ()


def test_draining_begins_nothing_more(make_delivery: MakeDelivery) -> None:
    """What is under way may end; nothing is fetched either."""
    core = _core(ONE)
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 0)
    assert core.handle(Drain(), 1) == []
    effects = _end(core, Delivered(), 2)
    assert [type(effect) for effect in effects] == [Settle]


def test_an_illegal_input_is_refused() -> None:
    """It is a mistake of the program, and changes nothing."""
    core = _core(ONE)
    with pytest.raises(AssertionError):
        core.handle("nonsense", 0)  # type: ignore[arg-type]  # what is tested
    assert (core.held, core.in_flight) == (frozenset(), ())


# Batching


def test_deliveries_are_gathered(make_delivery: MakeDelivery) -> None:
    """Until a batch is full, or its first delivery has waited long enough."""
    core = _core(BATCH)
    effects = core.handle(Deliver((make_delivery(1), make_delivery(2))), 10)
    assert (_sent(effects), _woken(effects)) == ([], [40])
    assert _sent(core.handle(Deliver((make_delivery(3), make_delivery(4))), 20)) == [(1, 2, 3)]
    assert _sent(core.handle(Tick(), 40)) == []
    assert _sent(core.handle(Tick(), 50)) == [(4,)]


def test_the_wake_up_moves_to_the_next_batch(make_delivery: MakeDelivery) -> None:
    """An early tick finds nothing and names the right time."""
    core = _core(BATCH)
    core.handle(Deliver((make_delivery(1, event_type="a"),)), 10)
    assert _woken(core.handle(Deliver((make_delivery(2, event_type="b"),)), 20)) == []
    effects = core.handle(Tick(), 40)
    assert (_sent(effects), _woken(effects)) == ([(1,)], [50])


def test_a_wake_up_that_came_late_is_forgotten(make_delivery: MakeDelivery) -> None:
    """Another message did its work already; the next batch gets its own."""
    core = _core(BATCH)
    core.handle(Deliver((make_delivery(1),)), 10)
    effects = core.handle(Deliver((make_delivery(2),)), 50)
    assert (_sent(effects), _woken(effects)) == ([(1, 2)], [])
    assert _woken(core.handle(Deliver((make_delivery(3),)), 60)) == [90]


def test_what_was_delivered_in_part_goes_alone(make_delivery: MakeDelivery) -> None:
    """It is a message of its own from then on."""
    core = _core(BATCH)
    effects = core.handle(Deliver((make_delivery(1), make_delivery(2, progress={"a": 1}))), 0)
    assert _sent(effects) == [(2,)]


# The rate limit


def test_a_limit_delays_and_never_drops(make_delivery: MakeDelivery) -> None:
    """A burst at once, the others as tokens come back; the waiting is reported."""
    core = _core(ChannelPolicy(rate=(2.0, 2)))
    effects = core.handle(Deliver(tuple(make_delivery(row) for row in (1, 2, 3, 4))), 100)
    assert (_sent(effects), _woken(effects)) == ([(1,), (2,)], [102])
    effects = core.handle(Tick(), 102)
    assert (_sent(effects), _woken(effects)) == ([(3,)], [104])
    assert Limited(2.0) in effects
    effects = core.handle(Tick(), 104)
    assert _sent(effects) == [(4,)]
    assert Limited(2.0) in effects


def test_a_limit_survives_a_crash(make_delivery: MakeDelivery) -> None:
    """The state is handed from core to core."""
    policy = ChannelPolicy(rate=(2.0, 1))
    core = _core(policy)
    core.handle(Deliver((make_delivery(1),)), 100)
    again = _core(policy, core.state)
    assert _sent(again.handle(Deliver((make_delivery(2),)), 101)) == []
    assert _sent(again.handle(Tick(), 102)) == [(2,)]


def test_new_rules_keep_the_old_debt(make_delivery: MakeDelivery) -> None:
    """A reload is no way around a limit, nor does it close a breaker."""
    core = _core(ChannelPolicy(rate=(10.0, 1), breaker=BREAK))
    core.handle(Deliver((make_delivery(1),)), 0)
    core.state.breaker.trip("x", 0)
    changed = ChannelPolicy(rate=(1.0, 1), breaker=BreakerPolicy(timeout=5))
    state = core.state.under(changed)
    assert (state.breaker.phase, state.breaker.policy) == (Phase.OPEN, changed.breaker)
    assert state.bucket == TokenBucket(1.0, 1, 10.0)
    assert state.under(ChannelPolicy()).bucket is None
    assert state.under(changed).bucket == TokenBucket(1.0, 1)


# 429


def test_a_429_pauses_the_channel_for_as_long_as_it_says(make_delivery: MakeDelivery) -> None:
    """It uses up no attempt and says nothing about the provider's health."""
    core = _core(ChannelPolicy(concurrency=1, breaker=BREAK))
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 100)
    effects = _end(core, Retry(Reason.RATE_LIMIT, after=7, detail="slow"), 101)
    assert _verdicts(effects) == [Again(Reason.RATE_LIMIT, 0.0, False, "slow")]
    assert (_sent(effects), _woken(effects)) == ([], [108])
    assert core.state.breaker.failures == 0
    assert _sent(core.handle(Tick(), 107.9)) == []
    effects = core.handle(Tick(), 108)
    assert (_sent(effects), _only(effects, Limited)) == ([(2,)], [Limited(7.0)])


def test_a_429_without_a_time_backs_off(make_delivery: MakeDelivery) -> None:
    """By the retry policy's bound, from one second up; a success forgets the series."""
    core = _core(ChannelPolicy(retry=RetryPolicy(initial=0.1, maximum=8.0, multiplier=4.0)))
    limited = Retry(Reason.RATE_LIMIT)
    outcomes: list[Outcome] = [limited, limited, limited, limited, limited, Delivered(), limited]
    waits: list[float] = []
    now = 0.0
    for outcome in outcomes:
        core.handle(Deliver((make_delivery(len(waits) + 1),)), now)
        _end(core, outcome, now)
        waits.append(max(0.0, core.state.paused_until - now))
        now += waits[-1]
    assert waits == pytest.approx([LEAST_PAUSE, LEAST_PAUSE, 1.6, 6.4, 8.0, 0.0, LEAST_PAUSE])


@pytest.mark.parametrize(
    ("after", "pause"), [(1e9, MOST_PAUSE), (math.inf, MOST_PAUSE), (-5, 0.0), (math.nan, LEAST_PAUSE)]
)
def test_a_time_that_cannot_be_meant_is_not_believed(
    make_delivery: MakeDelivery, after: float, pause: float
) -> None:
    """An hour is the longest pause a provider can ask for; the past and no number are none."""
    core = _core(MANY)
    core.handle(Deliver((make_delivery(1),)), 100)
    _end(core, Retry(Reason.RATE_LIMIT, after=after), 100)
    assert core.state.paused_until == 100 + pause


def test_a_shorter_time_does_not_end_a_longer_pause(make_delivery: MakeDelivery) -> None:
    """Two requests under way are answered differently: the later end counts."""
    core = _core(MANY)
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 0)
    _end(core, Retry(Reason.RATE_LIMIT, after=60), 0, (1,))
    _end(core, Retry(Reason.RATE_LIMIT, after=1), 0, (2,))
    assert core.state.paused_until == 60


# Failures


@pytest.mark.parametrize("outcome", [Retry(Reason.TIMEOUT, detail="x"), Unknown(Reason.TIMEOUT, "x")])
def test_a_failure_is_tried_again_until_the_policy_ends_it(
    make_delivery: MakeDelivery, outcome: Outcome
) -> None:
    """With full jitter; a batch comes back together, and who has used up its attempts is dead."""
    core = _core(ChannelPolicy(batch=BatchPolicy(2, 30), retry=RetryPolicy(max_retries=3)))
    core.handle(Deliver((make_delivery(1, attempts=2), make_delivery(2, attempts=3))), 0)
    assert _verdicts(_end(core, outcome, 0)) == [
        Again(Reason.TIMEOUT, 4 * DICE, True, "x"),
        Dead(Reason.TIMEOUT, "x"),
    ]


def test_retry_after_wins_over_the_backoff(make_delivery: MakeDelivery) -> None:
    """Whatever the reason."""
    core = _core(MANY)
    core.handle(Deliver((make_delivery(1),)), 0)
    effects = _end(core, Retry(Reason.SERVER_ERROR, after=123.0), 0)
    assert _verdicts(effects) == [Again(Reason.SERVER_ERROR, 123.0, True)]


def test_progress_is_kept(make_delivery: MakeDelivery) -> None:
    """For the next attempt, and in the dead letter."""
    core = _core(ChannelPolicy(retry=RetryPolicy(max_retries=1)))
    core.handle(Deliver((make_delivery(1), make_delivery(2, attempts=1))), 0)
    outcome = Retry(Reason.TIMEOUT, progress={"accepted": {"a": ""}})
    (again,) = _verdicts(_end(core, outcome, 0, (1,)))
    (dead,) = _verdicts(_end(core, outcome, 0, (2,)))
    assert isinstance(again, Again)
    assert isinstance(dead, Dead)
    assert again.progress == dead.progress == {"accepted": {"a": ""}}


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.scope is Scope.MESSAGE])
@pytest.mark.parametrize("kind", [Rejected, Retry, Unknown])
def test_a_message_to_blame_is_dead_at_once(
    make_delivery: MakeDelivery, kind: type[Rejected | Retry | Unknown], reason: Reason
) -> None:
    """And the provider is in good health."""
    core = _core(ChannelPolicy(breaker=BreakerPolicy(failure_threshold=1)))
    core.handle(Deliver((make_delivery(1),)), 0)
    assert _verdicts(_end(core, kind(reason), 0)) == [Dead(reason)]
    assert core.state.breaker.phase is Phase.CLOSED


def test_a_rejection_is_final_even_for_a_passing_reason(make_delivery: MakeDelivery) -> None:
    """The channel knows better: a 500 that means "never"."""
    core = _core(MANY)
    core.handle(Deliver((make_delivery(1),)), 0)
    assert _verdicts(_end(core, Rejected(Reason.SERVER_ERROR, "no"), 0)) == [Dead(Reason.SERVER_ERROR, "no")]


def test_followers_of_a_failed_delivery_are_dropped(make_delivery: MakeDelivery) -> None:
    """They may not go before it; the outbox hands them over later. Others stay."""
    core = _core(BATCH)
    deliveries = [
        make_delivery(1, "job", severity="critical"),
        make_delivery(2, "job", severity="critical"),
        make_delivery(3, "job"),
        make_delivery(4),
    ]
    assert _sent(core.handle(Deliver(tuple(deliveries)), 0)) == [(1,)]
    effects = _end(core, Retry(Reason.TIMEOUT), 1)
    assert _sent(effects) == []
    assert core.held == {4}
    assert _only(effects, Fetch) == [Fetch(31, 3, frozenset({4}))]


# The breaker


def test_a_breaker_opens_and_the_rest_waits(make_delivery: MakeDelivery) -> None:
    """After failures in a row nothing is sent until its time, and the change is told with its cause."""
    core = _core(ChannelPolicy(concurrency=1, breaker=BREAK))
    core.handle(Deliver(tuple(make_delivery(row) for row in (1, 2, 3))), 0)
    assert _only(_end(core, Retry(Reason.TIMEOUT), 1), Changed) == []
    effects = _end(core, Retry(Reason.SERVER_ERROR, detail="502"), 2)
    assert _only(effects, Changed) == [Changed(Phase.CLOSED, Phase.OPEN, "server_error: 502")]
    assert (_sent(effects), _woken(effects)) == ([], [62])
    assert _sent(core.handle(Tick(), 61)) == []


def test_one_probe_goes_and_successes_close_it(make_delivery: MakeDelivery) -> None:
    """One at a time, then everything."""
    policy = ChannelPolicy(breaker=BREAK)
    state = ChannelState.fresh(policy)
    state.breaker.trip("x", 0)
    core = _core(policy, state)
    assert _woken(core.handle(Deliver(tuple(make_delivery(row) for row in range(1, 6))), 10)) == [60]
    effects = core.handle(Tick(), 60)
    assert _sent(effects) == [(1,)]
    assert _only(effects, Changed) == [Changed(Phase.OPEN, Phase.HALF_OPEN, "")]
    assert _woken(effects) == []
    assert _sent(_end(core, Delivered(), 61)) == [(2,)]
    effects = _end(core, Delivered(), 62)
    assert _sent(effects) == [(3,), (4,), (5,)]
    assert _only(effects, Changed) == [Changed(Phase.HALF_OPEN, Phase.CLOSED, "the provider works again")]


@pytest.mark.parametrize(
    "outcome", [Retry(Reason.TIMEOUT), Unknown(Reason.TIMEOUT), Rejected(Reason.TLS), Retry(Reason.TLS)]
)
def test_a_failed_probe_uses_up_no_attempt(make_delivery: MakeDelivery, outcome: Outcome) -> None:
    """It rests longer than the breaker is open, so that the next probe is another message."""
    policy = ChannelPolicy(concurrency=1, breaker=BREAK)
    state = ChannelState.fresh(policy)
    state.breaker.trip("x", -60)
    core = _core(policy, state)
    core.handle(Deliver((make_delivery(1, attempts=99), make_delivery(2))), 0)
    effects = _end(core, outcome, 1)
    (verdict,) = _verdicts(effects)
    assert isinstance(verdict, Again)
    assert (verdict.delay, verdict.counted) == (90, False)
    assert _woken(effects) == [61]
    assert _sent(core.handle(Tick(), 61)) == [(2,)]


@pytest.mark.parametrize("outcome", [Retry(Reason.RATE_LIMIT, after=5), Rejected(Reason.INVALID_MESSAGE)])
def test_a_probe_that_says_nothing_is_followed_by_another(
    make_delivery: MakeDelivery, outcome: Outcome
) -> None:
    """A 429 or a bad message: the breaker stays half-open."""
    policy = ChannelPolicy(breaker=BREAK)
    state = ChannelState.fresh(policy)
    state.breaker.trip("x", -60)
    core = _core(policy, state)
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 0)
    _end(core, outcome, 0)
    assert state.breaker.phase is Phase.HALF_OPEN
    core.handle(Tick(), 5)
    assert [attempt.rows for attempt in core.in_flight] == [(2,)]


def test_failures_from_before_it_opened_say_nothing_new(make_delivery: MakeDelivery) -> None:
    """They use up their attempt, as they would have; the breaker's time does not move."""
    core = _core(ChannelPolicy(breaker=BREAK))
    core.handle(Deliver(tuple(make_delivery(row) for row in (1, 2, 3))), 0)
    for row in (1, 2):
        _end(core, Retry(Reason.TIMEOUT), 0, (row,))
    (verdict,) = _verdicts(_end(core, Retry(Reason.TIMEOUT), 30, (3,)))
    assert isinstance(verdict, Again)
    assert verdict.counted
    assert core.state.breaker.retry_at == 60


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.scope is Scope.CHANNEL])
@pytest.mark.parametrize("kind", [Rejected, Retry, Unknown])
def test_a_channel_to_blame_opens_the_breaker_at_once(
    make_delivery: MakeDelivery, kind: type[Rejected | Retry | Unknown], reason: Reason
) -> None:
    """Its deliveries are innocent: they wait, and use up no attempt."""
    core = _core(ChannelPolicy(breaker=BREAK))
    core.handle(Deliver((make_delivery(1, attempts=99),)), 0)
    effects = _end(core, kind(reason, detail="x"), 1)
    assert _verdicts(effects) == [Again(reason, 90.0, False, "x")]
    assert _only(effects, Changed) == [Changed(Phase.CLOSED, Phase.OPEN, f"{reason}: x")]


def test_a_gone_endpoint_is_never_called_again(make_delivery: MakeDelivery) -> None:
    """Until an operator says otherwise; then everything goes on."""
    core = _core(ONE)
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 0)
    effects = _end(core, Rejected(Reason.GONE, "410"), 1)
    assert _verdicts(effects) == [Again(Reason.GONE, 0.0, False, "410")]
    assert _only(effects, Changed) == [Changed(Phase.CLOSED, Phase.DISABLED, "gone: 410")]
    assert _woken(effects) == []
    assert _sent(core.handle(Tick(), 1e6)) == []
    effects = core.handle(Reset(), 1e6)
    assert _sent(effects) == [(2,)]
    assert _only(effects, Changed) == [Changed(Phase.DISABLED, Phase.CLOSED, "an operator says it works")]


def test_a_reset_ends_every_pause(make_delivery: MakeDelivery) -> None:
    """The operator knows better than the provider's last word."""
    core = _core(ONE)
    core.handle(Deliver((make_delivery(1), make_delivery(2))), 0)
    _end(core, Retry(Reason.RATE_LIMIT, after=1000), 0)
    assert _sent(core.handle(Reset(), 1)) == [(2,)]
    assert core.state.limits == 0


# Crashes


def test_a_crash_is_counted_and_the_rest_goes_on(make_delivery: MakeDelivery) -> None:
    """It says nothing about the provider; its followers go back to the outbox with it."""
    core = _core(ChannelPolicy(crash_limit=5, batch=BatchPolicy(2, 30)))
    core.handle(Deliver((make_delivery(1, "job"), make_delivery(2), make_delivery(3, "job"))), 0)
    effects = core.handle(Broke(core.in_flight[0], "Traceback", 0.5), 1)
    assert _verdicts(effects) == [Crashed(5, "Traceback")] * 2
    assert core.state.breaker.failures == 0
    assert core.held == frozenset()


def test_what_killed_an_actor_goes_alone(make_delivery: MakeDelivery) -> None:
    """Nothing beside it and nothing in its batch, so that no neighbour is blamed."""
    core = _core(ChannelPolicy(batch=BatchPolicy(2, 30)))
    core.handle(Deliver((make_delivery(1, severity="critical"),)), 0)
    effects = core.handle(Deliver((make_delivery(2, crashes=1), make_delivery(3, severity="critical"))), 0)
    assert (_sent(effects), _woken(effects)) == ([], [])
    assert _sent(_end(core, Delivered(), 1)) == [(2,)]
    assert _sent(core.handle(Tick(), 2)) == []
    assert _sent(_end(core, Delivered(), 3)) == [(3,)]


def test_a_suspect_goes_alone_after_the_next_crash_too(make_delivery: MakeDelivery) -> None:
    """A new core finds it under way."""
    attempt = Attempt((make_delivery(1, crashes=1),))
    core = _core(MANY, in_flight={attempt.rows: attempt})
    assert _sent(core.handle(Deliver((make_delivery(2),)), 0)) == []
    assert _sent(core.handle(Attempted(attempt, Delivered()), 1)) == [(2,)]


def test_attempts_of_the_incarnation_before_count(make_delivery: MakeDelivery) -> None:
    """For the concurrency and for their order keys, until their outcomes come."""
    attempt = Attempt((make_delivery(1, "job"),))
    core = _core(ChannelPolicy(concurrency=2), in_flight={attempt.rows: attempt})
    deliveries = (make_delivery(2, "job"), make_delivery(3), make_delivery(4))
    assert _sent(core.handle(Deliver(deliveries), 0)) == [(3,)]
    assert _sent(core.handle(Attempted(attempt, Delivered()), 1)) == [(2,)]


def test_a_probe_that_died_with_its_incarnation_is_forgotten(make_delivery: MakeDelivery) -> None:
    """Else the breaker would wait for its outcome for ever; one that is under way is waited for."""
    policy = ChannelPolicy(breaker=BREAK)
    attempt = Attempt((make_delivery(1),))
    state = ChannelState.fresh(policy)
    state.breaker.trip("x", -60)
    state.breaker.admit(attempt.rows, 0)
    assert (
        _sent(_core(policy, state, in_flight={attempt.rows: attempt}).handle(Deliver((make_delivery(2),)), 0))
        == []
    )
    assert _sent(_core(policy, state).handle(Deliver((make_delivery(2),)), 0)) == [(2,)]


# Fallback channels


def test_a_long_outage_is_diverted_once(make_delivery: MakeDelivery) -> None:
    """From the time the breaker opened, whatever probes do; until it closes."""
    policy = ChannelPolicy(concurrency=1, breaker=BREAK, divert_after=100)
    core = _core(policy)
    core.handle(Deliver(tuple(make_delivery(row) for row in range(1, 6))), 0)
    _end(core, Rejected(Reason.TLS), 0)
    effects = core.handle(Tick(), 60)
    assert (_sent(effects), _woken(effects)) == ([(2,)], [100])
    assert _only(_end(core, Rejected(Reason.TLS), 61), Divert) == []
    assert _only(core.handle(Tick(), 99), Divert) == []
    assert _only(core.handle(Tick(), 100), Divert) == [Divert(True)]
    assert _only(core.handle(Tick(), 110), Divert) == []
    again = _core(policy, core.state)
    assert _only(again.handle(Tick(), 120), Divert) == []
    assert _only(again.handle(Reset(), 121), Divert) == [Divert(False)]


def test_a_channel_without_fallback_diverts_nothing(make_delivery: MakeDelivery) -> None:
    """However long it is out."""
    core = _core(ChannelPolicy(breaker=BREAK))
    core.handle(Deliver((make_delivery(1),)), 0)
    _end(core, Rejected(Reason.TLS), 0)
    assert _only(core.handle(Tick(), 1e6), Divert) == []
