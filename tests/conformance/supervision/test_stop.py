import asyncio
import threading
import time as clocks
from collections import Counter
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import IoDone
from knell.actors.incarnation import IO_SHARE
from knell.actors.policy.restart import Backoff
from tests.deeds import Puppets, ask
from tests.puppets import PATIENCE

CALLS = 100
SLACK = 10.0
"""Seconds a busy machine may add to a deadline."""


class Sender:
    """A thread that tells and asks as fast as it can until it is refused."""

    def __init__(self, name: str, ref: pykka.ActorRef[Any]) -> None:
        self.told: list[str] = []
        self.refused: list[str] = []
        self.asked: dict[str, pykka.Future[Any]] = {}
        self.hot = threading.Event()
        self._name, self._ref = name, ref
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        number = 0
        while not self.refused:
            number += 1
            word = f"{self._name} {number}"
            if number % 3 == 0:
                self.asked[word] = self._ref.ask(word, block=False)
                continue
            try:
                self._ref.tell(word)
            except pykka.ActorDeadError:
                self.refused.append(word)
            else:
                self.told.append(word)
            if number == 100:
                self.hot.set()


@pytest.mark.parametrize("_turn", range(10))
def test_49_a_stop_under_fire_loses_nothing(tree: Any, story: Any, puppet: Puppets, _turn: int) -> None:
    """Sent = handled + dead + refused, each exactly once, and no ask is left unanswered.

    Origin: pykka, where a tell that races a stop hangs its asker for ever.
    """
    control = tree.start(puppet())
    senders = [Sender(name, tree.ref("a")) for name in ("x", "y")]
    assert all(sender.hot.wait(PATIENCE) for sender in senders)
    control.terminate_child("a")
    for sender in senders:
        sender.thread.join(PATIENCE)
        assert not sender.thread.is_alive()
    handled = [word[1] for word in story.rest() if len(word) == 2 and word[1] not in {"drain", "stop"}]
    dead = [tree.letter().message for _ in range(tree.host.letters.total)]
    refused: list[str] = []
    for sender in senders:
        refused += sender.refused
        for word, future in sender.asked.items():
            try:
                assert future.get(timeout=PATIENCE) == word
            except pykka.ActorDeadError as error:
                if str(error) != "a: stopped":  # pykka's own words: it was never taken
                    refused.append(word)
    sent = [word for sender in senders for word in (*sender.told, *sender.asked, *sender.refused)]
    assert Counter([*handled, *dead, *refused]) == Counter(sent)
    assert len(set(sent)) == len(sent) >= 200


def test_52_outcomes_are_heard_before_a_stop(tree: Any, story: Any, puppet: Puppets) -> None:
    """Nothing more is begun, and a hundred calls under way are heard before `on_stop`.

    Origin: pykka, which knows of no I/O and stops at once.
    """
    release = asyncio.Event()

    async def request(number: int) -> int:
        await release.wait()
        return number

    control = tree.start(puppet())
    ask(tree.ref("a"), lambda p: [p.ctx.spawn_io(request, n, op=n) for n in range(CALLS)])
    stopper = threading.Thread(target=control.terminate_child, args=["a"])
    stopper.start()
    story.until("a", "drain")
    tree.host.io.loop.call_soon_threadsafe(release.set)
    told = story.take(CALLS + 1)
    assert sorted(word[2] for word in told[:-1]) == list(range(CALLS))
    assert {word[4] for word in told[:-1]} == {False}
    assert told[-1] == ("a", "stop")
    stopper.join(PATIENCE)
    assert tree.host.letters.total == 0


def test_52_outcomes_after_the_deadline_are_dead_letters(tree: Any, story: Any, puppet: Puppets) -> None:
    """With the outcome in each: it is known, and whoever makes amends can write it down.

    Origin: pykka, which knows of no I/O and stops at once.
    """
    release, shutdown = asyncio.Event(), 0.2

    async def request(number: int) -> int:
        await release.wait()
        return number

    control = tree.start(puppet(shutdown=shutdown))
    ask(tree.ref("a"), lambda p: [p.ctx.spawn_io(request, n, op=n) for n in range(CALLS)])
    began = clocks.monotonic()
    control.terminate_child("a")
    assert shutdown * IO_SHARE <= clocks.monotonic() - began < shutdown * IO_SHARE + SLACK
    assert [word[1] for word in story.rest()] == ["start", "drain", "stop"]
    tree.host.io.loop.call_soon_threadsafe(release.set)
    letters = [tree.letter() for _ in range(CALLS)]
    assert all(type(letter.message) is IoDone and letter.reason == "stopped" for letter in letters)
    assert sorted(letter.message.result for letter in letters) == list(range(CALLS))
    control.restart_child("a")
    assert ask(tree.ref("a"), lambda p: p.ctx.pending) == {}, "nobody waits for them any more"


def test_52_an_outcome_that_came_while_it_was_down_is_no_reason_to_wait(tree: Any, puppet: Puppets) -> None:
    """Stopped before a next incarnation has heard it: it is a dead letter at once, with its result.

    Origin: a gap of the prototype, which waited for what had come already.
    """

    async def request() -> str:
        return "done"

    def posted(_puppet: Any) -> None:
        tree.host.io.run(asyncio.sleep, 0, timeout=PATIENCE)

    def begin(puppet: Any) -> None:
        puppet.ctx.spawn_io(request, op="r")
        raise ZeroDivisionError

    control = tree.start(puppet(failure=posted, backoff=Backoff(3600, 3600), shutdown="infinity"))
    tree.ref("a").tell(begin)
    tree.event("crashed")
    control.terminate_child("a")
    letters = [tree.letter(), tree.letter()]
    assert [letter.reason for letter in letters] == ["crashed", "stopped"]
    assert letters[1].message.result == "done"
