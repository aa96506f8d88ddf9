"""How long a system answers, and in which process: nobody who waits for it waits longer than that."""

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pykka

from knell.errors import SystemStopped


class ForkedError(SystemStopped, pykka.ActorDeadError):
    """This process is a fork of the one that runs the system: its actors have no threads here."""

    def __init__(self) -> None:
        super().__init__(
            "this process was forked from the one that runs knell: start a system of its own here"
        )


class Lifetime:
    """The life of one system, for those who wait for something it does.

    Attributes:
        over: whether it does nothing more.
    """

    def __init__(self) -> None:
        self.over = False
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: dict[object, Callable[[], None]] = {}

    @property
    def elsewhere(self) -> bool:
        """Whether the system runs in another process, of which this one is a fork."""
        return os.getpid() != self._process

    def check(self) -> None:
        """Refuse to go on where no actor would ever answer.

        Raises:
            ForkedError: this process is a fork of the one that runs the system.
        """
        if self.elsewhere:
            raise ForkedError

    @contextmanager
    def waiting(self, wake: Callable[[], None]) -> Generator[None]:
        """Have `wake` called when it is over, once and from any thread; look at `over` after each wait."""
        token = object()
        with self._lock:
            self._waiting[token] = wake
        try:
            yield
        finally:
            with self._lock:
                del self._waiting[token]

    def end(self) -> None:
        """Let everybody go who still waits; a second call does nothing more."""
        self.over = True
        with self._lock:
            waiting = list(self._waiting.values())
        for wake in waiting:
            wake()
