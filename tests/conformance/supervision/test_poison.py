import threading
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from knell.actors.amends import Amends
from knell.actors.behaviour import IoDone
from knell.actors.channel import Sending
from knell.actors.letters import DeadLetter
from knell.actors.telemetry import Telemetry
from knell.deliveries import Attempt, Delivery, Done, Settlement
from knell.messages import Delivered
from tests.deeds import Puppets, ask, crash, incarnation
from tests.puppets import PATIENCE, Gate, Puppet


def test_36_a_poison_message_is_quarantined(tree: Any, story: Any, puppet: Puppets) -> None:
    """Three attempts, three restarts, each before all other messages; then it is a dead letter.

    Origin: pykka, which has no supervision, and thespian's PoisonMessage.
    """
    tries: list[int] = []

    def poison(puppet: Any) -> None:
        tries.append(puppet.ctx.incarnation)
        crash(puppet)

    control = tree.start(puppet(attempts=3))
    tree.ref("a").tell(poison)
    tree.ref("a").tell("next")
    told = story.until("a", "next")
    assert tries == [1, 2, 3]
    assert [word[1:] for word in told if word[1] != "failure"] == [
        *[("start", n) for n in (1, 2, 3, 4)],
        ("next",),
    ]
    letter = tree.letter()
    assert (letter.message, letter.reason) == (poison, "crashed")
    assert letter.error.__traceback__ is not None
    assert [info.restarts for info in control.which_children()] == [3]
    assert tree.host.letters.total == 1


@pytest.mark.parametrize("hook", ["start", "failure"])
def test_63_what_is_kept_can_be_dropped(tree: Any, puppet: Puppets, hook: str) -> None:
    """An actor that crashes because of what it keeps drops that key, in either hook, and recovers.

    Origin: a gap of the prototype, state that outlives a crash and causes the next.
    """

    def forget(puppet: Any) -> None:
        if puppet.ctx.keep.pop("budget", None) == 0:
            puppet.ctx.keep["dropped"] = puppet.ctx.keep.get("dropped", 0) + 1

    def spend(puppet: Any) -> float:
        return float(1 / puppet.ctx.keep.setdefault("budget", 2))

    def spoil(puppet: Any) -> None:
        puppet.ctx.keep["budget"] = 0

    tree.start(puppet(**{hook: forget}))
    ref = tree.ref("a")
    ref.tell(spoil)
    with pytest.raises(ZeroDivisionError):
        ref.ask(spend, timeout=PATIENCE)
    assert ref.ask(spend, timeout=PATIENCE) == 0.5
    assert ask(ref, lambda p: p.ctx.keep["dropped"]) == 1
    assert ref.ask(incarnation, timeout=PATIENCE) == 2


class Stumbling(Puppet):
    """Does with an outcome what the test wants: crash or hang."""

    stumble: Any = None

    def on_io(self, done: IoDone) -> None:
        """Take an outcome badly."""
        del done
        self.ctx.keep["taken"] = self.ctx.keep.get("taken", 0) + 1
        type(self).stumble(self)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """The metrics of nobody else."""
    telemetry = Telemetry(CollectorRegistry())
    yield telemetry
    telemetry.close()


@pytest.mark.parametrize("how", ["crashed", "hung"])
def test_65_a_known_outcome_stays_known(
    tree: Any, story: Any, puppet: Puppets, gate: Gate, telemetry: Telemetry, make_event: Any, how: str
) -> None:
    """A crash or a fence inside `on_io`: the outbox is told that it was delivered, not that nobody knows.

    Origin: a gap of the prototype, an outcome that was lost with its handler.
    """
    letters: list[DeadLetter] = []
    told = threading.Event()
    amends = Amends(telemetry, lambda: tree.ref("outbox"))

    def hand_back(letter: DeadLetter) -> None:
        letters.append(letter)
        amends.make(letter)
        told.set()

    async def send() -> Delivered:
        return Delivered("provider's receipt")

    def begin(puppet: Any) -> None:
        puppet.ctx.spawn_io(send, op=Sending(attempt.rows, attempt))

    tree.host.letters.hand_back = hand_back
    attempt = Attempt((Delivery(row=7, event=make_event(), channel="a", order_key=""),))
    stumble: Any = crash if how == "crashed" else gate
    behaviour = type("Stumbler", (Stumbling,), {"stumble": staticmethod(stumble)})
    tree.start(puppet("outbox"), puppet("a", behaviour=behaviour, hang_after=0.05))
    ref = tree.ref("a")
    ref.tell(begin)
    assert told.wait(PATIENCE)
    (letter,) = letters
    assert (type(letter.message), letter.message.result.receipt) == (IoDone, "provider's receipt")
    assert letter.reason == how
    settled = next(word[1] for word in iter(story.next, None) if word[0] == "outbox" and word[1] != "start")
    assert settled.settlements == (Settlement(attempt.deliveries[0], Done("provider's receipt")),)
    assert ask(ref, lambda p: (p.ctx.keep["taken"], p.ctx.pending)) == (1, {})
