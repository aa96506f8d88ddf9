import threading
from collections.abc import Callable, Iterable
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import Behaviour
from knell.actors.policy.restart import Backoff, Intensity
from knell.actors.spec import Spec
from tests.deeds import Puppets, crash
from tests.puppets import PATIENCE, Gate

PATIENT = Intensity(10_000, 60.0)
"""An intensity that is not what a case is about."""


def _side_by_side(count: int, send: Callable[[int], None]) -> None:
    """Run this many senders at once, to their end."""
    ready = threading.Barrier(count)

    def run(sender: int) -> None:
        ready.wait(PATIENCE)
        send(sender)

    threads = [threading.Thread(target=run, args=(sender,)) for sender in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def _of(sender: int, words: Iterable[tuple[Any, ...]]) -> list[int]:
    """Return the numbers of one sender's words, in the order in which they were handled."""
    return [word[1][1] for word in words if isinstance(word[1], tuple) and word[1][0] == sender]


def test_34_what_waits_outlives_a_crash(tree: Any, story: Any, puppet: Puppets) -> None:
    """Four senders, forty crashes among their words: each word is handled once, each sender's in order.

    Origin: Pekko general/supervision.md.
    """
    tree.start(puppet(), intensity=PATIENT)
    ref = tree.ref("a")

    def send(sender: int) -> None:
        for number in range(500):
            ref.tell((sender, number))
            if number % 50 == 25:
                ref.tell(crash)

    _side_by_side(4, send)
    ref.ask("last", timeout=PATIENCE)
    told = story.until("a", "last")
    assert [_of(sender, told) for sender in range(4)] == [list(range(500))] * 4
    assert tree.host.letters.counts() == {("a", "crashed"): 40}
    assert sum(word[1] == "failure" for word in told) == 40


def test_35_the_message_in_hand_is_a_dead_letter(tree: Any, story: Any, puppet: Puppets) -> None:
    """By default it is not handled again; the letter says who, what and why.

    Origin: Pekko general/supervision.md.
    """
    seen: list[int] = []

    def harmful(puppet: Any) -> None:
        seen.append(puppet.ctx.incarnation)
        crash(puppet)

    tree.start(puppet())
    tree.ref("a").tell(harmful)
    letter = tree.letter()
    assert (letter.actor, letter.message, letter.reason) == ("a", harmful, "crashed")
    assert isinstance(letter.error, ZeroDivisionError)
    story.until("a", "start", 2)
    assert tree.ref("a").ask("next", timeout=PATIENCE) == "next"
    assert seen == [1]
    assert tree.host.letters.total == 1


def test_37_an_address_outlives_every_restart(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """A sender's ref works after a crash, after its handler hung, and after a stop and a start.

    Origin: Pekko general/supervision.md.
    """
    control = tree.start(puppet(hang_after=0.05))
    ref = tree.ref("a")
    for happens, to in ((ref.tell, crash), (ref.tell, gate), (control.terminate_child, "a")):
        happens(to)
        if not ref.is_alive():
            assert control.restart_child("a") is ref
        assert ref.ask("works", timeout=PATIENCE) == "works"
        assert tree.ref("a") is ref
        assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is ref
    assert [word[2] for word in story.rest() if word[1] == "start"] == [1, 2, 4, 5]


def test_40_the_bound_holds_while_it_backs_off(timed: Any, story: Any, puppet: Puppets, time: Any) -> None:
    """Of four messages two are handled after the restart and two are dead letters at once.

    Origin: Pekko typed SupervisionSpec, 888.
    """
    control = timed.start(puppet(mailbox=2, backoff=Backoff(10.0, 10.0)))
    ref = timed.ref("a")
    ref.tell(crash)
    timed.event("crashed")
    for number in range(4):
        ref.tell(number)
    assert timed.host.letters.counts() == {("a", "crashed"): 1, ("a", "mailbox_full"): 2}
    assert control.count_children()["active"] == 0
    time.passes(10.0)
    control.which_children()
    assert [word[1] for word in story.until("a", 1)] == ["start", "failure", "start", 0, 1]
    assert timed.host.letters.total == 3


def test_41_a_full_mailbox_refuses_and_never_blocks(
    tree: Any, story: Any, puppet: Puppets, gate: Gate
) -> None:
    """Exactly the bound is kept, the rest are dead letters, and an ask is answered at once.

    Origin: Pekko MailboxConfigSpec and mailboxes.md.
    """
    tree.start(puppet(mailbox=10))
    ref = tree.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)
    for number in range(50):  # none of it would return if it had to wait for the handler
        ref.tell(number)
    assert tree.host.letters.counts() == {("a", "mailbox_full"): 40}
    with pytest.raises(pykka.ActorDeadError, match="mailbox_full"):
        ref.ask("full", timeout=PATIENCE)
    assert tree.cell("a").mailbox.depth == 10
    gate.leave.set()
    assert story.until("a", 9)[-10:] == [("a", number) for number in range(10)]
    assert ref.ask("room", timeout=PATIENCE) == "room"


def test_58_a_fence_keeps_the_order(timed: Any, story: Any, puppet: Puppets, gate: Gate, time: Any) -> None:
    """A thousand messages wait, four senders go on: each sender's are handled once and in order.

    Origin: a gap of the prototype, a fenced thread that put its message back.
    """
    control = timed.start(puppet(hang_after=1.0))
    ref = timed.ref("a")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)

    def send(sender: int) -> None:
        for number in range(250):
            ref.tell((sender, number))

    def go_on(sender: int) -> None:
        for number in range(250, 500):
            ref.tell((sender, number))
            if (sender, number) == (0, 300):
                time.passes(1.0)
                control.which_children()

    _side_by_side(4, send)
    assert timed.cell("a").mailbox.depth >= 1000
    _side_by_side(4, go_on)
    ref.ask("last", timeout=PATIENCE)
    told = story.until("a", "last")
    assert [_of(sender, told) for sender in range(4)] == [list(range(500))] * 4
    assert (timed.letter().message, timed.host.letters.counts()) == (gate, {("a", "hung"): 1})


class Gauge(Behaviour):
    """Measures how many messages wait whenever it handles one."""

    def __init__(self, ctx: Any, *, depths: list[int]) -> None:
        super().__init__(ctx)
        self._depths = depths

    def on_receive(self, message: Any) -> Any:
        """Measure, or do as told."""
        self._depths.append(self.ctx.cell.mailbox.depth)
        return message(self) if callable(message) else message


def test_60_racing_senders_never_exceed_the_bound(tree: Any, gate: Gate) -> None:
    """Eight of them: while nobody takes exactly the bound is kept, while somebody takes never more.

    Origin: a gap of the prototype, a bound on a queue's size.
    """
    depths: list[int] = []
    tree.start(Spec("g", Gauge, {"depths": depths}, mailbox=10))
    ref = tree.ref("g")
    ref.tell(gate)
    assert gate.entered.wait(PATIENCE)

    def send(_sender: int) -> None:
        for number in range(200):
            ref.tell(number)

    _side_by_side(8, send)
    assert (tree.cell("g").mailbox.depth, tree.host.letters.total) == (10, 1590)
    gate.leave.set()
    _side_by_side(8, send)
    tree.cell("g").mailbox.maxsize = 11  # there is room for the ask
    ref.ask("last", timeout=PATIENCE)
    assert len(depths) - 2 + tree.host.letters.total == 3200
    assert max(depths) <= 10
