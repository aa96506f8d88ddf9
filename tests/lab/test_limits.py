"""Rates and pauses, apart from any provider."""

from hypothesis import given
from hypothesis import strategies as st

from knell.lab import ManualClock
from knell.lab.limits import Bucket, Pauses, Window

STEPS = st.lists(st.floats(0, 3), min_size=1, max_size=60)


@given(STEPS, st.integers(1, 5), st.floats(0.5, 20))
def test_a_bucket_never_gives_more_than_burst_and_rate(steps: list[float], burst: int, rate: float) -> None:
    """Over any stretch from the start no more is given than the burst and what has flowed in since."""
    clock = ManualClock()
    bucket = Bucket(burst, rate, clock)
    given_ = 0
    passed = 0.0
    for step in steps:
        clock.advance(step)
        passed += step
        given_ += bucket.take("key") == 0
        assert given_ <= burst + passed * rate + 1e-3


@given(STEPS, st.integers(1, 5), st.floats(0.5, 20))
def test_the_wait_a_bucket_names_suffices(steps: list[float], burst: int, rate: float) -> None:
    """Whoever waits as long as told gets a token."""
    clock = ManualClock()
    bucket = Bucket(burst, rate, clock)
    for step in steps:
        clock.advance(step)
        if wait := bucket.take("key"):
            clock.advance(wait)
            assert bucket.take("key") == 0


def test_a_bucket_with_grace_forgives_jitter_and_keeps_the_rate() -> None:
    """A tenth of a second too early is taken, and is missing the next time."""
    clock = ManualClock()
    bucket = Bucket(1, 1, clock, grace=0.1)
    assert bucket.take("key") == 0
    clock.advance(0.9375)
    assert bucket.take("key") == 0
    clock.advance(0.9375)
    assert bucket.take("key") > 0
    clock.advance(0.125)
    assert bucket.take("key") == 0


def test_keys_have_buckets_and_windows_of_their_own() -> None:
    """One key's requests are nothing to another's."""
    clock = ManualClock()
    bucket, window = Bucket(1, 1, clock), Window(1, 1, clock)
    assert [bucket.take(key) for key in "aab"] == [0, 1, 0]
    assert [window.take(key).allowed for key in "aab"] == [True, False, True]


def test_a_window_opens_with_its_first_request() -> None:
    """It counts down to its own end, and a new one opens after it."""
    clock = ManualClock()
    window = Window(2, 2, clock)
    quotas = [window.take("key")]
    clock.advance(1.5)
    quotas += [window.take("key"), window.take("key")]
    clock.advance(0.5)
    quotas.append(window.take("key"))
    assert [quota.allowed for quota in quotas] == [True, True, False, True]
    assert [quota.remaining for quota in quotas] == [1, 0, 0, 1]
    assert [quota.reset_after for quota in quotas] == [2, 0.5, 0.5, 2]


def test_a_pause_that_is_prolonged() -> None:
    """The later end counts; bodies that were sent away before are still known."""
    clock = ManualClock()
    pauses = Pauses(clock)
    pauses.begin("lane", b"one", 1)
    clock.advance(0.1)
    pauses.begin("lane", b"two", 3)
    pauses.begin("lane", b"two", 0.5)
    assert pauses.broken_by("lane", b"one").startswith("sent 3.00 s before")
    assert not pauses.broken_by("lane", b"three")
    assert not pauses.broken_by("other", b"one")
    clock.advance(3)
    assert not pauses.broken_by("lane", b"one")
    pauses.begin("lane", b"four", 1)
    assert not pauses.broken_by("lane", b"one")
