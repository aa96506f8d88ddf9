import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import Behaviour, HandledError, Shutdown
from knell.actors.context import Context, Fenced
from knell.actors.policy.restart import Restart
from knell.actors.spec import Spec
from tests.puppets import PATIENCE, Gate

Puppets = Callable[..., Spec]


def _crash(_puppet: Any) -> None:
    raise ZeroDivisionError("over a message")


def _ask(ref: Any, order: Callable[[Any], Any]) -> Any:
    return ref.ask(order, timeout=PATIENCE)


def _tell(ref: Any, order: Callable[[Any], Any]) -> None:
    ref.tell(order)


class Told(Behaviour):
    """Does what it is told, and says what else it was given; to be derived from."""

    def __init__(self, ctx: Context, *, story: "queue.Queue[tuple[Any, ...]]") -> None:
        super().__init__(ctx)
        self.story = story

    def on_receive(self, message: Any) -> Any:
        """Do it, or say it."""
        if callable(message):
            return message(self)
        self.story.put((self.ctx.name, message))
        return message


# A crash


def test_a_crash_over_a_settled_message_buries_nothing(tree: Any, story: Any, puppet: Puppets) -> None:
    """`HandledError`: the actor restarts, the message is dealt with, the cause is what is reported."""

    def settled(_puppet: Any) -> None:
        raise HandledError(ValueError("the cause"))

    tree.start(puppet(attempts=3))
    tree.ref("a").tell(settled)
    assert story.until("a", "start", 2)[-2] == ("a", "failure", "ValueError('the cause')")
    assert tree.host.letters.total == 0


def test_an_ask_that_is_settled_before_the_crash_is_answered(tree: Any, puppet: Puppets) -> None:
    """With the cause: nobody else would answer it. Also when the actor is stopping already."""

    async def request() -> str:
        return "done"

    class Settler(Told):
        finishes = True

        def on_io(self, done: Any) -> None:
            del done
            raise HandledError(ValueError("written down"))

    def settled(_puppet: Any) -> None:
        raise HandledError(ValueError("the cause"))

    control = tree.start(puppet(behaviour=Settler, attempts=3))
    with pytest.raises(ValueError, match="the cause"):
        _ask(tree.ref("a"), settled)
    control.terminate_child("a")
    control.restart_child("a")
    _tell(tree.ref("a"), lambda p: p.ctx.spawn_io(request, op="r"))
    control.terminate_child("a")
    assert tree.host.letters.total == 0


def test_what_is_kept_survives_a_crash(tree: Any, puppet: Puppets) -> None:
    """`keep` is the next incarnation's, attributes are not."""

    def store(puppet: Any) -> None:
        puppet.ctx.keep["n"] = 1
        puppet.memory = 1

    tree.start(puppet())
    ref = tree.ref("a")
    ref.tell(store)
    ref.tell(_crash)
    assert _ask(ref, lambda p: (p.ctx.keep, hasattr(p, "memory"))) == ({"n": 1}, False)


def test_an_orderly_end_is_no_crash(tree: Any, story: Any, puppet: Puppets) -> None:
    """`Shutdown` calls `on_stop`, and a transient actor stays down; its asker is told."""

    def end(_puppet: Any) -> None:
        raise Shutdown

    control = tree.start(puppet(restart=Restart.TRANSIENT))
    with pytest.raises(pykka.ActorDeadError):
        tree.ref("a").ask(end, timeout=PATIENCE)
    story.until("a", "stop")
    assert [(info.status, info.ref) for info in control.which_children()] == [("undefined", None)]
    assert tree.host.letters.total == 0


def test_an_orderly_end_in_a_batch_loses_none_of_it(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """Nobody knows which message ended it: those of the batch are handed out again, one by one."""

    class Batches(Told):
        most = 10

        def on_batch(self, messages: list[Any]) -> None:
            for message in messages:
                self.on_receive(message)

    def end(puppet: Any) -> None:
        puppet.story.put(("a", "end", puppet.ctx.incarnation))
        raise Shutdown

    tree.start(puppet(behaviour=Batches))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    for message in (end, "x", "y"):
        ref.tell(message)
    gate.leave.set()
    assert story.take(4) == [("a", "end", 1), ("a", "end", 2), ("a", "x"), ("a", "y")]
    assert tree.host.letters.total == 0


def test_an_actor_asked_to_stop_comes_back(tree: Any, story: Any, puppet: Puppets) -> None:
    """`ref.stop()` is an end like any other; what waits in the mailbox stays there."""
    tree.start(puppet())
    ref = tree.ref("a")
    assert ref.stop(timeout=PATIENCE)
    assert [word[1] for word in story.until("a", "start", 2)] == ["start", "drain", "stop", "start"]
    assert ref.is_alive()


def test_who_asked_it_to_stop_is_told_when_that_hangs(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """Every ask is answered: also that of `ref.stop()`, when `on_stop` never returns."""
    tree.start(puppet(stop=gate, hang_after=0.05))
    stopped = tree.ref("a").stop(block=False)
    with pytest.raises(TimeoutError, match="hung: outcome unknown"):
        stopped.get(timeout=PATIENCE)
    story.until("a", "start", 3)


def test_orders_that_come_while_it_stops_are_obeyed(tree: Any, story: Any, puppet: Puppets) -> None:
    """By itself, with I/O under way: the supervisor's order is not left for a next incarnation."""
    release = threading.Event()

    async def request() -> str:
        await asyncio.to_thread(release.wait, PATIENCE)
        return "done"

    control = tree.start(puppet())
    ref = tree.ref("a")
    _ask(ref, lambda p: p.ctx.spawn_io(request, op="r"))
    asked = [ref.stop(block=False)]
    story.until("a", "drain")
    asked.append(ref.stop(block=False))
    ordered = tree.system_message("a")
    stopper = threading.Thread(target=control.terminate_child, args=["a"])
    stopper.start()
    assert ordered.wait(PATIENCE)
    release.set()
    stopper.join(PATIENCE)
    assert not stopper.is_alive()
    assert [future.get(timeout=PATIENCE) for future in asked] == [True, True]
    assert story.rest() == [("a", "io", "r", "done", False), ("a", "stop")]
    assert not ref.is_alive()


def test_a_hook_that_crashes_changes_nothing(tree: Any, story: Any, puppet: Puppets) -> None:
    """The end was decided before: `on_failure` and `on_stop` may fail."""
    tree.start(puppet(stop=_crash, failure=_crash))
    ref = tree.ref("a")
    ref.tell(_crash)
    story.until("a", "start", 2)
    assert ref.stop(timeout=PATIENCE)
    story.until("a", "start", 3)


# Hung handlers


def test_an_actor_that_keeps_addresses_can_be_given_up(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """What is kept may hold what cannot be copied: refs, locks, what changes while it is copied."""

    class Changing:
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

        __copy__ = __deepcopy__

    def hang(puppet: Any) -> None:
        puppet.ctx.keep["wants"] = {"slack": puppet.ctx.ref}
        puppet.ctx.keep["lock"] = threading.Lock()
        puppet.ctx.keep["changing"] = Changing()
        gate(puppet)

    tree.start(puppet(hang_after=0.05))
    ref = tree.ref("a")
    ref.tell(hang)
    ref.tell("next")
    story.until("a", "next")
    assert _ask(ref, lambda p: p.ctx.keep["wants"]) == {"slack": ref}


# I/O


def test_an_exception_of_a_coroutine_is_an_outcome(tree: Any, story: Any, puppet: Puppets) -> None:
    """Whatever escapes, cancellation and exits too: it crashes nobody by itself."""

    async def fail(error: BaseException) -> None:
        raise error

    errors = [ValueError("x"), asyncio.CancelledError(), SystemExit(3)]

    def begin(puppet: Any) -> None:
        for number, error in enumerate(errors):
            puppet.ctx.spawn_io(fail, error, op=number)

    tree.start(puppet())
    tree.ref("a").tell(begin)
    told = sorted(story.take(4)[1:], key=lambda word: word[2])
    assert [type(word[3]) for word in told] == [ValueError, asyncio.CancelledError, SystemExit]
    assert {word[4] for word in told} == {False}


def test_an_outcome_that_comes_while_it_is_down_waits(tree: Any, story: Any, puppet: Puppets) -> None:
    """The next incarnation finds it before the messages of users."""
    go = threading.Event()

    async def request() -> str:
        return "done"

    def hold(puppet: Any) -> None:
        if puppet.ctx.incarnation > 1:
            assert go.wait(PATIENCE)

    def begin(puppet: Any) -> None:
        puppet.ctx.spawn_io(request, op="r")
        raise ZeroDivisionError

    tree.start(puppet(start=hold))
    tree.ref("a").tell(begin)
    tree.ref("a").tell("user")
    tree.host.io.run(asyncio.sleep, 0, timeout=PATIENCE)  # the outcome is posted by now
    go.set()
    assert story.until("a", "user")[-2:] == [("a", "io", "r", "done", True), ("a", "user")]


def test_an_outcome_that_came_while_it_was_down_is_served_first(
    tree: Any, story: Any, puppet: Puppets
) -> None:
    """It is a system message, so an incarnation that holds users back gets it too."""

    async def request() -> str:
        return "done"

    def hold(puppet: Any) -> None:
        puppet.ctx.holding = puppet.ctx.incarnation > 1

    def posted(_puppet: Any) -> None:
        tree.host.io.run(asyncio.sleep, 0, timeout=PATIENCE)

    def begin(puppet: Any) -> None:
        puppet.ctx.spawn_io(request, op="r")
        raise ZeroDivisionError

    tree.start(puppet(start=hold, failure=posted))
    tree.ref("a").tell(begin)
    assert story.until("a", "start", 2)
    assert story.next() == ("a", "io", "r", "done", True)


# Stopping


def test_what_waits_at_a_stop_is_a_dead_letter(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """A stop overtakes users: asks are answered, tells are accounted for."""
    control = tree.start(puppet())
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    for number in range(5):
        ref.tell(number)
    future = ref.ask("late", block=False)
    ordered = tree.system_message("a")
    stopper = threading.Thread(target=control.terminate_child, args=["a"])
    stopper.start()
    assert ordered.wait(PATIENCE)
    gate.leave.set()
    stopper.join(PATIENCE)
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=PATIENCE)
    assert tree.host.letters.counts() == {("a", "stopped"): 6}
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("after")
    assert not ref.is_alive()


def test_an_actor_that_finishes_handles_what_waits(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """Before its final stop, and it refuses what comes after the order."""

    class Finisher(Told):
        finishes = True

    control = tree.start(puppet(behaviour=Finisher))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)

    def refused(_puppet: Any) -> str:
        ref.tell("late")  # the order has come: this is after it
        return "asked"

    ref.tell("waits")
    future = ref.ask(refused, block=False)
    ordered = tree.system_message("a")
    stopper = threading.Thread(target=control.terminate_child, args=["a"])
    stopper.start()
    assert ordered.wait(PATIENCE)
    gate.leave.set()
    assert future.get(timeout=PATIENCE) == "asked"
    stopper.join(PATIENCE)
    assert [word[1] for word in story.rest()] == ["waits"]
    assert (tree.letter().message, tree.host.letters.counts()) == ("late", {("a", "stopped"): 1})


def test_an_actor_given_up_at_its_stop_can_be_started_again(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """By another thread, whatever becomes of the one that was too late."""
    control = tree.start(puppet(shutdown=0.05))
    tree.ref("a").tell(gate)
    assert gate.entered.wait(PATIENCE)
    control.terminate_child("a")
    assert tree.letter().reason == "hung"
    assert not tree.ref("a").is_alive()
    gate.leave.set()
    control.restart_child("a")
    assert tree.ref("a").ask("again", timeout=PATIENCE) == "again"


# Turns


def test_timers_come_in_their_order(tree: Any, story: Any, puppet: Puppets) -> None:
    """A new wish for a key replaces the old one; a time that has passed comes at once."""

    def wish(puppet: Any) -> None:
        now = puppet.ctx.clock.now()
        puppet.ctx.wake_at("never", now + 3600)
        puppet.ctx.wake_at("second", now + 0.02)
        puppet.ctx.wake_at("first", now + 3600)
        puppet.ctx.wake_at("first", now + 0.01)
        puppet.ctx.wake_at("past", now - 5)

    tree.start(puppet())
    tree.ref("a").tell(wish)
    assert story.take(4)[1:] == [("a", "timer", "past"), ("a", "timer", "first"), ("a", "timer", "second")]


def test_timers_end_with_their_incarnation(tree: Any, story: Any, puppet: Puppets) -> None:
    """The next one has wishes of its own."""

    def wish(puppet: Any) -> None:
        puppet.ctx.wake_at("old", puppet.ctx.clock.now() + 0.01)
        raise ZeroDivisionError

    tree.start(puppet())
    tree.ref("a").tell(wish)
    story.until("a", "start", 2)
    _tell(tree.ref("a"), lambda p: p.ctx.wake_at("new", p.ctx.clock.now() + 0.05))
    assert story.next() == ("a", "timer", "new")


def test_users_wait_while_it_holds(tree: Any, story: Any, puppet: Puppets) -> None:
    """Only the system lane is served, timers too, until it holds no more."""

    def hold(puppet: Any) -> None:
        puppet.ctx.holding = True
        puppet.ctx.wake_at("go on", puppet.ctx.clock.now() + 0.02)

    class Holder(Told):
        def on_signal(self, signal: Any) -> None:
            self.story.put((self.ctx.name, "timer", signal.key))
            self.ctx.holding = False

    tree.start(puppet(behaviour=Holder))
    ref = tree.ref("a")
    ref.tell(hold)
    ref.tell("user")
    assert story.take(2) == [("a", "timer", "go on"), ("a", "user")]


def test_waiting_messages_are_handled_together(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """Tells in batches, asks alone and in their place, all in order."""

    class Batches(Told):
        most = 4

        def on_batch(self, messages: list[Any]) -> None:
            self.story.put((self.ctx.name, "batch", messages))

    tree.start(puppet(behaviour=Batches))
    ref = tree.ref("a")
    first = ref.ask(gate, block=False)
    assert gate.entered.wait(PATIENCE)
    for number in range(3):
        ref.tell(number)
    future = ref.ask("asked", block=False)
    for number in range(3, 6):
        ref.tell(number)
    gate.leave.set()
    assert first.get(timeout=PATIENCE) == "left in 1"
    assert future.get(timeout=PATIENCE) == "asked"
    assert story.take(3) == [("a", "batch", [0, 1, 2]), ("a", "asked"), ("a", "batch", [3, 4, 5])]


def test_after_a_crash_a_batch_is_handed_out_one_by_one(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """Nobody knows which message did it: only the guilty one is counted, and dies."""

    class Batches(Told):
        most = 10

        def on_start(self) -> None:
            self.story.put((self.ctx.name, "start"))

        def on_batch(self, messages: list[Any]) -> None:
            if "guilty" in messages:
                raise ZeroDivisionError
            self.story.put((self.ctx.name, "batch", messages))

        def on_receive(self, message: Any) -> Any:
            if message == "guilty":
                raise ZeroDivisionError
            return super().on_receive(message)

    tree.start(puppet(behaviour=Batches, attempts=2))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    for message in ("x", "guilty", "y"):
        ref.tell(message)
    gate.leave.set()
    told = [word[1] for word in story.until("a", "y")]
    assert told == ["start", "start", "x", "start", "start", "y"]
    assert tree.letter().message == "guilty"


def test_an_unknown_message_is_dropped(tree: Any, puppet: Puppets, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged by its type and harms nobody."""
    tree.start(puppet())
    _tell(tree.ref("a"), lambda p: Behaviour.on_receive(p, object()))
    tree.ref("a").ask("alive", timeout=PATIENCE)
    (record,) = [record for record in caplog.records if record.message == "actor.unhandled"]
    assert record.__dict__["message_type"] == "object"


def test_actors_find_each_other_by_path(tree: Any, puppet: Puppets) -> None:
    """The same address for the life of the tree; nothing for a name that is not there."""
    tree.start(puppet("a"), puppet("b"))
    found = _ask(tree.ref("a"), lambda p: (p.ctx.lookup("b"), p.ctx.lookup("c/d")))
    assert found == (tree.ref("b"), None)


def test_a_given_up_incarnation_finds_nobody(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """It could still send what its successor knows nothing of."""
    found: queue.Queue[object] = queue.Queue()

    def hang(puppet: Any) -> None:
        gate(puppet)
        try:
            found.put(puppet.ctx.lookup("a"))
        except Fenced as error:
            found.put(error)

    tree.start(puppet("a", hang_after=0.02))
    tree.ref("a").tell(hang)
    story.until("a", "start", 3)
    gate.leave.set()
    assert isinstance(found.get(timeout=PATIENCE), Fenced)
