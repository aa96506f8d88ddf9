from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from knell.actors.policy.restart import (
    RETRY,
    Action,
    AutoShutdown,
    Backoff,
    ChildPolicy,
    Degrade,
    Escalate,
    Exit,
    Finish,
    Forget,
    Intensity,
    Restart,
    RestartPolicy,
    Start,
    Status,
    Stop,
    Strategy,
)

ENOUGH = Intensity(100, 1.0)


def _policy(
    *children: ChildPolicy | str,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    intensity: Intensity = ENOUGH,
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    dice: Callable[[], float] = lambda: 0.0,
) -> RestartPolicy:
    """Return a policy whose children all run since time 0."""
    policy = RestartPolicy(strategy, intensity, dice, auto_shutdown)
    policy.add(ChildPolicy(child) if isinstance(child, str) else child for child in children)
    for id_ in policy.children:
        policy.started(id_, 0.0)
    return policy


def _crash(policy: RestartPolicy, id_: str, now: float) -> list[Action]:
    """Crash a child, start again what is to be started, and return the actions."""
    actions = policy.ended(id_, Exit.CRASH, now)
    for action in actions:
        if isinstance(action, Start):
            for started in action.ids:
                policy.started(started, now)
    return actions


# Strategies


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [
        (Strategy.ONE_FOR_ONE, [], ("b",)),
        (Strategy.ONE_FOR_ALL, [Stop(("c", "a"))], ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, [Stop(("c",))], ("b", "c")),
    ],
)
def test_who_goes_with_a_crashed_child(
    strategy: Strategy, stopped: list[Action], started: tuple[str, ...]
) -> None:
    """Stopped in reverse order, started in order; nobody else."""
    policy = _policy("a", "b", "c", strategy=strategy)
    assert policy.ended("b", Exit.CRASH, 1.0) == [*stopped, Start(started)]
    assert {id_ for id_, child in policy.children.items() if child.status is Status.RESTARTING} == set(
        started
    )


def test_a_sibling_that_is_down_is_not_stopped_but_started() -> None:
    """One that waits for its own restart joins that of the group."""
    policy = _policy("a", ChildPolicy("b", backoff=Backoff(5, 5)), "c", strategy=Strategy.ONE_FOR_ALL)
    assert policy.ended("b", Exit.CRASH, 0.0) == [Stop(("c", "a"))]
    assert policy.next_due() == 5
    assert policy.due(5) == [Start(("a", "b", "c"))]


def test_a_start_that_fails_puts_the_whole_group_off() -> None:
    """OTP: those already started again are stopped before the next try, which counts as one more.

    Between two tries the supervisor serves its mailbox, without any backoff too (OTP-9549).
    """
    policy = _policy("a", "b", strategy=Strategy.ONE_FOR_ALL)
    assert policy.ended("b", Exit.CRASH, 0.0) == [Stop(("a",)), Start(("a", "b"))]
    policy.started("a", 0.0)
    assert policy.ended("b", Exit.CRASH, 0.0) == [Stop(("a",))]
    assert policy.next_due() == RETRY
    assert policy.due(RETRY) == [Start(("a", "b"))]
    assert policy.children["b"].restarts == 2


def test_a_temporary_bystander_is_forgotten() -> None:
    """Stopped with the group and not started again."""
    policy = _policy(
        ChildPolicy("a", Restart.TEMPORARY),
        "b",
        ChildPolicy("c", Restart.TEMPORARY),
        strategy=Strategy.ONE_FOR_ALL,
    )
    actions = policy.ended("b", Exit.CRASH, 0.0)
    assert actions == [Stop(("c", "a")), Forget("a"), Forget("c"), Start(("b",))]
    assert list(policy.children) == ["b"]


# Restart types


@pytest.mark.parametrize("how", Exit)
def test_a_permanent_child_always_comes_back(how: Exit) -> None:
    """However it ended."""
    assert _policy("a").ended("a", how, 0.0) == [Start(("a",))]


@pytest.mark.parametrize(
    ("how", "actions", "status"),
    [
        (Exit.NORMAL, [], Status.UNDEFINED),
        (Exit.SHUTDOWN, [], Status.UNDEFINED),
        (Exit.CRASH, [Start(("a",))], Status.RESTARTING),
    ],
)
def test_a_transient_child_comes_back_after_a_crash_only(
    how: Exit, actions: list[Action], status: Status
) -> None:
    """Its spec is kept."""
    policy = _policy(ChildPolicy("a", Restart.TRANSIENT))
    assert policy.ended("a", how, 0.0) == actions
    assert policy.children["a"].status is status


@pytest.mark.parametrize("how", Exit)
def test_a_temporary_child_never_comes_back(how: Exit) -> None:
    """And its spec is forgotten."""
    policy = _policy(ChildPolicy("a", Restart.TEMPORARY))
    assert policy.ended("a", how, 0.0) == [Forget("a")]
    assert policy.children == {}


# Intensity


def test_one_restart_more_than_allowed_escalates() -> None:
    """Two in a period are let go, the third is not."""
    policy = _policy("a", "b", intensity=Intensity(2, 10))
    assert _crash(policy, "a", 0.0) == [Start(("a",))]
    assert _crash(policy, "b", 5.0) == [Start(("b",))]
    assert _crash(policy, "a", 9.9) == [Escalate("a: more than 2 restarts in 10 s")]


def test_restarts_outside_the_period_are_forgotten() -> None:
    """A crash every 10 s with an intensity of 1 in 10 s goes on for ever; every 9.9 s does not."""
    policy = _policy("a", intensity=Intensity(1, 10))
    for crash in range(20):
        assert _crash(policy, "a", crash * 10.0) == [Start(("a",))]
    assert isinstance(_crash(policy, "a", 199.9)[0], Escalate)


def test_no_restarts_allowed() -> None:
    """`max_restarts: 0` escalates at the first crash."""
    assert isinstance(_policy("a", intensity=Intensity(0, 10)).ended("a", Exit.CRASH, 0.0)[0], Escalate)


def test_a_failed_start_counts() -> None:
    """A child that never comes up escalates too."""
    policy = _policy("a", intensity=Intensity(2, 10))
    assert policy.ended("a", Exit.CRASH, 1.0) == [Start(("a",))]
    assert policy.ended("a", Exit.CRASH, 1.0) == []
    assert policy.due(1.0 + RETRY) == [Start(("a",))]
    assert isinstance(policy.ended("a", Exit.CRASH, 1.0)[0], Escalate)


def test_an_orderly_end_that_stays_down_does_not_count() -> None:
    """Only restarts do."""
    policy = _policy(ChildPolicy("a", Restart.TRANSIENT), "b", intensity=Intensity(1, 10))
    for _ in range(5):
        policy.ended("a", Exit.NORMAL, 0.0)
        policy.started("a", 0.0)
    assert _crash(policy, "b", 0.0) == [Start(("b",))]


# An intensity of its own


def _degradable(**fields: Any) -> ChildPolicy:
    return ChildPolicy("a", own=Intensity(1, 10), cooldown=60, **fields)


def test_a_child_with_its_own_intensity_is_degraded_alone() -> None:
    """Its supervisor does not count its crashes, and its siblings go on."""
    policy = _policy(_degradable(), "b", intensity=Intensity(0, 10))
    assert _crash(policy, "a", 0.0) == [Start(("a",))]
    assert _crash(policy, "a", 1.0) == [Degrade("a")]
    assert policy.children["a"].status is Status.DEGRADED
    assert policy.children["b"].status is Status.RUNNING


def test_a_degraded_child_is_tried_again_after_its_cool_down() -> None:
    """Not earlier; then with a clean record: intensity and backoff begin anew."""
    policy = _policy(_degradable(backoff=Backoff(1, 100, reset_after=1000)))
    policy.ended("a", Exit.CRASH, 0.0)
    assert policy.ended("a", Exit.CRASH, 1.0) == [Degrade("a")]
    assert policy.next_due() == 61
    assert policy.due(60.9) == []
    assert policy.due(61) == [Start(("a",))]
    assert policy.next_due() is None
    policy.started("a", 61)
    assert policy.ended("a", Exit.CRASH, 61.5) == []
    assert policy.children["a"].status is Status.RESTARTING
    assert policy.next_due() == 62.5


# Backoff


def test_backoff_doubles_up_to_its_maximum() -> None:
    """After failures in a row: 20, 40, 80, 160, 200, 200 ms."""
    backoff = Backoff(0.02, 0.2)
    assert [backoff.delay(failures, 0.9) for failures in range(1, 7)] == [0.02, 0.04, 0.08, 0.16, 0.2, 0.2]


def test_jitter_adds_its_share() -> None:
    """From nothing to all of it, on top."""
    backoff = Backoff(1, 10, jitter=0.2)
    assert backoff.delay(2, 0.0) == 2
    assert backoff.delay(2, 0.5) == pytest.approx(2.2)
    assert backoff.delay(2, 0.999) < 2.4


def test_a_child_stays_down_for_its_backoff() -> None:
    """The delay is drawn once per crash, with the policy's dice."""
    policy = _policy(ChildPolicy("a", backoff=Backoff(1, 8, jitter=1, reset_after=1000)), dice=lambda: 0.5)
    delays: list[float | None] = []
    for crash in range(5):
        assert policy.ended("a", Exit.CRASH, crash * 100.0) == []
        delays.append((policy.next_due() or 0) - crash * 100.0)
        assert policy.due(policy.next_due() or 0) == [Start(("a",))]
        policy.started("a", crash * 100.0 + 50)
    assert delays == [1.5, 3, 6, 12, 12]


@pytest.mark.parametrize(("uptime", "delay"), [(4.5, 4), (4.6, 1)])
def test_a_child_that_ran_for_a_while_begins_anew(uptime: float, delay: float) -> None:
    """Longer than the middle of minimum and maximum, by default."""
    policy = _policy(ChildPolicy("a", backoff=Backoff(1, 8)))
    policy.ended("a", Exit.CRASH, 0.0)
    policy.due(1)
    policy.started("a", 1)
    policy.ended("a", Exit.CRASH, 1)
    policy.due(3)
    policy.started("a", 3)
    policy.ended("a", Exit.CRASH, 3 + uptime)
    assert policy.next_due() == pytest.approx(3 + uptime + delay)


def test_a_start_that_fails_late_is_no_uptime() -> None:
    """What never ran forgets nothing, however long it tried."""
    policy = _policy(ChildPolicy("a", backoff=Backoff(1, 8)))
    policy.ended("a", Exit.CRASH, 0.0)
    policy.due(1)
    policy.ended("a", Exit.CRASH, 100)
    assert policy.next_due() == 102


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 1), st.integers(1, 10**6), st.floats(0, 1))
def test_no_delay_is_out_of_bounds(
    minimum: float, span: float, jitter: float, failures: int, dice: float
) -> None:
    """Between the minimum and the maximum with all its jitter."""
    backoff = Backoff(minimum, minimum + span, jitter)
    assert minimum <= backoff.delay(failures, dice) <= (minimum + span) * (1 + jitter)


# The end of a supervisor


@pytest.mark.parametrize(
    ("auto_shutdown", "first", "second"),
    [
        (AutoShutdown.NEVER, [], []),
        (AutoShutdown.ANY_SIGNIFICANT, [Finish()], [Finish()]),
        (AutoShutdown.ALL_SIGNIFICANT, [], [Finish()]),
    ],
)
def test_significant_children_end_their_supervisor(
    auto_shutdown: AutoShutdown, first: list[Action], second: list[Action]
) -> None:
    """When any, or the last of them, has ended."""
    transient = ChildPolicy("a", Restart.TRANSIENT, significant=True)
    temporary = ChildPolicy("b", Restart.TEMPORARY, significant=True)
    policy = _policy(transient, temporary, "c", auto_shutdown=auto_shutdown)
    assert policy.ended("a", Exit.NORMAL, 0.0) == first
    assert policy.ended("b", Exit.CRASH, 0.0) == [Forget("b"), *second]


def test_an_insignificant_child_ends_nobody() -> None:
    """Nor does a significant one that is restarted."""
    policy = _policy(
        ChildPolicy("a", Restart.TRANSIENT),
        ChildPolicy("b", Restart.TRANSIENT, significant=True),
        auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
    )
    assert policy.ended("a", Exit.NORMAL, 0.0) == []
    assert policy.ended("b", Exit.CRASH, 0.0) == [Start(("b",))]


# Children on purpose


def test_a_child_keeps_its_history_under_a_new_policy() -> None:
    """A changed spec is no amnesty."""
    policy = _policy("a")
    _crash(policy, "a", 0.0)
    policy.add([ChildPolicy("a", Restart.TEMPORARY)])
    assert policy.children["a"].restarts == 1
    assert policy.children["a"].policy.restart is Restart.TEMPORARY


def test_a_stopped_child_is_not_started_by_the_clock() -> None:
    """Not even if it was waiting for its restart."""
    policy = _policy(ChildPolicy("a", backoff=Backoff(1, 1)))
    policy.ended("a", Exit.CRASH, 0.0)
    policy.stopped("a")
    assert policy.next_due() is None
    assert policy.due(100) == []
    assert policy.children["a"].status is Status.UNDEFINED


def test_the_order_of_children_can_be_changed() -> None:
    """It decides who is the rest."""
    policy = _policy("a", "b", strategy=Strategy.REST_FOR_ONE)
    policy.reorder(["b", "a"])
    assert policy.ended("a", Exit.CRASH, 0.0) == [Start(("a",))]


def test_removing_an_unknown_child_does_nothing() -> None:
    """It may have been forgotten already."""
    policy = _policy("a")
    policy.remove("b")
    assert list(policy.children) == ["a"]


def test_who_is_needed_is_never_degraded() -> None:
    """Without a cool-down, exceeding its own intensity ends the supervisor; it counts alone."""
    needed = ChildPolicy("a", own=Intensity(1, 60), cooldown=None)
    policy = RestartPolicy(Strategy.ONE_FOR_ONE, Intensity(0, 60), lambda: 0.0)
    policy.add([needed])
    policy.started("a", 0.0)
    assert policy.ended("a", Exit.CRASH, 1.0) == [Start(("a",))]
    policy.started("a", 1.0)
    assert policy.ended("a", Exit.CRASH, 2.0) == [Escalate("a: more than 1 restarts in 60 s")]


# Any history


class Supervision(RuleBasedStateMachine):
    """A supervisor that does what the policy says, with children that crash, end, or fail to start."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.running: set[str] = set()
        self.known: list[str] = []
        self.over = False
        self.crashes: list[float] = []
        self.failing: set[str] = set()

    @initialize(
        strategy=st.sampled_from(Strategy),
        auto_shutdown=st.sampled_from(AutoShutdown),
        kinds=st.lists(st.sampled_from(Restart), min_size=1, max_size=4),
        own=st.booleans(),
        backoff=st.sampled_from([Backoff(), Backoff(1, 4, 0.5)]),
    )
    def begin(
        self,
        strategy: Strategy,
        auto_shutdown: AutoShutdown,
        kinds: list[Restart],
        own: bool,  # noqa: FBT001 - Hypothesis names its arguments
        backoff: Backoff,
    ) -> None:
        """Start the children."""
        self.policy = RestartPolicy(strategy, Intensity(3, 10), lambda: 0.5, auto_shutdown)
        intensity = Intensity(2, 10) if own else None
        self.policy.add(
            ChildPolicy(f"c{n}", kind, backoff, kind is not Restart.PERMANENT, intensity, 30)
            for n, kind in enumerate(kinds)
        )
        self.known = list(self.policy.children)
        self.own = own
        for id_ in self.known:
            self.policy.started(id_, 0.0)
            self.running.add(id_)

    def _do(self, actions: list[Action]) -> None:
        todo = list(actions)
        while todo and not self.over:
            match todo.pop(0):
                case Stop(ids):
                    assert self.running.issuperset(ids)
                    assert list(ids) == [id_ for id_ in reversed(self.known) if id_ in ids]
                    self.running -= set(ids)
                case Start(ids):
                    assert list(ids) == [id_ for id_ in self.known if id_ in ids]
                    for position, id_ in enumerate(ids):
                        if more := self._start(id_):
                            todo = [*more, Start(ids[position + 1 :]), *todo]
                            break
                case Forget(id_):
                    self.known.remove(id_)
                    self.running.discard(id_)
                case Degrade(id_):
                    assert self.own
                    assert id_ not in self.running
                case Escalate():
                    assert not self.own
                    assert len([at for at in self.crashes if at > self.now - 10]) > 3
                    self.over = True
                case Finish():
                    self.over = True

    def _start(self, id_: str) -> list[Action]:
        child = self.policy.children.get(id_)
        if child is None or child.status is not Status.RESTARTING or child.due is not None:
            return []
        assert id_ not in self.running
        if id_ in self.failing:
            self.failing.discard(id_)
            self.crashes.append(self.now)
            return self.policy.ended(id_, Exit.CRASH, self.now)
        self.policy.started(id_, self.now)
        self.running.add(id_)
        return []

    @precondition(lambda self: self.running and not self.over)
    @rule(data=st.data(), how=st.sampled_from(Exit))
    def end(self, data: st.DataObject, how: Exit) -> None:
        """A running child ends by itself."""
        id_ = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(id_)
        kind = self.policy.children[id_].policy.restart
        if kind is Restart.PERMANENT or (kind is Restart.TRANSIENT and how is Exit.CRASH):
            self.crashes.append(self.now)
        self._do(self.policy.ended(id_, how, self.now))

    @precondition(lambda self: self.known and not self.over)
    @rule(data=st.data())
    def fail_next_start(self, data: st.DataObject) -> None:
        """The next start of a child will fail."""
        self.failing.add(data.draw(st.sampled_from(self.known)))

    @precondition(lambda self: self.running and not self.over)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        """An operator stops a child."""
        id_ = data.draw(st.sampled_from(sorted(self.running)))
        self.policy.stopped(id_)
        self.running.discard(id_)

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        """Time passes, and what is due is done at its time."""
        until = self.now + seconds
        while not self.over and (at := self.policy.next_due()) is not None and at <= until:
            self.now = max(self.now, at)
            actions = self.policy.due(self.now)
            assert actions, "what was named as due is due"
            self._do(actions)
        self.now = until

    @invariant()
    def agree(self) -> None:
        """The machine and the supervisor see the same children, and nobody is forgotten in between."""
        if self.over:
            return
        assert list(self.policy.children) == self.known
        for id_, child in self.policy.children.items():
            assert (child.status is Status.RUNNING) is (id_ in self.running)
            assert (child.due is not None) is (child.status in {Status.RESTARTING, Status.DEGRADED})
            assert child.due is None or child.due >= self.now


TestSupervision = Supervision.TestCase
