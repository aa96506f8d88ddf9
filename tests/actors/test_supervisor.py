import threading
from typing import Any

import pytest

from knell.actors.control import Control
from knell.actors.policy.restart import AutoShutdown, Backoff, Intensity, Restart, Strategy
from knell.actors.spec import BRUTAL, check_specs
from knell.actors.supervisor import RefusedError, StartError
from tests.deeds import Puppets, crash, nested, statuses
from tests.puppets import PATIENCE, Gate

NEVER = {"intensity": Intensity(0, 60)}

# Starting and stopping


def test_independent_children_stop_together(tree: Any, story: Any, puppet: Puppets) -> None:
    """Nobody waits for another's deadline: each can only end when all have been told."""
    meeting = threading.Barrier(3)

    def meet(_puppet: Any) -> None:
        meeting.wait(PATIENCE)

    specs = [puppet(name, stop=meet) for name in "abc"]
    tree.start(*specs, together=True)
    tree.stop()
    assert sorted(word for word in story.rest() if word[1] == "stop") == [(name, "stop") for name in "abc"]


def test_a_start_that_takes_too_long_fails(tree: Any, puppet: Puppets) -> None:
    """Its thread is given up, and what it does later counts for nothing."""
    release = threading.Event()

    def hang(_puppet: Any) -> None:
        assert release.wait(PATIENCE)

    with pytest.raises(StartError, match=r"on_start took more than 0\.05 s"):
        tree.start(puppet("a", start=hang, start_timeout=0.05))
    assert tree.host.living_zombies() == 1
    release.set()


def test_a_supervisor_that_is_down_takes_its_children_along(tree: Any, story: Any, puppet: Puppets) -> None:
    """Stopped for good while it waits for its restart: what waited for its children is accounted for."""
    specs = puppet("a"), nested("deeper", puppet("b"))
    control = tree.start(nested("inner", *specs, supervision=NEVER, backoff=Backoff(3600, 3600)))
    deeper = tree.cell("inner").children["deeper"]
    cells = [*tree.cell("inner").children.values(), *deeper.children.values()]
    cells[0].actor_ref.tell(crash)
    story.until("b", "stop")
    while tree.event("crashed").actor != "inner":
        continue
    cells[2].actor_ref.tell("waits")
    control.terminate_child("inner")
    assert [cell.actor_ref.is_alive() for cell in cells] == [False] * 3
    assert {tree.letter().message, tree.letter().message} == {crash, "waits"}
    for cell in cells:
        cell.thread.join(PATIENCE)
        assert not cell.thread.is_alive()


def test_a_brutal_stop_of_a_supervisor_leaves_nobody_behind(tree: Any, story: Any, puppet: Puppets) -> None:
    """It has no time to stop its children, so its own supervisor does."""
    control = tree.start(nested("inner", puppet("a"), puppet("b"), shutdown=BRUTAL))
    refs = [cell.actor_ref for cell in tree.cell("inner").children.values()]
    control.terminate_child("inner")
    assert [ref.is_alive() for ref in refs] == [False, False]
    assert [word for word in story.rest() if word[1] == "stop"] == [("b", "stop"), ("a", "stop")]


# An intensity of one's own


def test_a_child_with_its_own_intensity_is_degraded(tree: Any, story: Any, puppet: Puppets) -> None:
    """It stays down for its cool-down; its siblings and its supervisor go on, its mailbox stays open."""
    control = tree.start(
        puppet("a", own=Intensity(1, 60), cooldown=0.05), puppet("b"), intensity=Intensity(0, 60)
    )
    ref = tree.ref("a")
    ref.tell(crash)
    ref.tell(crash)
    ref.tell("waits")
    assert tree.event("degraded").actor == "a"
    assert tree.ref("b").ask("alive", timeout=PATIENCE) == "alive"
    assert story.until("a", "waits")[-2:] == [("a", "start", 3), ("a", "waits")]
    assert statuses(control) == {"a": "running", "b": "running"}


def test_one_that_is_degraded_for_hanging_says_so(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """People read why: it did not crash with anything."""
    tree.start(puppet(hang_after=0.02, own=Intensity(0, 60)))
    tree.ref("a").tell(gate)
    assert tree.event("degraded").detail == "TimeoutError('a hung: outcome unknown')"


def test_a_crash_is_told_before_what_follows(tree: Any, puppet: Puppets) -> None:
    """The start is not kept waiting for it; the order is kept all the same, to the last crash."""
    tree.start(puppet(), intensity=Intensity(1, 60))
    tree.ref("a").tell(crash)
    tree.ref("a").tell(crash)
    told = [tree.events.get(timeout=PATIENCE).kind for _ in range(6)]
    assert told == ["started", "crashed", "restarted", "crashed", "escalated", "stopped"]


def test_a_crash_is_told_while_the_next_start_takes_long(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """Whoever looks for the reason does not have to wait for the actor."""

    def start(puppet: Any) -> None:
        if puppet.ctx.incarnation == 2:
            gate(puppet)

    tree.start(puppet(start=start))
    tree.ref("a").tell(crash)
    assert gate.entered.wait(PATIENCE)
    assert tree.event("crashed").detail == "ZeroDivisionError('over a message')"
    gate.leave.set()
    assert tree.event("restarted").actor == "a"


def test_a_backing_off_child_can_be_looked_at_and_stopped(tree: Any, puppet: Puppets) -> None:
    """The supervisor serves requests all the while, and stops at once."""
    control = tree.start(puppet("a", backoff=Backoff(3600, 3600)))
    tree.ref("a").tell(crash)
    tree.event("crashed")
    assert statuses(control) == {"a": "restarting"}
    assert control.count_children() == {"specs": 1, "active": 0, "supervisors": 0, "workers": 1}
    control.terminate_child("a")
    assert statuses(control) == {"a": "undefined"}
    control.restart_child("a")
    assert tree.ref("a").ask("alive", timeout=PATIENCE) == "alive"


# Hung children


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


# Requests


def test_children_come_and_go(tree: Any, puppet: Puppets) -> None:
    """Start, terminate, restart, delete; each with its effect on what is known."""
    control = tree.start(puppet("a"))
    ref = control.start_child(puppet("b"))
    assert ref.ask("new", timeout=PATIENCE) == "new"
    assert control.count_children()["active"] == 2
    control.terminate_child("b")
    assert not ref.is_alive()
    assert statuses(control) == {"a": "running", "b": "undefined"}
    assert control.restart_child("b") is ref
    assert ref.ask("again", timeout=PATIENCE) == "again"
    control.terminate_child("b")
    control.delete_child("b")
    assert statuses(control) == {"a": "running"}
    assert control.start_child(puppet("b")) is not ref


def test_a_new_child_that_does_not_start_is_not_added(tree: Any, puppet: Puppets) -> None:
    """A known one that does not start when it is told to stays down, with its spec."""
    broken = threading.Event()

    def start(_puppet: Any) -> None:
        if broken.is_set():
            raise ZeroDivisionError

    control = tree.start(puppet("a", start=start))
    with pytest.raises(RefusedError, match="new: did not start: ZeroDivisionError"):
        control.start_child(puppet("new", start=crash))
    control.terminate_child("a")
    broken.set()
    with pytest.raises(RefusedError, match="a: did not start: ZeroDivisionError"):
        control.restart_child("a")
    assert statuses(control) == {"a": "undefined"}


def test_a_temporary_child_that_is_stopped_is_forgotten(tree: Any, puppet: Puppets) -> None:
    """Its spec is never needed again."""
    control = tree.start(puppet("a", restart=Restart.TEMPORARY), puppet("b"))
    ref = tree.ref("a")
    control.terminate_child("a")
    assert not ref.is_alive()
    assert statuses(control) == {"b": "running"}
    assert control.start_child(puppet("a")).ask("new", timeout=PATIENCE) == "new"


def test_other_messages_harm_no_supervisor(tree: Any, puppet: Puppets) -> None:
    """Whoever finds its address."""
    control = tree.start(puppet("a"))
    assert tree.root.actor_ref.ask("hello", timeout=PATIENCE) is None
    assert statuses(control) == {"a": "running"}


# Changing the tree


def test_a_change_survives_a_crash_of_the_supervisor(tree: Any, story: Any, puppet: Puppets) -> None:
    """It comes back with the children it had, not with those it began with."""
    tree.start(nested("inner", puppet("a"), supervision=NEVER))
    inner = Control(tree.ref("inner"), PATIENCE)
    inner.apply([puppet("b"), puppet("c")])
    tree.cell("inner").children["b"].actor_ref.tell(crash)
    story.until("c", "start", 2)
    assert statuses(inner) == {"b": "running", "c": "running"}


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


def test_a_right_spec_passes(puppet: Puppets) -> None:
    """Significant children too, where their end means something."""
    significant = puppet("a", restart=Restart.TEMPORARY, significant=True)
    check_specs([significant, puppet("b")], AutoShutdown.ANY_SIGNIFICANT)


def test_two_starts_that_fail_in_one_round(tree: Any, story: Any, puppet: Puppets) -> None:
    """What follows from the first failure is done before the others' turn: nobody is started twice."""
    failing = {"a": 1, "c": 1}

    def start(actor: Any) -> None:
        if actor.ctx.incarnation > 1 and failing.get(actor.ctx.name, 0):
            failing[actor.ctx.name] -= 1
            raise ZeroDivisionError(actor.ctx.name)

    control = tree.start(
        *(puppet(name, start=start) for name in "abc"),
        strategy=Strategy.ONE_FOR_ALL,
        intensity=Intensity(10, 60.0),
    )
    story.take(3)
    tree.ref("b").tell(crash)
    for _ in range(3):
        tree.event("crashed")
    for name in "abc":
        assert tree.ref(name).ask("there", timeout=PATIENCE) == "there"
    assert statuses(control) == dict.fromkeys("abc", "running")
    assert failing == {"a": 0, "c": 0}


@pytest.mark.parametrize("host", [0], indirect=True)
def test_too_many_hung_threads_end_the_whole_tree(tree: Any, puppet: Puppets, gate: Any) -> None:
    """A parent does not restart a supervisor that gave up over them: the process has to end."""
    tree.start(nested("inner", puppet("a", hang_after=0.05)), puppet("b"), intensity=Intensity(10, 60.0))
    tree.cell("inner").children["a"].actor_ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    assert tree.event("escalated").actor == "inner"
    event = tree.event("escalated")
    assert (event.actor, event.detail) == ("", "1 hung threads, more than 0")
    assert tree.root.closed.wait(PATIENCE)


def test_strategy_and_intensity_can_be_changed(tree: Any, story: Any, puppet: Puppets) -> None:
    """`apply` takes them for what happens from now on; nobody is restarted for it."""
    a, b = puppet("a"), puppet("b")
    control = tree.start(a, b)
    story.take(2)
    control.apply((a, b), strategy=Strategy.ONE_FOR_ALL, intensity=Intensity(1, 60.0))
    assert story.rest() == []
    tree.ref("a").tell(crash)
    assert story.until("b", "start", 2)
    tree.ref("a").tell(crash)
    assert tree.event("escalated").detail == "a: more than 1 restarts in 60 s"
