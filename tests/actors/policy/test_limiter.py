import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knell.actors.policy.limiter import ROUNDING, TokenBucket

_intervals = st.floats(0.001, 60)
_bursts = st.integers(1, 50)
_gaps = st.lists(st.floats(0, 30), min_size=1, max_size=60)
_starts = st.floats(0, 1e6)


def test_a_full_bucket_lets_a_burst_through() -> None:
    """Burst takes at once, then one per interval."""
    bucket = TokenBucket(interval=0.5, burst=3)
    for _ in range(3):
        assert bucket.wait(100) == 0
        bucket.take(100)
    assert bucket.wait(100) == 0.5
    assert bucket.wait(100.25) == 0.25
    bucket.take(100.5)
    assert bucket.wait(100.5) == 0.5


def test_a_rested_bucket_is_full_and_no_fuller() -> None:
    """A day of silence does not buy more than a burst."""
    bucket = TokenBucket(interval=1, burst=2)
    bucket.take(0, 2)
    bucket.take(86400, 2)
    assert bucket.wait(86400) == 1


def test_a_take_too_early_changes_nothing() -> None:
    """It is refused with the wait in words."""
    bucket = TokenBucket(interval=2, burst=1)
    bucket.take(0)
    with pytest.raises(ValueError, match=r"1 tokens are there in 1\.500 s"):
        bucket.take(0.5)
    assert bucket == TokenBucket(2, 1, 2)


def test_more_tokens_than_a_burst_are_a_debt() -> None:
    """A message that costs more than the bucket holds is delayed, never stuck."""
    bucket = TokenBucket(interval=1, burst=2)
    bucket.take(0)
    assert bucket.wait(0, 5) == 1
    bucket.take(1, 5)
    assert bucket.wait(1) == 4


def test_no_interval_is_no_limit() -> None:
    """The bucket of a channel without a limit never waits."""
    bucket = TokenBucket(0, 1)
    for _ in range(100):
        bucket.take(5)
    assert bucket.wait(5) == 0


@given(_intervals, _bursts, _starts, _gaps)
def test_never_more_than_burst_plus_rate(
    interval: float, burst: int, start: float, gaps: list[float]
) -> None:
    """In every window of t seconds at most burst + t / interval takes, however they are spread."""
    bucket, now, taken = TokenBucket(interval, burst), start, list[float]()
    for gap in gaps:
        now += gap
        while bucket.wait(now) == 0:
            bucket.take(now)
            taken.append(now)
    for first, since in enumerate(taken):
        for last in range(first, len(taken)):
            window = taken[last] - since
            slack = (ROUNDING * (last - first + 1) + math.ulp(now)) / interval
            assert last - first + 1 <= burst + window / interval + slack + 1e-6


@given(_intervals, _bursts, _starts, _gaps, st.integers(1, 60))
def test_the_wait_it_names_suffices_and_is_needed(
    interval: float, burst: int, start: float, gaps: list[float], tokens: int
) -> None:
    """After the named wait the tokens are there, and a moment before they are not."""
    bucket, now = TokenBucket(interval, burst), start
    for gap in gaps:
        now += gap
        if bucket.wait(now) == 0:
            bucket.take(now)
    wait = bucket.wait(now, tokens)
    then = now + wait
    assert bucket.wait(then, tokens) <= math.ulp(then) * 4
    if wait > 1e-3:
        assert bucket.wait(then - 1e-4, tokens) > 0
    bucket.take(then + math.ulp(then) * 4 + ROUNDING, tokens)


@given(_intervals, _bursts, _intervals, _bursts, st.integers(1, 50))
def test_a_new_limit_forgives_no_debt(
    interval: float, burst: int, new_interval: float, new_burst: int, takes: int
) -> None:
    """A reload is no way around a limit: the bucket is full again no sooner than before."""
    assume(takes <= burst)
    bucket = TokenBucket(interval, burst)
    for _ in range(takes):
        bucket.take(0)
    changed = bucket.configured(new_interval, new_burst)
    assert (changed.interval, changed.burst, changed.full_at) == (new_interval, new_burst, bucket.full_at)
    assert changed.configured(interval, burst) == bucket
