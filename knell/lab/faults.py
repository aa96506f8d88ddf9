"""What can go wrong between a client and a provider, as values a test scripts.

A fault strikes one request: the first whose path (for SMTP: command) contains its `at`. Nothing here sleeps:
what takes time waits at a `Gate` until the test opens it.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from knell.lab.record import WAIT_SECONDS


class Gate:
    """Where requests wait until the test lets them go on. Opened once, it stays open."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arrived = 0
        self._open = False
        self._waiting: list[asyncio.Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def wait_arrived(self, count: int = 1, timeout: float = WAIT_SECONDS) -> None:
        """Block until `count` requests have come to the gate.

        Raises:
            TimeoutError: fewer came within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived >= count, timeout):
                raise TimeoutError(f"{self._arrived} of {count} requests came to the gate in {timeout:g} s")

    def open(self) -> None:
        """Let everything through, now and later; callable from any thread."""
        with self._changed:
            self._open = True
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            # A lab that stopped has cancelled the future and closed its loop.
            if not future.done():
                future.get_loop().call_soon_threadsafe(_release, future)

    async def passed(self) -> None:
        """Wait until the gate is open."""
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
            if self._open:
                return
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
        await future


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    at: str = ""


@dataclass(frozen=True, slots=True)
class Hold(_Fault):
    """The request waits at the gate, then is handled as any other.

    With `stored` it is handled first and only the answer waits: the message is taken, and the client hears
    nothing.
    """

    gate: Gate
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Respond(_Fault):
    """This answer instead of the provider's own; for SMTP the reply's code and text.

    A body that is no text is sent as JSON. With `stored` the message is taken all the same, as by a provider
    that fails after its work was done.
    """

    status: int
    body: str | bytes | Mapping[str, Any] = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    stored: bool = False

    @property
    def content(self) -> bytes:
        """The body as it goes over the wire."""
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else msgspec.json.encode(self.body)


@dataclass(frozen=True, slots=True)
class Redirect(_Fault):
    """Sent elsewhere: to itself, or to the given address. Following it is a violation."""

    to: str = ""
    status: int = 301


@dataclass(frozen=True, slots=True)
class Reset(_Fault):
    """The connection is reset: before the body is read or, with `stored`, after the message was taken."""

    stored: bool = False


@dataclass(frozen=True, slots=True)
class Drop(_Fault):
    """The connection is closed without an answer: before the body is read, or `stored` after the work."""

    stored: bool = False


@dataclass(frozen=True, slots=True)
class Half(_Fault):
    """The message is taken; the answer breaks off in its middle."""


@dataclass(frozen=True, slots=True)
class Slow(_Fault):
    """The message is taken; the answer stops after its first byte until the gate opens."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Endless(_Fault):
    """The message is taken; the body of the answer never ends."""


Fault = Hold | Respond | Redirect | Reset | Drop | Half | Slow | Endless


class Script:
    """The faults to come: a queue, and what holds until further notice behind it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Fault] = deque()
        self._standing: Fault | None = None

    def add(self, faults: tuple[Fault, ...]) -> None:
        """Append faults; each strikes once."""
        with self._lock:
            self._queue.extend(faults)

    def stand(self, fault: Fault | None) -> None:
        """Set the fault that strikes every request the queue leaves alone; None ends it."""
        with self._lock:
            self._standing = fault

    def take(self, place: str) -> Fault | None:
        """Return the fault that strikes a request at this place, and forget it if it came from the queue."""
        with self._lock:
            for fault in self._queue:
                if fault.at in place:
                    self._queue.remove(fault)
                    return fault
            standing = self._standing
            return standing if standing is not None and standing.at in place else None

    @property
    def pending(self) -> tuple[Fault, ...]:
        """The faults of the queue that have not struck yet."""
        with self._lock:
            return tuple(self._queue)
