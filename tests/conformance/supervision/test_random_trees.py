import random
import threading
from dataclasses import dataclass, field
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import Behaviour, Shutdown
from knell.actors.cell import Cell
from knell.actors.context import Context
from knell.actors.control import Control
from knell.actors.policy.restart import Backoff, Intensity, Restart, Strategy
from knell.actors.spec import BRUTAL, Spec
from knell.actors.supervisor import EscalatedError, RefusedError
from tests.deeds import nested
from tests.puppets import PATIENCE

TREES = 200
DEEDS = {"say": 12, "crash": 3, "hang": 1, "end": 1}
"""What messages do to their actor, and how often."""

STEPS = 40
"""Messages of each sender."""

SHORT = 0.2
"""Seconds an operator waits for a supervisor."""

STOPS = 6
"""Actors that an operator stops; some are started again."""


@dataclass(frozen=True, slots=True)
class Word:
    """One message."""

    sender: int
    number: int
    deed: str


class Actor(Behaviour):
    """Does as its messages say."""

    def __init__(self, ctx: Context, *, over: threading.Event) -> None:
        super().__init__(ctx)
        self._over = over

    def on_receive(self, message: Word) -> Word:
        """Crash, end, hang until the end of the test, or just answer."""
        match message.deed:
            case "crash":
                raise ZeroDivisionError
            case "end":
                raise Shutdown
            case "hang":
                self._over.wait(PATIENCE)
            case _:
                pass
        return message


class Batching(Actor):
    """Takes several at once."""

    most = 8


@dataclass
class Grove:
    """A random tree and its actors."""

    dice: random.Random
    over: threading.Event = field(default_factory=threading.Event)

    def supervision(self) -> dict[str, Any]:
        """How a supervisor does its work; now and then it gives up."""
        intensity = self.dice.choice([Intensity(2, 60.0), Intensity(1000, 60.0), Intensity(1000, 60.0)])
        return {"strategy": self.dice.choice(list(Strategy)), "intensity": intensity}

    def actor(self, name: str) -> Spec:
        """One actor."""
        dice = self.dice
        return Spec(
            name,
            dice.choice([Actor, Batching]),
            {"over": self.over},
            restart=dice.choice(list(Restart)),
            shutdown=dice.choice([BRUTAL, 0.01, 1.0]),
            hang_after=0.01,
            mailbox=dice.choice([None, None, 5]),
            attempts=dice.choice([1, 1, 3]),
            backoff=dice.choice([Backoff(), Backoff(0.001, 0.01), Backoff(3600, 3600)]),
        )

    def specs(self, depth: int = 0) -> list[Spec]:
        """One to three children, some of them supervisors."""
        found: list[Spec] = []
        for number in range(self.dice.randint(1, 3)):
            name = f"{'abc'[depth]}{number}"
            if depth < 2 and self.dice.random() < 0.4:
                found.append(nested(name, *self.specs(depth + 1), supervision=self.supervision()))
            else:
                found.append(self.actor(name))
        return found


class Sender:
    """Tells and asks the actors of a tree at random."""

    def __init__(self, number: int, seed: int, cells: list[Cell]) -> None:
        self.told: list[Word] = []
        self.refused: list[Word] = []
        self.asked: dict[Word, pykka.Future[Any]] = {}
        self._number, self._dice, self._cells = number, random.Random(f"{seed} {number}"), cells  # noqa: S311
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for number in range(STEPS):
            deed = self._dice.choices(list(DEEDS), weights=list(DEEDS.values()))[0]
            word = Word(self._number, number, deed)
            ref = self._dice.choice(self._cells).actor_ref
            if deed != "end" and self._dice.random() < 0.2:
                self.asked[word] = ref.ask(word, block=False)
                continue
            self.told.append(word)
            try:
                ref.tell(word)
            except pykka.ActorDeadError:
                self.refused.append(word)


def _cells(cell: Cell) -> list[Cell]:
    return [found for child in cell.children.values() for found in (child, *_cells(child))]


def _operate(root: Cell, dice: random.Random) -> None:
    """Stop actors, and start some of them again, wherever they are."""
    for _ in range(STOPS):
        supervisor = dice.choice([root, *(cell for cell in _cells(root) if cell.children)])
        name = dice.choice([*supervisor.children, "nobody"])
        control = Control(supervisor.actor_ref, SHORT)
        try:
            control.terminate_child(name)
            if dice.random() < 0.7:
                control.restart_child(name)
        except (RefusedError, EscalatedError, pykka.ActorDeadError, pykka.Timeout):
            continue  # it is gone already, comes back by itself, or its supervisor is down for an hour


def _answered(senders: list[Sender]) -> int:
    """Wait for the answer of every ask; return how many were handled."""
    handled = 0
    for word, future in ((word, future) for sender in senders for word, future in sender.asked.items()):
        try:
            assert future.get(timeout=PATIENCE) == word
        except (ZeroDivisionError, TimeoutError, pykka.ActorDeadError):
            continue  # it crashed, hung, or was refused or buried
        handled += 1
    return handled


@pytest.mark.parametrize("host", [1000], indirect=True)
@pytest.mark.parametrize("seed", range(TREES))
def test_57_every_message_of_a_random_tree_is_accounted_for(tree: Any, seed: int) -> None:
    """Crashes, hangs, orderly ends and stops: sent = handled + dead + refused, and every ask is answered.

    What is queued at the end is dead with the tree.

    Origin: Pekko SupervisorHierarchySpec.
    """
    grove = Grove(random.Random(seed))  # noqa: S311 - no secret
    tree.start(*grove.specs(), **grove.supervision())
    cells = _cells(tree.root)
    actors = [cell for cell in cells if not cell.spec.supervises]
    senders = [Sender(number, seed, actors) for number in range(2)]
    for sender in senders:
        sender.thread.start()
    _operate(tree.root, grove.dice)
    for sender in senders:
        sender.thread.join(PATIENCE)
        assert not sender.thread.is_alive()
    tree.stop()
    grove.over.set()
    handled = sum(cell.handled for cell in actors) - _answered(senders)
    letters = [tree.letter().message for _ in range(tree.host.letters.total)]
    told = [word for sender in senders for word in sender.told]
    refused = [word for sender in senders for word in sender.refused]
    dead = [word for word in letters if word in told]
    assert len(told) == handled + len(dead) + len(refused)
    assert len({*dead, *refused}) == len(dead) + len(refused), "accounted for twice"
    assert not any(cell.actor_ref.is_alive() for cell in (tree.root, *cells))
