"""Everything at once: four senders, crashes, hung handlers and an operator, on one address."""

import queue
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import Behaviour
from knell.actors.context import Context
from knell.actors.control import Control
from knell.actors.letters import DeadLetter
from knell.actors.policy.restart import Intensity
from knell.actors.spec import Spec
from tests.puppets import PATIENCE

PRODUCERS = 4
EACH = 5_000
CRASHES = 50
HANGS = 5
"""Crashes and hung handlers that each producer sees happen."""

OPERATIONS = 20
STEP = 100
"""Words between two looks of those who wait for a number of them."""

ASK_EVERY = 50


@dataclass(frozen=True, slots=True)
class Word:
    """One message: who sent it, its number among theirs, and what it does to the actor."""

    producer: int
    number: int
    deed: str = "say"


class Ledger:
    """Where every word ended."""

    def __init__(self) -> None:
        self.heard: list[Word] = []
        self.dead: dict[Word, str] = {}
        self.twice: list[Word] = []
        self.open = threading.Event()
        self.open.set()
        self._changed = threading.Condition()

    def hear(self, word: Word) -> None:
        """Take a word that was handled."""
        self.heard.append(word)
        if len(self.heard) % STEP == 0:
            with self._changed:
                self._changed.notify_all()

    def reached(self, count: int) -> bool:
        """Wait until so many words have been heard."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.heard) >= count, PATIENCE * 2)

    def bury(self, letter: DeadLetter) -> None:
        """Take a dead letter."""
        with self._changed:
            if letter.message in self.dead:
                self.twice.append(letter.message)
            self.dead[letter.message] = letter.reason
            self._changed.notify_all()

    def fate(self, word: Word) -> str:
        """Wait until a word has died; return of what."""
        with self._changed:
            assert self._changed.wait_for(lambda: word in self.dead, PATIENCE * 2), word
            return self.dead[word]


class Listener(Behaviour):
    """Writes down what it hears, crashes when told to, and hangs until the test is over."""

    def __init__(self, ctx: Context, *, ledger: Ledger, over: threading.Event) -> None:
        super().__init__(ctx)
        self._ledger, self._over = ledger, over

    def on_receive(self, message: Word) -> int:
        """Do as told."""
        match message.deed:
            case "crash":
                raise ZeroDivisionError(message.number)
            case "hang":
                self._over.wait(PATIENCE * 3)
            case _:
                self._ledger.hear(message)
        return message.number


@dataclass
class Producer:
    """Sends its words in order: most are told, some asked, and some do harm until the harm is done."""

    number: int
    ref: pykka.ActorRef[Any]
    ledger: Ledger
    sent: int = 0
    told: list[Word] = field(default_factory=list)
    refused: list[Word] = field(default_factory=list)
    asked: dict[Word, pykka.Future[Any]] = field(default_factory=dict)

    def run(self) -> None:
        """Send everything; the places of the harm are the same in every run."""
        deeds = ["crash"] * CRASHES + ["hang"] * HANGS + ["say"] * (EACH - CRASHES - HANGS)
        random.Random(self.number).shuffle(deeds)  # noqa: S311 - no secret
        for at, deed in enumerate(deeds):
            if deed == "say":
                self._say(ask=at % ASK_EVERY == 0)
            else:
                self._harm(deed)

    def _say(self, *, ask: bool) -> None:
        word = self._word("say")
        if ask:
            self.asked[word] = self.ref.ask(word, block=False)
        else:
            self._tell(word)

    def _harm(self, deed: str) -> None:
        """Do harm; an operator's stop may catch the word before it has done any."""
        while True:
            word = self._word(deed)
            if not self._tell(word):
                assert self.ledger.open.wait(PATIENCE)
            elif self.ledger.fate(word) != "stopped":
                return

    def _word(self, deed: str) -> Word:
        self.sent += 1
        return Word(self.number, self.sent, deed)

    def _tell(self, word: Word) -> bool:
        try:
            self.ref.tell(word)
        except pykka.ActorDeadError:
            self.refused.append(word)
            return False
        self.told.append(word)
        return True

    def collect(self) -> None:
        """Look at the answers: every ask has one."""
        for word, future in self.asked.items():
            try:
                assert future.get(timeout=PATIENCE) == word.number
            except pykka.ActorDeadError:  # refused by a stopped actor, or stopped while it waited
                if word not in self.ledger.dead:
                    self.refused.append(word)
                    continue
            except TimeoutError:  # given up as hung, on a machine that was busy with something else
                continue
            self.told.append(word)


@pytest.mark.parametrize("host", [100], indirect=True)
def test_nothing_is_lost_twice_or_out_of_order(tree: Any) -> None:
    """Told = handled + dead letters, each once; each sender's words in its order; every ask answered."""
    ledger, over = Ledger(), threading.Event()
    tree.host.letters.hand_back = ledger.bury

    def spec(turn: int) -> Spec:
        args = {"ledger": ledger, "over": over}
        return Spec("listener", Listener, args, hang_after=0.05, shutdown=5.0 + turn)

    control = tree.start(spec(0), intensity=Intensity(10_000, 1.0))
    ref = tree.ref("listener")
    producers = [Producer(number, ref, ledger) for number in range(PRODUCERS)]
    finished: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    for run in [*(producer.run for producer in producers), lambda: _operate(control, spec, ledger)]:
        threading.Thread(target=_guarded, args=(run, finished), daemon=True).start()
    for _ in range(PRODUCERS + 1):
        assert finished.get(timeout=PATIENCE * 3) is None
    assert ref.ask(Word(PRODUCERS, 0, "say"), timeout=PATIENCE) == 0, "all before it have been dealt with"
    assert tree.ref("listener") is ref
    ledger.heard.pop()
    for producer in producers:
        producer.collect()
    _check(producers, ledger)
    over.set()


def _guarded(run: Any, finished: "queue.SimpleQueue[BaseException | None]") -> None:
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - for the test's own thread
        finished.put(error)
    else:
        finished.put(None)


def _operate(control: Control, spec: Any, ledger: Ledger) -> None:
    """Restart the actor again and again: by another spec, which keeps its mailbox, or by stop and start."""
    for turn in range(OPERATIONS):
        assert ledger.reached(turn * PRODUCERS * EACH // OPERATIONS // 2)
        if turn % 2:
            control.apply([spec(turn)])
        else:
            ledger.open.clear()
            control.terminate_child("listener")
            control.restart_child("listener")
            ledger.open.set()


def _check(producers: list[Producer], ledger: Ledger) -> None:
    """Check every word against where it ended."""
    assert not ledger.twice
    assert max(Counter(ledger.heard).values()) == 1, "handled twice"
    slow = {word for word in ledger.heard if ledger.dead.get(word) == "hung"}  # given up, then done after all
    handled = [word for word in ledger.heard if word not in slow]
    assert set(handled).isdisjoint(ledger.dead)
    assert {*handled, *ledger.dead} == {word for producer in producers for word in producer.told}
    assert all(len(p.told) + len(p.refused) == p.sent for p in producers)
    reasons = Counter((word.deed, reason) for word, reason in ledger.dead.items())
    assert (reasons["crash", "crashed"], reasons["hang", "hung"]) == (PRODUCERS * CRASHES, PRODUCERS * HANGS)
    for producer in producers:
        numbers = [word.number for word in handled if word.producer == producer.number]
        assert numbers == sorted(numbers), "out of order"
