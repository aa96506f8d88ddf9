import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.actors.policy.breaker import Breaker, BreakerPolicy, Phase

POLICY = BreakerPolicy(failure_threshold=3, timeout=10, success_threshold=2)


def _breaker(phase: Phase) -> Breaker:
    """Return a breaker in a phase; time 0, the probe is called "probe"."""
    breaker = Breaker(POLICY)
    if phase is Phase.DISABLED:
        breaker.disable(-10)
    elif phase is not Phase.CLOSED:
        breaker.trip("first", -10)
        if phase is Phase.HALF_OPEN:
            breaker.admit("probe", 0)
    return breaker


Step = Callable[[Breaker], None]


def _times(count: int, step: Step) -> Step:
    def steps(breaker: Breaker) -> None:
        for _ in range(count):
            step(breaker)

    return steps


def _probed(breaker: Breaker) -> None:
    """Pass a probe."""
    breaker.admit("another", 0)
    breaker.success("another")


STEPS: dict[str, Step] = {
    "success": lambda breaker: breaker.success("probe"),
    "failure": lambda breaker: breaker.failure("probe", 0),
    "three failures": _times(3, lambda breaker: breaker.failure("probe", 0)),
    "neutral": lambda breaker: breaker.neutral("probe"),
    "trip": lambda breaker: breaker.trip("probe", 0),
    "disable": lambda breaker: breaker.disable(0),
    "reset": lambda breaker: breaker.reset(),
    "stale success": lambda breaker: breaker.success("stale"),
    "stale failure": lambda breaker: breaker.failure("stale", 0),
    "stale trip": lambda breaker: breaker.trip("stale", 0),
}

# phase -> step -> phase; what is missing stays as it is
TRANSITIONS = {
    Phase.CLOSED: {
        "three failures": Phase.OPEN,
        "trip": Phase.OPEN,
        "stale trip": Phase.OPEN,
        "disable": Phase.DISABLED,
    },
    Phase.OPEN: {"disable": Phase.DISABLED, "reset": Phase.CLOSED},
    Phase.HALF_OPEN: {
        "failure": Phase.OPEN,
        "three failures": Phase.OPEN,
        "trip": Phase.OPEN,
        "disable": Phase.DISABLED,
        "reset": Phase.CLOSED,
    },
    Phase.DISABLED: {"reset": Phase.CLOSED},
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("phase", Phase)
def test_every_step_in_every_phase(phase: Phase, step: str) -> None:
    """The whole transition table; whatever is not in it changes no phase."""
    breaker = _breaker(phase)
    STEPS[step](breaker)
    assert breaker.phase is TRANSITIONS[phase].get(step, phase)


def test_failures_count_only_in_a_row() -> None:
    """A success in between starts the count anew."""
    breaker = Breaker(POLICY)
    breaker.failure("a", 0)
    breaker.failure("b", 0)
    breaker.success("c")
    breaker.failure("d", 0)
    breaker.failure("e", 0)
    assert breaker.wait(0) == 0
    breaker.failure("f", 0)
    assert breaker.phase is Phase.OPEN


def test_a_429_says_nothing_about_failures() -> None:
    """`neutral` neither counts nor clears."""
    breaker = Breaker(POLICY)
    breaker.failure("a", 0)
    breaker.failure("b", 0)
    breaker.neutral("c")
    assert breaker.failures == 2
    breaker.failure("d", 0)
    assert breaker.phase is Phase.OPEN


def test_an_open_breaker_waits_for_its_timeout() -> None:
    """Not a moment earlier; the next call is the probe."""
    breaker = Breaker(POLICY)
    breaker.trip("a", 100)
    assert breaker.wait(100) == 10
    assert breaker.wait(109.5) == 0.5
    with pytest.raises(ValueError, match="open"):
        breaker.admit("b", 109.9)
    assert breaker.wait(110) == 0
    breaker.admit("b", 110)
    assert (breaker.phase, breaker.probe) == (Phase.HALF_OPEN, "b")


def test_one_probe_at_a_time() -> None:
    """While one is under way nobody else may call; when it ended the next may at once."""
    breaker = _breaker(Phase.HALF_OPEN)
    assert breaker.wait(0) == math.inf
    with pytest.raises(ValueError, match="half_open"):
        breaker.admit("other", 0)
    breaker.neutral("probe")
    assert breaker.wait(0) == 0
    _probed(breaker)
    assert (breaker.phase, breaker.successes) == (Phase.HALF_OPEN, 1)
    _probed(breaker)
    assert breaker.phase is Phase.CLOSED


def test_a_failed_probe_forgets_the_successes_before() -> None:
    """`success_threshold` in a row close it, and only these."""
    breaker = _breaker(Phase.HALF_OPEN)
    breaker.success("probe")
    breaker.admit("second", 0)
    breaker.failure("second", 0)
    assert (breaker.phase, breaker.successes, breaker.wait(0)) == (Phase.OPEN, 0, 10)
    breaker.admit("third", 10)
    breaker.success("third")
    assert breaker.phase is Phase.HALF_OPEN


def test_the_outage_began_when_it_first_opened() -> None:
    """Failed probes do not move `opened_at`: fallback counts from there."""
    breaker = Breaker(POLICY)
    breaker.trip("a", 100)
    breaker.admit("b", 110)
    breaker.failure("b", 111)
    assert (breaker.opened_at, breaker.retry_at) == (100, 121)
    breaker.reset()
    breaker.trip("c", 200)
    assert breaker.opened_at == 200


def test_nobody_calls_a_disabled_endpoint() -> None:
    """Only an operator's reset ends it."""
    breaker = _breaker(Phase.DISABLED)
    assert breaker.wait(1e9) == math.inf
    with pytest.raises(ValueError, match="disabled"):
        breaker.admit("a", 1e9)
    breaker.reset()
    assert breaker.wait(0) == 0


def test_a_closed_breaker_starts_counting_at_zero() -> None:
    """What was counted before it opened is forgotten."""
    breaker = _breaker(Phase.HALF_OPEN)
    breaker.success("probe")
    _probed(breaker)
    assert breaker == Breaker(POLICY, opened_at=-10, retry_at=0)


_ACTIONS = st.sampled_from(["call", "success", "failure", "neutral", "trip", "wait"])


@given(st.lists(st.tuples(_ACTIONS, st.integers(0, 5), st.floats(0, 15)), max_size=80))
def test_properties_of_every_history(history: list[tuple[str, int, float]]) -> None:
    """Open admits nobody early; one probe at a time; results of anything but the probe change nothing."""
    breaker, now, calls, serial = Breaker(POLICY), 0.0, list[int](), 0
    for action, which, seconds in history:
        before = (breaker.phase, breaker.probe, breaker.successes)
        call = calls[which % len(calls)] if calls else -1
        match action:
            case "wait":
                now += seconds
            case "call" if breaker.wait(now) == 0:
                assert before[0] is not Phase.OPEN or now >= breaker.retry_at
                assert before[0] is not Phase.HALF_OPEN or before[1] is None
                serial += 1
                breaker.admit(serial, now)
                calls.append(serial)
            case "call":
                with pytest.raises(ValueError, match=str(breaker.phase)):
                    breaker.admit("refused", now)
                assert (breaker.phase, breaker.probe, breaker.successes) == before
            case _ if calls:
                calls.remove(call)
                arguments = (call, now) if action in {"failure", "trip"} else (call,)
                getattr(breaker, action)(*arguments)
                if before[0] is not Phase.CLOSED and call != before[1]:
                    assert (breaker.phase, breaker.probe, breaker.successes) == before
            case _:
                pass
        assert breaker.probe is None or breaker.phase is Phase.HALF_OPEN
        assert breaker.failures < POLICY.failure_threshold or breaker.phase is not Phase.CLOSED
