"""The token bucket: a rate limit that delays and never drops.

Kept as one number, the time at which the bucket would be full again (the generic cell rate algorithm), so
that it survives an actor's restart as a plain value and needs no timer to refill.
"""

import math
from dataclasses import dataclass

ROUNDING = 1e-9
"""A take this many seconds early is rounding of floats, not haste."""


@dataclass(slots=True)
class TokenBucket:
    """At most `burst` takes at once and one more per `interval` seconds afterwards.

    Attributes:
        interval: seconds in which one token comes back; 0 = no limit.
        burst: tokens of a full bucket, at least 1.
        full_at: when all taken tokens are back; in the past for a full bucket.
    """

    interval: float
    burst: int
    full_at: float = -math.inf

    def wait(self, now: float, tokens: int = 1) -> float:
        """Return the seconds until `tokens` can be taken; 0 when they can be taken now.

        More tokens than the bucket holds can be taken once it is full: the bucket then runs into debt, so a
        message that costs more than a burst is delayed and never stuck.
        """
        reserve = (self.burst - min(tokens, self.burst)) * self.interval
        wait = self.full_at - reserve - now
        return wait if wait > ROUNDING else 0.0

    def take(self, now: float, tokens: int = 1) -> None:
        """Take tokens that `wait` said are there.

        Raises:
            ValueError: they are not there yet; nothing changes.
        """
        if self.wait(now, tokens):
            raise ValueError(f"{tokens} tokens are there in {self.wait(now, tokens):.3f} s, not now")
        self.full_at = max(self.full_at, now) + tokens * self.interval

    def configured(self, interval: float, burst: int) -> "TokenBucket":
        """Return a bucket with another limit and the same debt, so that a reload is no way around a limit."""
        return TokenBucket(interval, burst, self.full_at)
