"""Real cells under real supervisors, an actor that does what it is told, and a gate to hold it in its turn.

A plugin of the whole suite: `tests/conftest.py` loads it.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pykka
import pytest

from knell.actors.behaviour import Behaviour, IoDone, Signal, Terminated, Timer
from knell.actors.cell import Cell
from knell.actors.clock import Clock
from knell.actors.context import Context
from knell.actors.control import Control
from knell.actors.host import Host
from knell.actors.io import IoLoop
from knell.actors.letters import DeadLetter
from knell.actors.orders import ActorEvent, Halt
from knell.actors.seam import Envelope
from knell.actors.spec import Spec
from knell.actors.supervisor import Supervisor

PATIENCE = 20.0
"""Seconds after which a test gives up; nothing is ever waited for that long unless it is broken."""


class Puppet(Behaviour):
    """Does what its messages say: each is a function that gets the puppet. What happens to it is its story.

    Args:
        story: where it tells of its life, as tuples that begin with its name.
        on_start, on_stop, on_failure: what else to do then.
    """

    def __init__(
        self,
        ctx: Context,
        *,
        story: "queue.Queue[tuple[Any, ...]]",
        start: Callable[["Puppet"], Any] | None = None,
        stop: Callable[["Puppet"], Any] | None = None,
        failure: Callable[["Puppet"], Any] | None = None,
    ) -> None:
        super().__init__(ctx)
        self._story = story
        self._start, self._stop, self._failure = start, stop, failure

    def tell(self, *words: Any) -> None:
        """Tell of something."""
        self._story.put((self.ctx.name, *words))

    def on_start(self) -> None:
        """Start, and say which incarnation it is."""
        if self._start:
            self._start(self)
        self.tell("start", self.ctx.incarnation)

    def on_receive(self, message: Any) -> Any:
        """Do as told; say what is no order."""
        if callable(message):
            return message(self)
        self.tell(message)
        return message

    def on_io(self, done: IoDone) -> None:
        """Say how it ended, and whether another incarnation had started it."""
        stale = done.epoch != self.ctx.incarnation
        self.tell("io", done.op, done.result if done.error is None else done.error, stale)

    def on_signal(self, signal: Signal) -> None:
        """Say what came."""
        match signal:
            case Timer(key):
                self.tell("timer", key)
            case Terminated(name, watch):
                self.tell("terminated", name, watch)
            case _:
                super().on_signal(signal)

    def on_drain(self) -> None:
        """Say so."""
        self.tell("drain")

    def on_stop(self) -> None:
        """Stop, and say so."""
        if self._stop:
            self._stop(self)
        self.tell("stop")

    def on_failure(self, error: BaseException) -> None:
        """Say what it died of."""
        if self._failure:
            self._failure(self)
        self.tell("failure", repr(error))


class Story:
    """What the puppets told, in order."""

    def __init__(self) -> None:
        self.queue: queue.Queue[tuple[Any, ...]] = queue.Queue()

    def next(self) -> tuple[Any, ...]:
        """Wait for the next word."""
        return self.queue.get(timeout=PATIENCE)

    def take(self, count: int) -> list[tuple[Any, ...]]:
        """Wait for so many words."""
        return [self.next() for _ in range(count)]

    def until(self, *word: Any) -> list[tuple[Any, ...]]:
        """Wait for this word; return it and what came before it."""
        told = [self.next()]
        while told[-1] != word:
            told.append(self.next())
        return told

    def rest(self) -> list[tuple[Any, ...]]:
        """Return what has been told and not been looked at."""
        told: list[tuple[Any, ...]] = []
        while not self.queue.empty():
            told.append(self.queue.get())
        return told


class Tree:
    """A root supervisor with the children of a test."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.letters: queue.Queue[DeadLetter] = queue.Queue()
        self.events: queue.Queue[ActorEvent] = queue.Queue()
        host.letters.hand_back = self.letters.put
        host.observers.append(self.events.put)
        self.roots: list[Cell] = []

    def start(self, *specs: Spec, **supervision: Any) -> Control:
        """Start a supervisor with these children; raise what kept it from starting."""
        args = {"specs": specs, **supervision}
        root = Cell(Spec("root", Supervisor, args), self.host)
        self.roots.append(root)
        pykka.ActorRegistry.register(root.actor_ref)
        launch = root.begin()
        assert launch.done.wait(PATIENCE)
        if launch.failed is not None:
            assert launch.failed.error is not None
            raise launch.failed.error
        return Control(root.actor_ref, PATIENCE)

    @property
    def root(self) -> Cell:
        """The supervisor started last."""
        return self.roots[-1]

    def cell(self, name: str) -> Cell:
        """Return a child of it."""
        return self.root.children[name]

    def ref(self, name: str) -> pykka.ActorRef[Any]:
        """Return the address of a child."""
        return self.cell(name).actor_ref

    def letter(self) -> DeadLetter:
        """Wait for the next dead letter."""
        return self.letters.get(timeout=PATIENCE)

    def event(self, kind: str) -> ActorEvent:
        """Wait for the next event of this kind."""
        while (event := self.events.get(timeout=PATIENCE)).kind != kind:
            continue
        return event

    def system_message(self, name: str) -> threading.Event:
        """Return what is set once a child has something on its system lane, from now on."""
        mailbox, arrived = self.cell(name).mailbox, threading.Event()
        put_system = mailbox.put_system

        def put_and_say(envelope: Envelope[Any]) -> None:
            put_system(envelope)
            arrived.set()

        mailbox.put_system = put_and_say  # type: ignore[method-assign]
        return arrived

    def stop(self) -> None:
        """Stop every supervisor."""
        for root in self.roots:
            halt = Halt(final=True)
            root.mailbox.put_system(Envelope(halt))
            assert halt.done.wait(PATIENCE), "the tree does not stop"


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """The surroundings of actors, with a real clock and no jitter; its parameter is the limit of zombies."""
    zombies: int = getattr(request, "param", 16)
    host = Host(IoLoop(), replace(Clock(), dice=lambda: 0.0), max_zombies=zombies)
    yield host
    host.io.close()


@pytest.fixture
def tree(host: Host) -> Iterator[Tree]:
    """A tree without children; what a test starts is stopped at its end."""
    tree = Tree(host)
    yield tree
    tree.stop()


@pytest.fixture
def story() -> Story:
    """An empty story."""
    return Story()


@pytest.fixture
def puppet(story: Story) -> Callable[..., Spec]:
    """Return a maker of puppets' specs: `puppet("a", attempts=3, start=something)`."""

    def make(name: str = "a", **fields: Any) -> Spec:
        args: dict[str, Any] = {"story": story.queue}
        args |= {key: fields.pop(key) for key in ("start", "stop", "failure") if key in fields}
        return Spec(name, fields.pop("behaviour", Puppet), args, **fields)

    return make


@pytest.fixture(scope="session")
def puppet_class() -> type[Puppet]:
    """The puppet's class, to be derived from."""
    return Puppet


class Gate:
    """A handler that stays in its turn until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()

    def __call__(self, puppet: Any) -> str:
        """Stay."""
        self.entered.set()
        assert self.leave.wait(PATIENCE)
        return f"left in {puppet.ctx.incarnation}"


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open at the end, so that no thread stays behind."""
    gate = Gate()
    yield gate
    gate.leave.set()
