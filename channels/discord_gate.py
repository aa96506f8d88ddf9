"""What may go to Discord now: one gate for all Discord channels of a system.

Three things close it: a webhook's bucket is empty, Discord limits the whole address, or so many requests were
refused that the next ones might get the address banned. The gate is pure: it is told the time, monotonic
seconds, and never waits; who is turned away comes back later. Used on the I/O thread alone.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

from .http import Http
from .pool import Pool

FIRST_GUESS = 5
"""Requests of a webhook's window before the first answer names the number (birdie0's guide to webhooks)."""

UNTOLD_SECONDS = 1.0
"""Until a window that is full of requests without an answer yet is looked at again (ours)."""

STOP_AT, INVALID_SECONDS = 1_000, 600.0
"""Refused requests within ten minutes that end all sending: at 10,000 Discord bans the address
(discord-api-docs, "Rate limits", "Invalid request limit"), and others may share it with us."""


class Route(NamedTuple):
    """What has a bucket of its own until Discord says otherwise: a method of a webhook."""

    webhook: str
    method: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What an answer says about the requests after it; the defaults say nothing.

    Attributes:
        bucket: Discord's name for what the route shares with others.
        limit: requests of a window; `remaining`: how many of them are left; `reset_after`: its seconds left.
        wait: seconds a 429 asks for.
        everywhere: the 429 is about all webhooks.
        invalid: the request counts towards a ban.
    """

    bucket: str = ""
    limit: int | None = None
    remaining: int | None = None
    reset_after: float | None = None
    wait: float = 0.0
    everywhere: bool = False
    invalid: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing may go for so many seconds; `alarming`: somebody has to look into it."""

    seconds: float
    why: str
    alarming: bool = False


@dataclass(slots=True)
class _Bucket:
    limit: int = FIRST_GUESS
    left: int = FIRST_GUESS
    until: float = -math.inf
    under_way: int = 0

    def wait(self, now: float) -> float:
        over = now >= self.until
        if (self.limit - self.under_way if over else self.left) > 0:
            return 0.0
        return UNTOLD_SECONDS if over else self.until - now

    def begin(self) -> None:
        self.left -= 1
        self.under_way += 1

    def end(self, limits: Limits, now: float) -> None:
        # What is still under way may or may not be counted in the answer: taken for not.
        self.under_way = max(0, self.under_way - 1)
        if limits.limit:
            self.limit = limits.limit
        if limits.remaining is not None and limits.reset_after is not None:
            self.left = limits.remaining - self.under_way
            self.until = now + limits.reset_after
        if limits.wait and not limits.everywhere:
            self.left = 0
            self.until = max(self.until, now + limits.wait)


class Gate:
    """Whether a request may go, from what all answers before it have said."""

    def __init__(self) -> None:
        self._routes: dict[Route, _Bucket] = {}
        self._names: dict[Route, str] = {}
        self._limited_until = -math.inf
        self._invalid: deque[float] = deque()
        self._stopped_until = -math.inf

    def enter(self, route: Route, now: float) -> Closed | None:
        """Let a request go, to be followed by `leave`; or say why not."""
        if self._stopped_until > now:
            why = (
                f"knell stopped by itself: Discord refused {STOP_AT} requests within ten minutes, and bans "
                "an address at 10,000; look for a channel with a wrong webhook_url"
            )
            return Closed(self._stopped_until - now, why, alarming=True)
        if self._limited_until > now:
            return Closed(self._limited_until - now, "Discord limits all webhooks of this address")
        bucket = self._bucket(route)
        if seconds := bucket.wait(now):
            return Closed(seconds, "the webhook's requests are used up for now")
        bucket.begin()
        return None

    def leave(self, route: Route, limits: Limits, now: float) -> None:
        """Note that a request has ended, and what its answer said."""
        if limits.bucket:
            self._learn(route, limits.bucket)
        self._bucket(route).end(limits, now)
        if limits.everywhere:
            self._limited_until = max(self._limited_until, now + limits.wait)
        if limits.invalid:
            self._count_invalid(now)

    def wait(self, route: Route, now: float) -> float:
        """Return the seconds until the route's next request may go; 0 when it may now."""
        return self._bucket(route).wait(now)

    def _bucket(self, route: Route) -> _Bucket:
        return self._routes.setdefault(route, _Bucket())

    def _learn(self, route: Route, name: str) -> None:
        """Let routes that Discord counts together share a bucket; a name holds within one webhook."""
        if self._names.get(route) == name:
            return
        self._names[route] = name
        before = self._bucket(route)
        for other, known in self._names.items():
            bucket = self._bucket(other)
            if (other.webhook, known) == (route.webhook, name) and bucket is not before:
                bucket.under_way += before.under_way
                before.under_way = 0
                self._routes[route] = bucket
                return

    def _count_invalid(self, now: float) -> None:
        self._invalid.append(now)
        while self._invalid[0] <= now - INVALID_SECONDS:
            self._invalid.popleft()
        if len(self._invalid) >= STOP_AT:
            # A whole window long: letting one through for each that is forgiven would stay at the edge.
            self._stopped_until = now + INVALID_SECONDS


_GATES: WeakKeyDictionary[Pool, Gate] = WeakKeyDictionary()


def gate_of(http: Http) -> Gate:
    """Return the gate of all Discord channels that share this client's pool, which is those of one system.

    It lasts as long as the pool: a channel that restarts finds it as it was.
    """
    return _GATES.setdefault(http.pool, Gate())
