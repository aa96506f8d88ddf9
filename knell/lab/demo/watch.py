"""The watch: brings what happens on other threads to the demo's loop, and tells terminal and browsers."""

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import msgspec

from knell.actors.orders import ActorEvent
from knell.lab import Lab, Message, Request
from knell.lab.demo.figures import Figures, figures
from knell.lab.demo.hub import Hub
from knell.lab.demo.ledger import Ledger, channel_of
from knell.lab.demo.reporter import Line, Reporter
from knell.lab.demo.view import view
from knell.manager import NotificationManager
from knell.templates.wording import Catalog

REFRESH_SECONDS = 0.25
"""How often browsers get new figures, when these have changed."""


class Watch:
    """Sees everything that happens; made on the demo's loop.

    Args:
        lab: whose receivers get the messages.
        words: the language.
        show: prints a line.

    Attributes:
        ledger: what was told and what has arrived.
        hub: what browsers are told.
        reporter: finds the words.
        figures: what the system said about itself when it was last asked.
    """

    def __init__(self, lab: Lab, words: Catalog, show: Callable[[Line], object]) -> None:
        self._lab = lab
        self._show = show
        self._loop = asyncio.get_running_loop()
        self.ledger = Ledger()
        self.hub = Hub()
        self.reporter = Reporter(self.ledger, words, self._publish)
        self.figures = Figures({}, {})

    @contextmanager
    def receivers(self) -> Generator[None]:
        """Watch the stand-ins."""

        def received(item: Message | Request) -> None:
            self._loop.call_soon_threadsafe(self._received, item)

        unsubscribe = self._lab.subscribe(received)
        try:
            yield
        finally:
            unsubscribe()

    @contextmanager
    def actors(self, manager: NotificationManager) -> Generator[None]:
        """Watch a system; the figures it ends with are kept."""

        def noticed(event: ActorEvent) -> None:
            self._loop.call_soon_threadsafe(self.reporter.actor, event, time.monotonic())

        observers = manager.system.host.observers
        observers.append(noticed)
        try:
            yield
        finally:
            observers.remove(noticed)
            self.look(manager)

    async def refresh(self, manager: NotificationManager) -> None:
        """Keep browsers up to date, for ever."""
        while True:
            if self.hub.watched:
                self.look(manager)
            await asyncio.sleep(REFRESH_SECONDS)

    def look(self, manager: NotificationManager) -> None:
        """Ask the system how it is, and tell browsers if that is news."""
        self.figures = figures(manager.registry)
        self.hub.latest("figures", {**msgspec.to_builtins(self.figures), "events": self.ledger.events})

    def _received(self, item: Message | Request) -> None:
        if isinstance(item, Request):
            self.reporter.refused(item)
            return
        self.reporter.arrived(item, self.ledger.arrive(item))
        self.hub.message(channel_of(item.provider), view(self._lab, item))

    def _publish(self, line: Line) -> None:
        self._show(line)
        self.hub.line(line)
