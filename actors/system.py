"""One running system: its actors as the topology has them, and how they start, stop and change together."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pykka
from prometheus_client import CollectorRegistry

from knell.errors import KnellError
from knell.log import log
from knell.store import free_bytes

from ..channels.memory import Memory
from ..config.schema import NotificationConfig
from . import translate
from .alarm import Alarm
from .amends import Amends
from .cell import Cell
from .clock import Clock
from .context import signal
from .control import Control
from .ending import running
from .host import Host
from .io import IoLoop
from .lifetime import Lifetime
from .memory import StoredMemory
from .orders import Halt
from .policy.restart import Strategy
from .room import Room
from .telemetry import Telemetry
from .topology import Classes, Topology, equipped

MOST_RELEASE, LEAST_RELEASE = 5.0, 0.5
"""Seconds for channels, connections and the I/O thread to close at the end: as many as are left."""

FAREWELL = 0.6
"""Share of that time for the channels: a goodbye to a mail server takes a round trip."""


class System(Topology):
    """One running tree of actors.

    Args:
        config: the checked configuration.
        classes: the channel class of each enabled section, by the section's name.
        registry: where the metrics go.
        clock: time and dice.
        free: what is left on the disk of a store, in bytes, by its URL.
        on_fatal: told why when the root gives up.
    """

    def __init__(
        self,
        config: NotificationConfig,
        classes: Classes,
        registry: CollectorRegistry,
        *,
        clock: Clock | None = None,
        free: Callable[[str], float] = free_bytes,
        on_fatal: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(config, classes, self._metrics(registry), Room(free))
        self._on_fatal = on_fatal
        self.life = Lifetime()
        self.host = self._surroundings(clock or Clock())
        self.released = False
        self._releasing = threading.Lock()
        self.root = self.cell(self._root(), self.host)
        self.telemetry.root = self.root
        alarm = Alarm(self._tell, self._has_fallback, self._failed)
        self.host.observers.extend([self.telemetry.observe, alarm.observe])
        self.host.letters.hand_back = Amends(self.telemetry, lambda: self.outbox).make

    # What it is made of

    cell: ClassVar[type[Cell]] = Cell
    """The kind of every actor in the tree."""

    def _surroundings(self, clock: Clock) -> Host:
        return Host(IoLoop(), clock, max_zombies=self.config.supervision.max_zombies)

    def _metrics(self, registry: CollectorRegistry) -> Telemetry:
        return Telemetry(registry)

    # Life

    def start(self) -> None:
        """Start everything, in order.

        Raises:
            KnellError: something did not start; everything is stopped again.
        """
        self.life.check()
        pykka.ActorRegistry.register(self.root.actor_ref)
        launch = self.root.begin()
        launch.done.wait()
        if launch.failed is not None:
            self.stop(LEAST_RELEASE)
            error = launch.failed.error
            cause = error.__cause__ if error is not None else None
            raise cause if isinstance(cause, KnellError) else error or KnellError("the system did not start")
        running.add(self)

    def stop(self, timeout: float | None = None) -> None:
        """Stop everything in reverse order; a second call does nothing.

        After `timeout` seconds what still runs is abandoned; its deliveries are in the outbox. In a forked
        child it does nothing: the system is the parent's. On one of the system's own threads, which it would
        wait for, it goes on in another thread and returns at once.
        """
        if self.life.elsewhere:
            return
        if self._on_own_thread():
            threading.Thread(target=self.stop, args=(timeout,), name="knell-stop", daemon=True).start()
            return
        until = None if timeout is None else time.monotonic() + timeout
        if self.root.thread is not None and not self.root.closed.is_set():
            halt = Halt(final=True)
            signal(self.root.actor_ref, halt)
            if not halt.done.wait(timeout):
                log.error("system.abandoned", after_seconds=timeout)
        self.life.end()
        left = MOST_RELEASE if until is None else until - time.monotonic()
        self._release(min(MOST_RELEASE, max(LEAST_RELEASE, left)))
        running.discard(self)

    def reconfigure(self, config: NotificationConfig, classes: Classes) -> None:
        """Take over another configuration: only the actors whose part of it changed are replaced.

        The router goes first, so that nothing new is routed to a channel on its way out; what is routed to
        one that does not run yet waits in the outbox.
        """
        before, old = self.config, self.equipment
        self.config, self._classes = config, dict(classes)
        if equipped(config) != equipped(before):
            self.equipment = self._equip()
        Control(self.root.actor_ref).apply(
            self._pipeline(),
            strategy=Strategy(config.supervision.strategy),
            intensity=translate.intensity(config),
        )
        Control(self.root.children["channels"].actor_ref).apply(self._channel_specs())
        if self.equipment is not old:
            self.host.io.submit(old.http.close, (), _ignore)

    @property
    def router(self) -> pykka.ActorRef[Any]:
        """The address of the system: one object for its whole life."""
        return self.root.children["router"].actor_ref

    @property
    def outbox(self) -> pykka.ActorRef[Any] | None:
        """The address of the outbox; None before the first start."""
        return self._ref("outbox")

    def memory(self, channel: str) -> Memory:
        """Return what a channel remembers."""
        return StoredMemory(channel, lambda: self.outbox)

    def cells(self) -> Iterator[Cell]:
        """Go through all actors, in start order."""
        waiting = [self.root]
        while waiting:
            children = list(waiting.pop().children.values())
            waiting += children
            yield from children

    def _ref(self, name: str) -> pykka.ActorRef[Any] | None:
        cell = self.root.children.get(name)
        return cell.actor_ref if cell else None

    def _tell(self, name: str, message: object) -> None:
        if (ref := self._ref(name)) is not None:
            with suppress(pykka.ActorDeadError):
                ref.tell(message)

    def _on_own_thread(self) -> bool:
        current = threading.current_thread()
        return self.host.io.inside or any(cell.thread is current for cell in (self.root, *self.cells()))

    def _has_fallback(self, name: str) -> bool:
        section = self.config.channels.get(name)  # a reload may be about to remove it
        return section is not None and bool(section.fallback)

    def _failed(self, why: str) -> None:
        self.life.end()
        if self._on_fatal is not None:
            self._on_fatal(why)

    def _release(self, seconds: float) -> None:
        """Give back connections, the I/O thread and the registry; a channel that blocks it cannot hold us."""
        until = time.monotonic() + seconds
        with self._releasing:
            if self.released:
                return
            self.released = True
            io = self.host.io
            with suppress(TimeoutError):  # channels say goodbye over connections that are closed after them
                io.finish(seconds * FAREWELL)
            with suppress(TimeoutError):
                io.run(self.equipment.http.close, timeout=max(LEAST_RELEASE / 2, until - time.monotonic()))
            io.close(max(LEAST_RELEASE / 2, until - time.monotonic()))
            self.telemetry.close()


def _ignore(_result: object, _error: BaseException | None, _elapsed: float) -> None:
    """Nobody waits for the old client to be closed."""
