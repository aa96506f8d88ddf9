import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pykka
import pytest

from knell.actors.behaviour import Shutdown
from knell.actors.cell import Cell
from knell.actors.clock import Clock
from knell.actors.context import Context
from knell.actors.control import Control
from knell.actors.host import Host
from knell.actors.policy.restart import AutoShutdown, Backoff, Intensity, Restart, Strategy
from knell.actors.spec import ACTOR_SHUTDOWN, INFINITY, Spec, SpecError, check_specs
from knell.actors.supervisor import EscalatedError, RefusedError, StartError, Supervisor
from tests.puppets import PATIENCE, Gate

Puppets = Callable[..., Spec]


def _crash(_puppet: Any) -> None:
    raise ZeroDivisionError("over a message")


def _end(_puppet: Any) -> None:
    raise Shutdown


def _nested(name: str, *specs: Spec, **supervision: Any) -> Spec:
    return Spec(name, Supervisor, {"specs": specs, **supervision}, shutdown=INFINITY, start_timeout=None)


def _statuses(control: Control) -> dict[str, str]:
    return {info.id: info.status for info in control.which_children()}


@pytest.fixture
def abc(tree: Any, story: Any, puppet: Puppets) -> Callable[..., Control]:
    """Return what starts a, b and c under a supervisor, and reads their start off the story."""

    def start(**supervision: Any) -> Control:
        control: Control = tree.start(puppet("a"), puppet("b"), puppet("c"), **supervision)
        assert story.take(3) == [(name, "start", 1) for name in "abc"]
        return control

    return start


# Starting and stopping


def test_start_in_order_and_stop_in_reverse(tree: Any, story: Any, abc: Callable[..., Control]) -> None:
    """Nobody runs without those it needs."""
    abc()
    tree.stop()
    assert story.rest() == [(name, what) for name in "cba" for what in ("drain", "stop")]
    assert not any(cell.actor_ref.is_alive() for cell in (tree.root, *map(tree.cell, "abc")))
    assert pykka.ActorRegistry.get_all() == []


def test_independent_children_stop_together(tree: Any, story: Any, puppet: Puppets) -> None:
    """Nobody waits for another's deadline: each can only end when all have been told."""
    meeting = threading.Barrier(3)

    def meet(_puppet: Any) -> None:
        meeting.wait(PATIENCE)

    specs = [puppet(name, stop=meet) for name in "abc"]
    tree.start(*specs, together=True)
    tree.stop()
    assert sorted(word for word in story.rest() if word[1] == "stop") == [(name, "stop") for name in "abc"]


def test_a_first_start_that_fails_unwinds(tree: Any, story: Any, puppet: Puppets) -> None:
    """Those before it are stopped, those after it never start, and the starter is told why."""
    with pytest.raises(StartError, match=r"b did not start: ZeroDivisionError") as caught:
        tree.start(puppet("a"), puppet("b", start=_crash), puppet("c"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert [word[:2] for word in story.rest()] == [
        *[("a", "start"), ("b", "failure"), ("a", "drain"), ("a", "stop")]
    ]


def test_a_start_that_takes_too_long_fails(tree: Any, puppet: Puppets) -> None:
    """Its thread is given up, and what it does later counts for nothing."""
    release = threading.Event()

    def hang(_puppet: Any) -> None:
        assert release.wait(PATIENCE)

    with pytest.raises(StartError, match=r"on_start took more than 0\.05 s"):
        tree.start(puppet("a", start=hang, start_timeout=0.05))
    assert tree.host.living_zombies() == 1
    release.set()


# Strategies


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [
        (Strategy.ONE_FOR_ONE, "", "b"),
        (Strategy.ONE_FOR_ALL, "ca", "abc"),
        (Strategy.REST_FOR_ONE, "c", "bc"),
    ],
)
def test_strategies(
    tree: Any, story: Any, abc: Callable[..., Control], strategy: Strategy, stopped: str, started: str
) -> None:
    """Who is stopped and started with a crashed child, and in which order; mailboxes stay."""
    abc(strategy=strategy)
    tree.ref("b").tell(_crash)
    for name in "abc":
        tree.ref(name).tell("after")
    told = story.take(1 + 2 * len(stopped) + len(started) + 3)
    control = [word for word in told if word[1] != "after"]
    assert control == [
        ("b", "failure", "ZeroDivisionError('over a message')"),
        *[(name, what) for name in stopped for what in ("drain", "stop")],
        *[(name, "start", 2) for name in started],
    ]
    assert sorted(word[0] for word in told if word[1] == "after") == ["a", "b", "c"]


def test_an_order_to_stop_does_not_outlive_its_actor(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """A sibling that hangs while its group is stopped is given up; its successor goes on."""
    tree.start(puppet("a"), puppet("b", shutdown=0.02), strategy=Strategy.ONE_FOR_ALL)
    tree.ref("b").tell(gate)
    assert gate.entered.wait(PATIENCE)
    tree.ref("a").tell(_crash)
    story.until("b", "start", 3)  # the one between belongs to the thread that hangs
    assert tree.ref("b").ask("alive", timeout=PATIENCE) == "alive"


def test_too_many_crashes_end_the_supervisor(tree: Any, story: Any, abc: Callable[..., Control]) -> None:
    """Its children stop, and at the root everything is over; whoever watches is told."""
    abc(intensity=Intensity(2, 60))
    ref = tree.ref("a")
    for _ in range(3):
        ref.tell(_crash)
    assert tree.event("escalated").detail == "a: more than 2 restarts in 60 s"
    assert tree.root.closed.wait(PATIENCE)
    assert isinstance(tree.root.cause, EscalatedError)
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("x")
    assert [word for word in story.rest() if word[1] == "stop"] == [("c", "stop"), ("b", "stop")]


def test_a_supervisor_is_restarted_by_its_own(tree: Any, story: Any, puppet: Puppets) -> None:
    """Its children keep their addresses and their messages; the other branch does not notice."""
    inner = _nested("inner", puppet("a"), puppet("b"), intensity=Intensity(1, 60))
    tree.start(inner, puppet("other"))
    a, b = (tree.cell("inner").children[name].actor_ref for name in "ab")
    a.tell(_crash)
    a.tell(_crash)
    b.tell("kept")
    a.tell("kept too")
    told = story.until("a", "kept too")
    assert tree.event("escalated").actor == "inner"
    assert ("b", "kept") in [*told, *story.rest()]
    assert [word for word in told if word[0] == "other"] == [("other", "start", 1)]
    assert tree.cell("inner").children["a"].actor_ref is a
    assert a.ask("alive", timeout=PATIENCE) == "alive"


def test_a_child_with_its_own_intensity_is_degraded(tree: Any, story: Any, puppet: Puppets) -> None:
    """It stays down for its cool-down; its siblings and its supervisor go on, its mailbox stays open."""
    control = tree.start(
        puppet("a", own=Intensity(1, 60), cooldown=0.05), puppet("b"), intensity=Intensity(0, 60)
    )
    ref = tree.ref("a")
    ref.tell(_crash)
    ref.tell(_crash)
    ref.tell("waits")
    assert tree.event("degraded").actor == "a"
    assert tree.ref("b").ask("alive", timeout=PATIENCE) == "alive"
    assert story.until("a", "waits")[-2:] == [("a", "start", 3), ("a", "waits")]
    assert _statuses(control) == {"a": "running", "b": "running"}


def test_a_restart_that_fails_is_tried_again(tree: Any, story: Any, puppet: Puppets) -> None:
    """After its backoff, each time a crash more; then it serves what has waited."""
    failures: list[int] = []

    def start(puppet: Any) -> None:
        if 1 < puppet.ctx.incarnation < 4:
            failures.append(puppet.ctx.incarnation)
            raise ZeroDivisionError

    control = tree.start(puppet("a", start=start, backoff=Backoff(0.001, 0.01)))
    tree.ref("a").tell(_crash)
    tree.ref("a").tell("waits")
    story.until("a", "waits")
    assert failures == [2, 3]
    assert [info.restarts for info in control.which_children()] == [3]


def test_a_group_whose_restart_fails_is_started_anew(tree: Any, story: Any, puppet: Puppets) -> None:
    """From its first on, also while the start before it is not through; nobody is started twice."""

    def start(puppet: Any) -> None:
        if puppet.ctx.incarnation in {2, 3}:
            raise ZeroDivisionError

    control = tree.start(puppet("a"), puppet("b", start=start), puppet("c"), strategy=Strategy.ONE_FOR_ALL)
    tree.ref("a").tell(_crash)
    assert story.until("c", "start", 2)[-2:] == [("b", "start", 4), ("c", "start", 2)]
    assert set(_statuses(control).values()) == {"running"}
    assert [cell.mailbox.epoch for cell in tree.root.children.values()] == [4, 4, 2]


def test_a_backing_off_child_can_be_looked_at_and_stopped(tree: Any, puppet: Puppets) -> None:
    """The supervisor serves requests all the while, and stops at once."""
    control = tree.start(puppet("a", backoff=Backoff(3600, 3600)))
    tree.ref("a").tell(_crash)
    tree.event("crashed")
    assert _statuses(control) == {"a": "restarting"}
    assert control.count_children() == {"specs": 1, "active": 0, "supervisors": 0, "workers": 1}
    control.terminate_child("a")
    assert _statuses(control) == {"a": "undefined"}
    control.restart_child("a")
    assert tree.ref("a").ask("alive", timeout=PATIENCE) == "alive"


@pytest.mark.parametrize(
    ("kind", "how", "status"),
    [
        (Restart.TRANSIENT, _end, {"a": "undefined", "b": "running"}),
        (Restart.TRANSIENT, _crash, {"a": "running", "b": "running"}),
        (Restart.TEMPORARY, _end, {"b": "running"}),
        (Restart.TEMPORARY, _crash, {"b": "running"}),
        (Restart.PERMANENT, _end, {"a": "running", "b": "running"}),
    ],
)
def test_restart_types(
    tree: Any, story: Any, puppet: Puppets, kind: Restart, how: Callable[[Any], None], status: dict[str, str]
) -> None:
    """Always, after a crash, never."""
    control = tree.start(puppet("a", restart=kind), puppet("b"))
    ref = tree.ref("a")
    ref.tell(how)
    if status.get("a") == "running":
        story.until("a", "start", 2)
    else:
        assert tree.event("stopped").actor == "a"
        assert not ref.is_alive()
    assert _statuses(control) == status


@pytest.mark.parametrize("auto", [AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT])
def test_significant_children_end_their_supervisor(
    tree: Any, story: Any, puppet: Puppets, auto: AutoShutdown
) -> None:
    """Orderly, when any or all of them have ended."""
    tree.start(
        puppet("a", restart=Restart.TRANSIENT, significant=True),
        puppet("b", restart=Restart.TEMPORARY, significant=True),
        puppet("c"),
        auto_shutdown=auto,
    )
    tree.ref("a").tell(_end)
    if auto is AutoShutdown.ALL_SIGNIFICANT:
        story.until("a", "stop")
        assert tree.ref("c").ask("alive", timeout=PATIENCE) == "alive"
        tree.ref("b").tell(_crash)
    assert tree.root.closed.wait(PATIENCE)
    assert ("c", "stop") in story.rest()


# Hung children


@pytest.mark.parametrize("host", [1], indirect=True)
def test_too_many_hung_threads_end_the_supervisor(tree: Any, puppet: Puppets) -> None:
    """A thread cannot be killed: beyond the limit the process has to end."""
    release = threading.Event()

    def hang(_puppet: Any) -> None:
        assert release.wait(PATIENCE)

    tree.start(puppet("a", hang_after=0.02), intensity=Intensity(100, 60))
    tree.ref("a").tell(hang)
    tree.ref("a").tell(hang)
    assert tree.event("escalated").detail == "2 hung threads, more than 1"
    assert tree.root.closed.wait(PATIENCE)
    release.set()


def test_a_hung_thread_counts_as_a_crash(tree: Any, story: Any, puppet: Puppets) -> None:
    """For the intensity; once it has ended it is a zombie no more."""
    release = threading.Event()

    def hang(_puppet: Any) -> None:
        assert release.wait(PATIENCE)

    control = tree.start(puppet("a", hang_after=0.02))
    tree.ref("a").tell(hang)
    story.until("a", "start", 3)  # the one between belongs to the thread that hangs
    assert [info.restarts for info in control.which_children()] == [1]
    (zombie,) = tree.host.zombies
    release.set()
    zombie.join(PATIENCE)
    assert tree.host.living_zombies() == 0


def test_the_watchdog_sees_a_hang_at_the_moment_it_named(puppet: Puppets) -> None:
    """Whatever the rounding: with a clock that stands still it would wake up for that moment for ever."""
    now = [17899.746582605054 - 1800.0]
    host = Host(cast("Any", None), Clock(now=lambda: now[0]))
    cell = Cell(Spec("root", Supervisor), host)
    supervisor: Any = Supervisor(Context(cell, 0, host.clock), specs=(), intensity=Intensity(0, 1.0))
    child = cell.children["a"] = Cell(puppet("a", hang_after=1800.0), host, cell)
    supervisor._policy.add([child.spec.policy])
    for since in (now[0] + share / 7 for share in range(2000)):
        child.mailbox.begin([], since)
        now[0] = since + 1800.0
        with pytest.raises(EscalatedError):
            supervisor._look_for_hung()


# Requests


def test_children_come_and_go(tree: Any, puppet: Puppets) -> None:
    """Start, terminate, restart, delete; each with its effect on what is known."""
    control = tree.start(puppet("a"))
    ref = control.start_child(puppet("b"))
    assert ref.ask("new", timeout=PATIENCE) == "new"
    assert control.count_children()["active"] == 2
    control.terminate_child("b")
    assert not ref.is_alive()
    assert _statuses(control) == {"a": "running", "b": "undefined"}
    assert control.restart_child("b") is ref
    assert ref.ask("again", timeout=PATIENCE) == "again"
    control.terminate_child("b")
    control.delete_child("b")
    assert _statuses(control) == {"a": "running"}
    assert control.start_child(puppet("b")) is not ref


def test_requests_that_make_no_sense_are_refused(tree: Any, puppet: Puppets) -> None:
    """With OTP's words; nothing changes."""
    backing_off = puppet("down", backoff=Backoff(3600, 3600))
    control = tree.start(puppet("a"), puppet("gone"), backing_off)
    control.terminate_child("gone")
    tree.ref("down").tell(_crash)
    tree.event("crashed")
    requests: list[tuple[Callable[[Any], Any], Any, str]] = [
        (control.start_child, puppet("a"), "already_started"),
        (control.start_child, puppet("gone"), "already_present"),
        (control.start_child, puppet("new", start=_crash), "did not start"),
        (control.delete_child, "a", "running"),
        (control.restart_child, "a", "running"),
        (control.restart_child, "down", "restarting"),
        (control.delete_child, "down", "restarting"),
        (control.terminate_child, "nobody", "not_found"),
        (control.restart_child, "nobody", "not_found"),
        (control.delete_child, "nobody", "not_found"),
        (control.get_childspec, "nobody", "not_found"),
    ]
    for request, argument, code in requests:
        with pytest.raises(RefusedError) as caught:
            request(argument)
        assert caught.value.code.startswith(code)
    assert _statuses(control) == {
        "a": "running",
        "gone": "undefined",
        "down": "restarting",
        "new": "undefined",
    }


def test_a_spec_can_be_read_back(tree: Any, puppet: Puppets) -> None:
    """With OTP's defaults: permanent, five seconds to stop."""
    spec = puppet("a")
    control = tree.start(spec, _nested("inner"))
    assert control.get_childspec("a") is spec
    assert (spec.restart, spec.shutdown, spec.seconds) == (Restart.PERMANENT, ACTOR_SHUTDOWN, 5.0)
    assert control.count_children() == {"specs": 2, "active": 2, "supervisors": 1, "workers": 1}
    assert control.get_childspec("inner").seconds is None


def test_other_messages_harm_no_supervisor(tree: Any, puppet: Puppets) -> None:
    """Whoever finds its address."""
    control = tree.start(puppet("a"))
    assert tree.root.actor_ref.ask("hello", timeout=PATIENCE) is None
    assert _statuses(control) == {"a": "running"}


# Changing the tree


def test_only_what_changed_is_replaced(
    tree: Any, story: Any, abc: Callable[..., Control], puppet: Puppets
) -> None:
    """Removed ones stop, changed ones stop and start anew with their address, new ones start: in order."""
    control = abc()
    refs = {name: tree.ref(name) for name in "abc"}
    kept = control.get_childspec("b")
    control.apply([kept, replace(control.get_childspec("a"), mailbox=7), puppet("d")])
    assert story.rest() == [
        *[("c", "drain"), ("c", "stop"), ("a", "drain"), ("a", "stop")],
        *[("a", "start", 2), ("d", "start", 1)],
    ]
    assert _statuses(control) == {"b": "running", "a": "running", "d": "running"}
    assert (tree.ref("a"), tree.ref("b")) == (refs["a"], refs["b"])
    assert tree.cell("a").mailbox.maxsize == 7
    assert not refs["c"].is_alive()
    assert list(tree.root.children) == ["b", "a", "d"]


def test_a_change_survives_a_crash_of_the_supervisor(tree: Any, story: Any, puppet: Puppets) -> None:
    """It comes back with the children it had, not with those it began with."""
    tree.start(_nested("inner", puppet("a"), intensity=Intensity(0, 60)))
    inner = Control(tree.ref("inner"), PATIENCE)
    inner.apply([puppet("b"), puppet("c")])
    tree.cell("inner").children["b"].actor_ref.tell(_crash)
    story.until("c", "start", 2)
    assert _statuses(inner) == {"b": "running", "c": "running"}


def test_a_wrong_change_changes_nothing(story: Any, abc: Callable[..., Control], puppet: Puppets) -> None:
    """All or nothing."""
    control = abc()
    with pytest.raises(SpecError, match="d: two children have this id"):
        control.apply([puppet("d"), puppet("d")])
    assert story.rest() == []
    assert list(_statuses(control)) == ["a", "b", "c"]


def test_a_changed_child_that_does_not_start_is_tried_again(tree: Any, story: Any, puppet: Puppets) -> None:
    """The tree is not broken by it: it is restarting, and the others run."""
    broken = threading.Event()
    broken.set()

    def start(_puppet: Any) -> None:
        if broken.is_set():
            broken.clear()
            raise ZeroDivisionError

    control = tree.start(puppet("a"), puppet("b"))
    changed = puppet("a", start=start, backoff=Backoff(0.01, 0.01))
    control.apply([changed, control.get_childspec("b")])
    assert story.until("a", "start", 3)
    assert tree.ref("b").ask("alive", timeout=PATIENCE) == "alive"


# Specs


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"id": ""}, "no id"),
        ({"behaviour": "x"}, "cannot be called"),
        ({"restart": "sometimes"}, "is none of permanent, transient, temporary"),
        ({"shutdown": "soon"}, "neither seconds, 'brutal' nor 'infinity'"),
        ({"shutdown": -1}, "shutdown -1 is negative"),
        ({"start_timeout": -1}, "start_timeout -1 is negative"),
        ({"hang_after": -0.5}, "hang_after -0.5 is negative"),
        ({"cooldown": -1}, "cooldown -1 is negative"),
        ({"mailbox": 0}, "mailbox 0 is not 1 or more"),
        ({"attempts": 0}, "attempts 0 is not 1 or more"),
        ({"attempts": 1.5}, "attempts 1.5 is not 1 or more"),
        ({"significant": True}, "a permanent child never ends"),
        ({"significant": True, "restart": Restart.TRANSIENT}, "means nothing with auto_shutdown 'never'"),
    ],
)
def test_a_wrong_spec_is_named(
    tree: Any, story: Any, puppet: Puppets, fields: dict[str, Any], problem: str
) -> None:
    """And nothing is started."""
    with pytest.raises(SpecError, match=problem):
        tree.start(puppet("first"), replace(puppet("a"), **fields))
    assert story.rest() == []


def test_a_right_spec_passes(puppet: Puppets) -> None:
    """Significant children too, where their end means something."""
    significant = puppet("a", restart=Restart.TEMPORARY, significant=True)
    check_specs([significant, puppet("b")], AutoShutdown.ANY_SIGNIFICANT)
