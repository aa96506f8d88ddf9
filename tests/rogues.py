"""A third party's channel that does what a test says, and what is needed to watch it under a real system.

A plugin of the whole suite: `tests/conftest.py` loads it.
"""

import asyncio
import itertools
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

import knell
from knell.actors.orders import ActorEvent
from knell.channels.base import Channel, ChannelConfig, Delivered, FormattedMessage, Outcome, Reason, Retry
from knell.manager import NotificationManager
from tests.puppets import PATIENCE

_names = itertools.count(1)


async def _nothing() -> None:
    """Say goodbye without a word."""


class Stage:
    """What one rogue does, and what it did.

    Attributes:
        crashing: while set, `send` raises.
        failing: while set, `send` answers that the provider is down.
        holding: while set, `send` waits until it is cleared by `release`.
        hanging: while set, `fit` blocks the actor's thread until `release`.
        blocking: while set, `send` blocks the I/O thread until `release`.
        hung, free: set when a thread is blocked, and when it is not any more.
        call: what `send` calls.
        goodbye: what `close` does.
        tried: titles, as each attempt begins.
        sent: titles, as each is delivered.
    """

    def __init__(self) -> None:
        self.name = f"stage-{next(_names)}"
        self.crashing, self.failing = threading.Event(), threading.Event()
        self.holding, self.hanging = threading.Event(), threading.Event()
        self.blocking, self.hung, self.free = threading.Event(), threading.Event(), threading.Event()
        self.call: Callable[[], None] = lambda: None
        self.goodbye: Callable[[], Awaitable[None]] = _nothing
        self.tried: queue.Queue[str] = queue.Queue()
        self.sent: queue.Queue[str] = queue.Queue()
        self._released = threading.Event()

    def section(self, **keys: Any) -> dict[str, Any]:
        """Return the section of a configuration for this channel."""
        return {"type": "tests.rogues:Rogue", "events": ["*"], "stage": self.name, **keys}

    def release(self) -> None:
        """Let go what is held or hangs, now and later."""
        self.holding.clear()
        self.hanging.clear()
        self.blocking.clear()
        self._released.set()

    def block(self) -> None:
        """Block the thread."""
        self.hung.set()
        assert self._released.wait(PATIENCE)
        self.free.set()

    async def play(self, title: str) -> Outcome:
        """Do what the test says."""
        self.tried.put(title)
        if self.crashing.is_set():
            raise RuntimeError("a bug")
        self.call()
        if self.blocking.is_set():
            self.block()
        if self.holding.is_set():
            await asyncio.to_thread(self._released.wait, PATIENCE)
        if self.failing.is_set():
            return Retry(Reason.SERVER_ERROR, detail="down")
        self.sent.put(title)
        return Delivered()

    def next_sent(self) -> str:
        """Wait for the next title that is delivered."""
        return self.sent.get(timeout=PATIENCE)

    def next_tried(self) -> str:
        """Wait for the next attempt."""
        return self.tried.get(timeout=PATIENCE)


class RogueConfig(ChannelConfig):
    """The section of a rogue."""

    stage: str


class Rogue(Channel):
    """Plays its stage."""

    Config = RogueConfig
    stages: ClassVar[dict[str, Stage]] = {}
    config: RogueConfig

    @property
    def stage(self) -> Stage:
        """Where its part is written."""
        return self.stages[self.config.stage]

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Do as told on the actor's thread."""
        if self.stage.hanging.is_set():
            self.stage.block()
        return message

    async def send(self, message: FormattedMessage) -> Outcome:
        """Do as told on the I/O thread."""
        return await self.stage.play(message.events[0].title)

    async def close(self) -> None:
        """Do as told on the I/O thread."""
        await self.stage.goodbye()


class Watched:
    """A running system and everything that happens to its actors."""

    def __init__(self, manager: NotificationManager) -> None:
        self.manager = manager
        self.events: queue.Queue[ActorEvent] = queue.Queue()
        manager.system.host.observers.append(self.events.put)

    def event(self, kind: str, actor: str) -> ActorEvent:
        """Wait for what happens to an actor; what happened before it is dropped."""
        while True:
            event = self.events.get(timeout=PATIENCE)
            if (event.kind, event.actor) == (kind, actor):
                return event

    def tell(self, *titles: str, **fields: Any) -> None:
        """Tell of events with these titles."""
        for title in titles:
            self.manager.ref.tell(event(title, **fields))

    def metric(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric."""
        return self.manager.registry.get_sample_value(name, labels)


def event(title: str, **fields: Any) -> knell.NotificationEvent:
    """Return an event that everybody gets."""
    given: dict[str, Any] = {"event_type": "job_failed", "source": "tests", "title": title, **fields}
    return knell.NotificationEvent(**given)


@pytest.fixture
def make_stage() -> Iterator[Callable[[], Stage]]:
    """Return a maker of stages; none holds anybody at the end."""

    def make() -> Stage:
        stage = Stage()
        Rogue.stages[stage.name] = stage
        return stage

    yield make
    while Rogue.stages:
        Rogue.stages.popitem()[1].release()


@pytest.fixture
def stage(make_stage: Callable[[], Stage]) -> Stage:
    """A stage on which everything is delivered."""
    return make_stage()


@pytest.fixture
def run_system(tmp_path: Path, make_stage: Callable[[], Stage]) -> Iterator[Callable[..., Watched]]:
    """Return what starts a system with these channels and settings; it is stopped at the end."""
    running: list[Watched] = []

    def start(channels: Mapping[str, Any], **settings: Any) -> Watched:
        manager = knell.start(
            {
                "channels": channels,
                "store": {"url": f"sqlite:///{tmp_path}/knell.db"},
                "retry_policy": {"max_retries": 150, "initial_delay_ms": 1, "max_delay_ms": 1000},
                **settings,
            }
        )
        running.append(Watched(manager))
        return running[-1]

    yield start
    for stage in list(Rogue.stages.values()):
        stage.release()
    for watched in running:
        watched.manager.stop()
    del make_stage
