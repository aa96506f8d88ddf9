import asyncio
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import Behaviour, HandledError, Shutdown
from knell.actors.cell import ForkedError
from knell.actors.context import Context, Fenced
from knell.actors.policy.restart import Backoff, Restart
from knell.actors.seam import Envelope, StopRequest
from knell.actors.spec import BRUTAL, Spec
from knell.errors import SystemStopped
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


def test_address_and_mailbox_outlive_a_crash(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """One ref for ever; what waited is handled in its order, by the next incarnation."""
    tree.start(puppet())
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    ref.tell(_crash)
    for number in range(50):
        ref.tell(number)
    gate.leave.set()
    story.until("a", "start", 2)
    assert story.take(50) == [("a", number) for number in range(50)]
    assert ref is tree.ref("a")
    assert ref.ask("still here", timeout=PATIENCE) == "still here"


def test_the_message_in_hand_is_a_dead_letter(tree: Any, story: Any, puppet: Puppets) -> None:
    """By default it is not handled again; the letter says who, what and why."""
    tree.start(puppet())
    tree.ref("a").tell(_crash)
    letter = tree.letter()
    assert (letter.actor, letter.message, letter.reason) == ("a", _crash, "crashed")
    assert isinstance(letter.error, ZeroDivisionError)
    assert story.until("a", "start", 2)[-2][1] == "failure"


def test_a_poison_message_is_handed_out_so_many_times(tree: Any, story: Any, puppet: Puppets) -> None:
    """Before all others, then it is a dead letter and the next one is handled."""
    tries: list[int] = []

    def poison(puppet: Any) -> None:
        tries.append(puppet.ctx.incarnation)
        raise ZeroDivisionError

    tree.start(puppet(attempts=3))
    tree.ref("a").tell(poison)
    tree.ref("a").tell("next")
    story.until("a", "next")
    assert len(set(tries)) == len(tries) == 3
    assert tree.letter().message is poison
    assert tree.host.letters.total == 1


def test_an_ask_that_crashes_is_answered_with_its_exception(tree: Any, story: Any, puppet: Puppets) -> None:
    """And counts as a crash: the state behind it is suspect; it is not handed out again."""
    tree.start(puppet(attempts=3))
    with pytest.raises(ZeroDivisionError, match="over a message"):
        tree.ref("a").ask(_crash, timeout=PATIENCE)
    told = story.until("a", "start", 2)
    assert [word[1] for word in told] == ["start", "failure", "start"]
    assert tree.host.letters.total == 0


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_harms_another_actor(
    tree: Any, story: Any, puppet: Puppets, error: type[BaseException]
) -> None:
    """Stock pykka would stop every actor of the process."""

    def raise_it(_puppet: Any) -> None:
        raise error("out of a handler")

    tree.start(puppet("a"), puppet("b"))
    tree.ref("a").tell(raise_it)
    assert story.until("a", "start", 2).count(("b", "start", 1)) == 1
    assert tree.ref("b").ask("alive", timeout=PATIENCE) == "alive"
    assert tree.ref("a").ask("alive", timeout=PATIENCE) == "alive"


def test_a_crash_over_a_settled_message_buries_nothing(tree: Any, story: Any, puppet: Puppets) -> None:
    """`HandledError`: the actor restarts, the message is dealt with, the cause is what is reported."""

    def settled(_puppet: Any) -> None:
        raise HandledError(ValueError("the cause"))

    tree.start(puppet(attempts=3))
    tree.ref("a").tell(settled)
    assert story.until("a", "start", 2)[-2] == ("a", "failure", "ValueError('the cause')")
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


def test_an_actor_asked_to_stop_comes_back(tree: Any, story: Any, puppet: Puppets) -> None:
    """`ref.stop()` is an end like any other; what waits in the mailbox stays there."""
    tree.start(puppet())
    ref = tree.ref("a")
    assert ref.stop(timeout=PATIENCE)
    assert [word[1] for word in story.until("a", "start", 2)] == ["start", "drain", "stop", "start"]
    assert ref.is_alive()


def test_a_hook_that_crashes_changes_nothing(tree: Any, story: Any, puppet: Puppets) -> None:
    """The end was decided before: `on_failure` and `on_stop` may fail."""
    tree.start(puppet(stop=_crash, failure=_crash))
    ref = tree.ref("a")
    ref.tell(_crash)
    story.until("a", "start", 2)
    assert ref.stop(timeout=PATIENCE)
    story.until("a", "start", 3)


# Bounds


def test_a_full_mailbox_refuses_and_never_blocks(tree: Any, puppet: Puppets, story: Any, gate: Gate) -> None:
    """Exactly the bound is kept; the rest are dead letters, and an ask is answered at once."""
    tree.start(puppet(mailbox=10))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    for number in range(50):
        ref.tell(number)
    with pytest.raises(pykka.ActorDeadError, match="mailbox_full"):
        ref.ask("full", timeout=PATIENCE)
    assert tree.host.letters.counts() == {("a", "mailbox_full"): 41}
    assert tree.cell("a").mailbox.depth == 10
    gate.leave.set()
    assert story.until("a", 9)[-10:] == [("a", number) for number in range(10)]
    assert ref.ask("room", timeout=PATIENCE) == "room"


def test_the_bound_holds_while_it_is_down(tree: Any, puppet: Puppets, story: Any) -> None:
    """A crash loop does not gather messages without end."""
    tree.start(puppet(mailbox=2, backoff=Backoff(3600, 3600)))
    ref = tree.ref("a")
    ref.tell(_crash)
    story.until("a", "failure", "ZeroDivisionError('over a message')")
    for number in range(4):
        ref.tell(number)
    assert tree.host.letters.counts() == {("a", "crashed"): 1, ("a", "mailbox_full"): 2}


# Hung handlers


def test_a_hung_handler_is_given_up(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """Another thread goes on with the same mailbox; the message in hand is a dead letter, outcome unknown."""
    tree.start(puppet(hang_after=0.05))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    ref.tell("next")
    story.until("a", "next")
    letter = tree.letter()
    assert (letter.message, letter.reason) == (gate, "hung")
    assert "outcome unknown" in str(letter.error)
    assert tree.event("hung").actor == "a"
    assert tree.host.living_zombies() == 1
    gate.leave.set()


def test_nothing_a_given_up_handler_does_counts(tree: Any, story: Any, puppet: Puppets) -> None:
    """Its reply, its `keep`, its timers and its I/O: when it returns one day, it has ended."""
    entered, leave, ended = threading.Event(), threading.Event(), threading.Event()
    refused: list[str] = []

    async def nothing() -> None:
        return

    def hang(puppet: Any) -> str:
        ctx, keep = puppet.ctx, puppet.ctx.keep
        keep["by"] = ["before"]
        inner = keep["by"]
        entered.set()
        assert leave.wait(PATIENCE)
        inner.append("zombie")
        keep["late"] = True
        actions: list[Callable[[], Any]] = [
            lambda: ctx.keep,
            lambda: ctx.pending,
            lambda: ctx.cell,
            lambda: ctx.wake_at("x", 0.0),
            lambda: ctx.spawn_io(nothing, op="late"),
        ]
        for action in actions:
            try:
                action()
            except Fenced as error:
                refused.append(str(error))
        ended.set()
        return "too late"

    tree.start(puppet(hang_after=0.05))
    ref = tree.ref("a")
    future = ref.ask(hang, block=False)
    assert entered.wait(PATIENCE)
    with pytest.raises(TimeoutError, match="hung: outcome unknown"):
        future.get(timeout=PATIENCE)
    assert ref.ask("serves again", timeout=PATIENCE) == "serves again"
    leave.set()
    assert ended.wait(PATIENCE)
    assert len(refused) == 5
    assert _ask(ref, lambda p: (p.ctx.keep, p.ctx.pending)) == ({"by": ["before"]}, {})
    assert story.until("a", "serves again").count(("a", "timer", "x")) == 0


def test_an_actor_that_keeps_addresses_can_be_given_up(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """What is kept may hold what cannot be copied: refs, locks, weak references."""

    def hang(puppet: Any) -> None:
        puppet.ctx.keep["wants"] = {"slack": puppet.ctx.ref}
        puppet.ctx.keep["lock"] = threading.Lock()
        gate(puppet)

    tree.start(puppet(hang_after=0.05))
    ref = tree.ref("a")
    ref.tell(hang)
    ref.tell("next")
    story.until("a", "next")
    assert _ask(ref, lambda p: p.ctx.keep["wants"]) == {"slack": ref}


# I/O


def test_outcomes_reach_the_next_incarnation(tree: Any, story: Any, puppet: Puppets) -> None:
    """A hundred requests under way at a crash: every outcome comes, marked as another's."""
    release = threading.Event()

    async def request(number: int) -> int:
        await asyncio.to_thread(release.wait, PATIENCE) if number == 0 else await asyncio.sleep(0)
        return number

    def begin(puppet: Any) -> None:
        for number in range(100):
            puppet.ctx.spawn_io(request, number, op=number)
        raise ZeroDivisionError

    tree.start(puppet())
    tree.ref("a").tell(begin)
    story.until("a", "start", 2)
    release.set()
    outcomes = sorted(story.take(100), key=lambda word: word[2])
    assert outcomes == [("a", "io", number, number, True) for number in range(100)]
    assert _ask(tree.ref("a"), lambda p: p.ctx.pending) == {}


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


def test_outcomes_are_awaited_before_a_stop(tree: Any, story: Any, puppet: Puppets) -> None:
    """Nothing more is begun, and what is under way is heard before `on_stop`."""
    release = threading.Event()

    async def request() -> str:
        await asyncio.to_thread(release.wait, PATIENCE)
        return "done"

    control = tree.start(puppet())
    _ask(tree.ref("a"), lambda p: p.ctx.spawn_io(request, op="r"))
    stopper = threading.Thread(target=control.terminate_child, args=["a"])
    stopper.start()
    story.until("a", "drain")
    release.set()
    assert story.take(2) == [("a", "io", "r", "done", False), ("a", "stop")]
    stopper.join(PATIENCE)


def test_an_outcome_after_the_deadline_is_a_dead_letter(tree: Any, story: Any, puppet: Puppets) -> None:
    """With the outcome in it: it is known, and whoever makes amends can write it down."""
    release = threading.Event()

    async def request() -> str:
        await asyncio.to_thread(release.wait, PATIENCE)
        return "done"

    control = tree.start(puppet(shutdown=0.05))
    _ask(tree.ref("a"), lambda p: p.ctx.spawn_io(request, op="r"))
    control.terminate_child("a")
    assert [word[1] for word in story.rest()] == ["start", "drain", "stop"]
    release.set()
    letter = tree.letter()
    assert (letter.message.op, letter.message.result, letter.reason) == ("r", "done", "stopped")


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


def test_a_brutal_stop_calls_no_hook(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """A handler in the middle of something is given up at once."""
    control = tree.start(puppet(shutdown=BRUTAL))
    tree.ref("a").tell(gate)
    assert gate.entered.wait(PATIENCE)
    control.terminate_child("a")
    assert story.rest() == [("a", "start", 1)]
    assert tree.letter().message is gate
    gate.leave.set()


def test_a_stop_does_not_wait_for_the_stubborn(tree: Any, puppet: Puppets, gate: Gate) -> None:
    """Past its deadline an actor is given up, and its message is a dead letter."""
    control = tree.start(puppet(shutdown=0.05))
    tree.ref("a").tell(gate)
    assert gate.entered.wait(PATIENCE)
    control.terminate_child("a")
    assert tree.letter().reason == "hung"
    assert not tree.ref("a").is_alive()
    gate.leave.set()
    control.restart_child("a")
    assert tree.ref("a").ask("again", timeout=PATIENCE) == "again"


def test_a_watcher_is_told_of_the_final_stop_only(tree: Any, story: Any, puppet: Puppets) -> None:
    """Once, never at a restart; at once if it has happened already; not after `unwatch`."""
    control = tree.start(puppet("a"), puppet("watcher"))
    watched, watcher = tree.ref("a"), tree.ref("watcher")
    first = _ask(watcher, lambda p: p.ctx.watch(watched))
    _ask(watcher, lambda p: p.ctx.unwatch(p.ctx.watch(watched)))
    watched.tell(_crash)
    story.until("a", "start", 2)
    control.terminate_child("a")
    last = _ask(watcher, lambda p: p.ctx.watch(watched))
    told = story.until("watcher", "terminated", "a", last)
    assert [word[3] for word in told if word[1] == "terminated"] == [first, last]


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


# The process


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_so(tree: Any, puppet: Puppets) -> None:
    """Its actors have no threads: tell and ask are refused at once, where they would wait for ever."""
    tree.start(puppet())
    ref = tree.ref("a")
    pid = os.fork()
    if pid == 0:
        refused: list[BaseException] = []
        for call in (ref.tell, ref.ask):
            try:
                call("x")
            except ForkedError as error:
                refused.append(error)
        os._exit(0 if len(refused) == 2 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert ref.ask("parent", timeout=PATIENCE) == "parent"
    assert issubclass(ForkedError, SystemStopped)
    assert issubclass(ForkedError, pykka.ActorDeadError)


def test_the_seams_of_pykka_are_where_they_were() -> None:
    """A new version of pykka that moves one fails here, and not in a host's process."""
    overridden = ("_create_actor_inbox", "_actor_loop", "_start_actor_loop")
    assert all(callable(getattr(pykka.ThreadingActor, name, None)) for name in overridden)
    envelope: Envelope[str] = Envelope("message", reply_to=None)
    assert (envelope.message, envelope.reply_to) == ("message", None)
    assert type(StopRequest()) is StopRequest
    assert {"tell", "ask", "stop", "is_alive"} <= set(vars(pykka.ActorRef))
