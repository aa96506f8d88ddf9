"""Virtual time and simulated threads: one greenlet each, and a scheduler that is the only one to choose.

A thread of knell blocks in two places, its mailbox and an event. Both give control back to the scheduler,
which takes the next thing that happens: by time, and among equal times by the dice of the seed.
"""

import heapq
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, cast

import greenlet as greenlets  # type: ignore[import-untyped]  # it has no types

Exit = cast("type[BaseException]", greenlets.GreenletExit)
"""Raised in a thread whose process has died, wherever it waits."""


class Clockwork:
    """The scheduler.

    Args:
        dice: of the seed: decides between things that happen at the same time.

    Attributes:
        now: virtual seconds.
        current: the thread that runs; None = the scheduler itself.
        lag: how long a thread that could go on may be kept waiting at most, seconds.
    """

    def __init__(self, dice: Random, lag: float) -> None:
        self.dice = dice
        self.lag = lag
        self.now = 0.0
        self.current: Thread | None = None
        self.stopped = False
        self.main: Any = greenlets.getcurrent()
        self._count = 0
        self._agenda: list[tuple[float, float, int, Callable[[], None]]] = []

    def read(self) -> float:
        """Return the time, as a thread sees it."""
        if self.current is not None:
            self.current.read_at = self.now
        return self.now

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen at a time."""
        self._count += 1
        heapq.heappush(self._agenda, (max(when, self.now), self.dice.random(), self._count, what))

    def soon(self, what: Callable[[], None]) -> None:
        """Let something happen, after whatever else may come first."""
        dice = self.dice.random()
        lag = self.lag * dice * dice if dice > 0.5 else 0.0  # every second one is not kept waiting
        self.at(self.now + lag, what)

    def at_once(self, what: Callable[[], None]) -> None:
        """Let something happen before anything else does."""
        self._count += 1
        heapq.heappush(self._agenda, (self.now, -1.0, self._count, what))

    def run(self, until: float) -> None:
        """Let things happen until nothing is left, the time is over, or somebody says `stop`."""
        while self._agenda and not self.stopped:
            when, _, _, what = heapq.heappop(self._agenda)
            if when > until:
                self.now = until
                return
            self.now = when
            what()

    def stop(self) -> None:
        """End `run`."""
        self.stopped = True

    def switch(self) -> None:
        """Give control back to the scheduler; for threads."""
        self.main.switch()


class Thread:
    """One simulated thread. Starts when the scheduler comes to it.

    Attributes:
        owner: whose thread it is.
        killed: whether its process has died.
        read_at: when it looked at the clock last.
    """

    def __init__(self, clockwork: Clockwork, run: Callable[[], None], owner: Any = None) -> None:
        self.owner = owner
        self.read_at = 0.0
        self._clockwork = clockwork
        self._run = run
        self._greenlet: Any = greenlets.greenlet(self._live, clockwork.main)
        self._waits = 0
        self._parked = self._waking = self.killed = False
        clockwork.soon(self._resume)

    def is_alive(self) -> bool:
        """Say whether it has not ended."""
        return not self._greenlet.dead

    def park(self, until: float | None = None, *, ready: bool = False) -> bool:
        """Wait for `wake`, or for a time; return whether it was woken. For the thread itself.

        `ready`: it could go on at once, and only lets others come first.
        """
        if self.killed:
            raise Exit
        self._waits += 1
        self._parked, self._waking = True, False
        if ready:
            self.wake()
        elif until is not None:
            self._clockwork.at(until, partial(self._time_out, self._waits))
        self._clockwork.switch()
        return self._waking

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass, whatever comes meanwhile."""
        until = self._clockwork.now + seconds
        while self._clockwork.now < until:
            self.park(until)

    def wake(self) -> None:
        """Let it go on, soon."""
        if self._parked and not self._waking:
            self._waking = True
            self._clockwork.soon(partial(self._woken, self._waits))

    def kill(self) -> None:
        """End it, wherever it waits."""
        self.killed = True
        while self.is_alive():
            self._enter(partial(self._greenlet.throw, Exit))

    def _live(self) -> None:
        if not self.killed:
            self._run()

    def _time_out(self, wait: int) -> None:
        if self._parked and wait == self._waits and not self._waking:
            self._resume()

    def _woken(self, wait: int) -> None:
        if self._parked and wait == self._waits:
            self._resume()

    def _resume(self) -> None:
        if not self.killed:
            self._parked = False
            self._enter(self._greenlet.switch)

    def _enter(self, how: Callable[[], None]) -> None:
        before, self._clockwork.current = self._clockwork.current, self
        try:
            how()
        finally:
            self._clockwork.current = before


class Event:
    """Stands for `threading.Event`."""

    def __init__(self, clockwork: Clockwork) -> None:
        self._clockwork = clockwork
        self._set = False
        self._waiting: list[Thread] = []

    def is_set(self) -> bool:
        """Say whether it is set."""
        return self._set

    def set(self) -> None:
        """Set it, and wake whoever waits."""
        self._set = True
        for thread in self._waiting:
            thread.wake()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or `timeout` virtual seconds."""
        thread = self._clockwork.current
        assert thread is not None, "only a thread can wait"
        until = None if timeout is None else self._clockwork.now + timeout
        self._waiting.append(thread)
        while not self._set and (until is None or self._clockwork.now < until):
            thread.park(until)
        self._waiting.remove(thread)
        return self._set
