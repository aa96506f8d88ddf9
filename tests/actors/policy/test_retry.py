import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.actors.policy.retry import RetryPolicy
from knell.messages import Reason


def test_the_bound_doubles_up_to_its_maximum() -> None:
    """The specification's numbers: 1 s, times 2, at most 30 s."""
    policy = RetryPolicy()
    assert [policy.bound(attempt) for attempt in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_jitter_is_full() -> None:
    """The wait is anywhere between nothing and the bound."""
    policy = RetryPolicy()
    assert policy.delay(3, 0.0) == 0
    assert policy.delay(3, 0.5) == 2
    assert policy.delay(3, 0.999) < 4


@pytest.mark.parametrize("reason", ["timeout", "connection_error", "rate_limit", "server_error"])
def test_attempts_are_counted_exactly(reason: str) -> None:
    """Three retries are four attempts in all."""
    policy = RetryPolicy(max_retries=3)
    assert [policy.again(attempt, Reason(reason)) for attempt in (1, 2, 3, 4)] == [True, True, True, False]


def test_only_listed_reasons_are_tried_again() -> None:
    """`retry_on_errors` is obeyed exactly."""
    policy = RetryPolicy(reasons=frozenset({Reason.TIMEOUT}))
    assert policy.again(1, Reason.TIMEOUT)
    assert not policy.again(1, Reason.SERVER_ERROR)


def test_no_retries_means_none() -> None:
    """`max_retries: 0` gives up after the first attempt."""
    assert not RetryPolicy(max_retries=0).again(1, Reason.TIMEOUT)


@given(
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 3600),
    st.floats(0, 86400),
    st.floats(1, 1000),
)
def test_no_wait_is_out_of_bounds(
    attempt: int, dice: float, initial: float, maximum: float, multiplier: float
) -> None:
    """Whatever the attempt: finite, not negative, at most the maximum, and the bound never falls."""
    policy = RetryPolicy(10_000, initial, maximum, multiplier)
    assert 0 <= policy.delay(attempt, dice) <= policy.bound(attempt) <= maximum
    assert policy.bound(attempt) <= policy.bound(attempt + 1)
