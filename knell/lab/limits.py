"""The providers' rates, on a clock the test may own."""

import math
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]

GRACE_SECONDS = 0.25
"""Requests this soon after a "slow down" may have been on their way already (ours)."""

ROUNDING = 1e-6
"""Part of a token that may be missing: who waits exactly as long as told must not be turned away."""


class ManualClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: float = 1000.0) -> None:
        self._now = now

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Go on by so many seconds."""
        self._now += seconds


class Bucket:
    """Tokens that come back at a steady rate, one bucket per key.

    `grace` is the part of a token that may be borrowed: requests sent at just the rate arrive now and then a
    little closer together.
    """

    def __init__(self, burst: int, per_second: float, clock: Clock, grace: float = ROUNDING) -> None:
        self._burst = burst
        self._rate = per_second
        self._grace = grace
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        now = self._clock()
        level, then = self._levels.get(key, (float(self._burst), now))
        level = min(self._burst, level + (now - then) * self._rate)
        missing = 1 - level
        if missing > self._grace:
            self._levels[key] = (level, now)
            return missing / self._rate
        self._levels[key] = (level - 1, now)
        return 0.0


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a window: `reset_after` in seconds."""

    allowed: bool
    remaining: int
    reset_after: float


class Window:
    """So many requests in a window that opens with the first one, per key."""

    def __init__(self, limit: int, seconds: float, clock: Clock) -> None:
        self.limit = limit
        self._seconds = seconds
        self._clock = clock
        self._open: dict[str, tuple[float, int]] = {}

    def take(self, key: str) -> Quota:
        """Count a request."""
        now = self._clock()
        since, used = self._open.get(key, (now, 0))
        if now - since >= self._seconds:
            since, used = now, 0
        allowed = used < self.limit
        used += allowed
        self._open[key] = (since, used)
        return Quota(allowed, self.limit - used, since + self._seconds - now)


class Pauses:
    """Lanes in which a client was told to wait, or to stay away for good.

    A client cannot call back requests that are on their way. So one that comes too soon is held against it
    only when it repeats a body that was sent away, or comes after the grace.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[str, tuple[float, float, set[bytes]]] = {}

    def begin(self, lane: str, body: bytes, seconds: float) -> None:
        """A client was told to wait for so long; infinity means for good."""
        now = self._clock()
        since, until, bodies = self._lanes.get(lane, (now, now, set[bytes]()))
        if until <= now:
            since, bodies = now, set[bytes]()
        self._lanes[lane] = (since, max(until, now + seconds), bodies | {body})

    def broken_by(self, lane: str, body: bytes) -> str:
        """Return what is wrong with sending now, or nothing."""
        now = self._clock()
        since, until, bodies = self._lanes.get(lane, (now, now, set[bytes]()))
        if now >= until or (body not in bodies and now - since <= GRACE_SECONDS):
            return ""
        if math.isinf(until):
            return "sent to an endpoint that had said it is gone"
        return f"sent {until - now:.2f} s before the pause it was told to keep had ended"
