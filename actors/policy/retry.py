"""When a failed delivery is tried again: full jitter under an exponential bound."""

from dataclasses import dataclass

from knell.messages import Reason

MAX_EXPONENT = 64
"""Beyond it every bound is the maximum; a float overflows near 1,000."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The schedule of a channel; seconds.

    Attributes:
        max_retries: attempts after the first.
        reasons: transient reasons worth another attempt.
    """

    max_retries: int = 3
    initial: float = 1.0
    maximum: float = 30.0
    multiplier: float = 2.0
    reasons: frozenset[Reason] = frozenset(
        {Reason.TIMEOUT, Reason.CONNECTION_ERROR, Reason.RATE_LIMIT, Reason.SERVER_ERROR}
    )

    def bound(self, attempt: int) -> float:
        """Return the longest wait after attempt number `attempt` (from 1)."""
        return min(self.maximum, self.initial * self.multiplier ** min(attempt - 1, MAX_EXPONENT))

    def delay(self, attempt: int, dice: float) -> float:
        """Return the wait after a failed attempt; `dice` is uniform in [0, 1).

        Full jitter: the whole span is random, so that a thousand deliveries which failed together do not
        come back together.
        """
        return self.bound(attempt) * dice

    def again(self, attempt: int, reason: Reason) -> bool:
        """Say whether an attempt that failed for a transient reason is followed by another."""
        return attempt <= self.max_retries and reason in self.reasons
