"""The receipt: what a sender may wait for, from any thread or any event loop."""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from knell.messages import DeliveryResult, Reason

from .lifetime import Lifetime

_ENDLESS = Lifetime()


class Receipt:
    """The promise about one event.

    Everything that waits ends when the system does: what is not known by then stays unknown, and is in the
    store. In a process forked from the system's, it raises `SystemStopped`.

    Args:
        event_id: the event's id.
        life: the life of the system that makes the promise.

    Attributes:
        id: the notification id, which is the event's id.
        refused: why it was not accepted (mailbox_full, disk_full, conflict, store, stopped, ...); None
            while it may be.
        duplicate: whether an event with this id had been accepted before.
    """

    def __init__(self, event_id: str, life: Lifetime = _ENDLESS) -> None:
        self.id = event_id
        self._life = life
        self.refused: str | None = None
        self.duplicate = False
        self._durable = False
        self._results: dict[str, DeliveryResult | None] = {}
        self._changed = threading.Condition()
        self._callbacks: list[Callable[[], None]] = []
        self._leader: Receipt | None = None
        self._followers: weakref.WeakSet[Receipt] | None = None  # made for the first: most have none

    def accepted(self, timeout: float | None = None) -> bool:
        """Wait until the event is durable; False when it was refused, or after `timeout` seconds."""
        self._wait(lambda: self._decided, timeout)
        return self._durable

    def results(self, timeout: float | None = None) -> list[DeliveryResult]:
        """Wait until every channel is done; return one result per channel, in routing order.

        After `timeout` seconds, or when the system stops, the channels that are not done are in it with
        `success=False` and the error "pending": their deliveries go on. A refused event has no results.
        """
        self._wait(lambda: self._finished, timeout)
        with self._changed:
            return [result or self._pending(channel) for channel, result in self._results.items()]

    async def wait(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as `accepted` has it
        """Do as `accepted` does, in asyncio."""
        await self._wait_async(lambda: self._decided, timeout)
        return self._durable

    def __await__(self) -> Generator[Any, None, list[DeliveryResult]]:
        """Do as `results` does, in asyncio."""
        yield from self._wait_async(lambda: self._finished, None).__await__()
        return self.results(0)

    def __repr__(self) -> str:
        state = self.refused or ("accepted" if self._durable else "on its way")
        return f"<Receipt {self.id}: {state}>"

    # For the router and the outbox

    def accept(self, channels: list[str], *, duplicate: bool = False) -> None:
        """Note that the event is durable and goes to these channels."""

        def change() -> None:
            self._durable, self.duplicate = True, duplicate
            for channel in channels:
                self._results.setdefault(channel, None)

        self._change(change)

    def refuse(self, reason: str) -> None:
        """Note that the event was not accepted."""

        def change() -> None:
            if not self._durable:
                self.refused = reason

        self._change(change)

    def settle(self, result: DeliveryResult) -> None:
        """Note the end of one delivery."""
        self._change(lambda: self._results.__setitem__(result.channel, result))
        for follower in self._followers or ():
            follower.settle(result)

    def follow(self, leader: "Receipt") -> None:
        """Learn of what is still open from another receipt for the same event."""
        self._leader = leader  # keeps it alive as long as somebody waits here
        leader._lead(self)  # noqa: SLF001 - the same class

    def _lead(self, follower: "Receipt") -> None:
        if self._followers is None:
            self._followers = weakref.WeakSet()
        self._followers.add(follower)

    @property
    def open(self) -> bool:
        """Whether a delivery of it is not done."""
        return not self._finished

    # Waiting

    @property
    def _decided(self) -> bool:
        return self._durable or self.refused is not None

    @property
    def _finished(self) -> bool:
        return self.refused is not None or (self._durable and None not in self._results.values())

    def _pending(self, channel: str) -> DeliveryResult:
        return DeliveryResult(
            notification_id=self.id, channel=channel, success=False, error="pending", reason=Reason.TIMEOUT
        )

    def _change(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def _wake(self) -> None:
        """Let those who wait look again."""
        self._change(lambda: None)

    def _wait(self, done: Callable[[], bool], timeout: float | None) -> None:
        self._life.check()
        if done():
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._life.waiting(self._wake), self._changed:
            while not (done() or self._life.over):
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return
                self._changed.wait(remaining)

    async def _wait_async(
        self,
        done: Callable[[], bool],
        timeout: float | None,  # noqa: ASYNC109 - see `wait`
    ) -> None:
        """Wait without blocking the loop: changes arrive by `call_soon_threadsafe`."""
        self._life.check()
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(changed.set)

        with self._changed:
            self._callbacks.append(wake)
        try:
            with self._life.waiting(wake):
                async with asyncio.timeout(timeout):
                    while not (done() or self._life.over):
                        await changed.wait()
                        changed.clear()
        except TimeoutError:
            return
        finally:
            with self._changed:
                self._callbacks.remove(wake)
