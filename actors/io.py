"""The I/O loop: one asyncio thread for all channels. Outcomes go back to the actors as messages."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

IoFunction = Callable[..., Coroutine[Any, Any, Any]]

Finished = Callable[[Any, BaseException | None, float], None]
"""Told the result, the exception that escaped, and the seconds it took; on the I/O thread."""


class IoLoop:
    """One asyncio event loop on one daemon thread; uvloop where it is installed.

    Not an actor: it runs coroutines and has no state to lose. A coroutine's outcome is reported by the loop,
    never by the coroutine itself: a task cancelled before its first step runs none of its code.
    """

    def __init__(self, name: str = "knell-io") -> None:
        self._loop = _new_loop()
        self._waiting: deque[tuple[IoFunction, tuple[Any, ...], Finished, bool]] = deque()
        self._armed = threading.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, for servers that live on it."""
        return self._loop

    @property
    def inside(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return threading.current_thread() is self._thread

    @property
    def alive(self) -> bool:
        """Whether it still takes work."""
        return not self._loop.is_closed()

    def submit(
        self, function: IoFunction, args: tuple[Any, ...], finished: Finished, *, last: bool = False
    ) -> None:
        """Start `function(*args)` on the loop; any thread. `finished` is called exactly once.

        `last`: it cleans up behind others, so that `finish` waits for it instead of cancelling it.

        Waking the loop costs more than the rest of it, so a burst wakes it once.
        """
        self._waiting.append((function, args, finished, last))
        if self._armed.acquire(blocking=False):
            try:
                self._loop.call_soon_threadsafe(self._start_waiting)
            except RuntimeError:  # the loop was closed; nothing would ever answer
                self._armed.release()
                self._refuse_waiting()

    def run(self, function: IoFunction, *args: Any, timeout: float | None = None) -> Any:
        """Run a coroutine and wait for it; never from an actor or the loop itself.

        Raises:
            TimeoutError: it takes longer than `timeout` seconds; it is cancelled then.
        """
        future = asyncio.run_coroutine_threadsafe(function(*args), self._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def finish(self, timeout: float) -> None:
        """Cancel what still runs, and wait up to `timeout` seconds until what cleans up has ended.

        Raises:
            TimeoutError: it has not.
        """
        self.run(self._wind_down, timeout=timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Cancel what still runs and end the thread."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout)

    def _start_waiting(self) -> None:
        self._armed.release()  # before looking: what comes after this wakes the loop anew
        while self._waiting:
            function, args, finished, last = self._waiting.popleft()
            started = time.perf_counter()
            try:
                task = self._loop.create_task(_contained(function, args))
            except BaseException as error:  # noqa: BLE001 - a crash of the actor that asked, not of the loop
                finished(None, error, 0.0)
                continue
            running = self._last if last else self._tasks
            running.add(task)
            task.add_done_callback(_Report(running, finished, started))

    async def _wind_down(self) -> None:
        for task in self._tasks:
            task.cancel()
        while self._last:
            await asyncio.wait(self._last)

    def _refuse_waiting(self) -> None:
        while self._waiting:
            _, _, finished, _ = self._waiting.popleft()
            finished(None, asyncio.CancelledError("the I/O loop is closed"), 0.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._end()

    def _end(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        if pending := asyncio.all_tasks(self._loop):
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        self._refuse_waiting()


class _Escaped(Exception):  # noqa: N818 - carries an error, is none
    """Carries what asyncio would let out of the loop, which would end the thread of every channel."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


async def _contained(function: IoFunction, args: tuple[Any, ...]) -> Any:
    try:
        return await function(*args)
    except (SystemExit, KeyboardInterrupt) as error:
        raise _Escaped(error) from None


class _Report:
    """Tells `finished` how a task ended."""

    __slots__ = ("_finished", "_started", "_tasks")

    def __init__(self, tasks: set[asyncio.Task[Any]], finished: Finished, started: float) -> None:
        self._tasks = tasks
        self._finished = finished
        self._started = started

    def __call__(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        elapsed = time.perf_counter() - self._started
        if task.cancelled():
            self._finished(None, asyncio.CancelledError("cancelled"), elapsed)
        elif error := task.exception():
            self._finished(None, error.error if isinstance(error, _Escaped) else error, elapsed)
        else:
            self._finished(task.result(), None, elapsed)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
