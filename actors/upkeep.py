"""The upkeep of the store: what ends, comes back or is forgotten without an attempt.

The outbox calls it within its transactions; it owns nothing but the time of the next pruning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knell.store.contract import Ended, Store

from .mail import Cancel, Replay

LOOK = 1.0
"""Seconds between two looks for deliveries that have expired."""

REST = 5.0
"""Seconds between two looks for something to tidy, when nothing can expire."""

SLICE = 500
"""Deliveries that expire or are forgotten in one transaction: some milliseconds."""

PRUNE_EVERY = 3600.0
"""Seconds between two prunings; each goes on in slices until nothing is left to forget."""

REPLAY_INTERVAL = 0.05
"""Seconds between two replayed deliveries: a provider that has just come back is not run over."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what is kept; seconds.

    Attributes:
        retention: finished deliveries and their events.
        dedup: the ids and keys by which an event is known again.
        expiry: per channel, the age at which a delivery is worth nothing any more.
    """

    retention: float
    dedup: float
    expiry: Mapping[str, float] = field(default_factory=dict[str, float])


class Upkeep:
    """Keeps one store.

    Args:
        store: what is kept.
        keeping: for how long.
        now: the time of the first look.
    """

    def __init__(self, store: Store, keeping: Keeping, now: float) -> None:
        self._store = store
        self._keeping = keeping
        self._prune_at = now + PRUNE_EVERY

    @property
    def interval(self) -> float:
        """Seconds until the next look."""
        return LOOK if self._keeping.expiry else REST

    def expire(self, now: float) -> list[Ended]:
        """End what is too old to be worth anything."""
        ended: list[Ended] = []
        for channel, age in self._keeping.expiry.items():
            ended += self._store.expire(channel, now - age, now, SLICE)
        return ended

    def prune(self, now: float) -> bool:
        """Forget a slice of what is too old, when it is time; say whether anything was forgotten."""
        if now < self._prune_at:
            return False
        before = now - self._keeping.retention
        forgotten = self._store.prune(before, before, now - self._keeping.dedup, SLICE)
        if not forgotten:
            self._prune_at = now + PRUNE_EVERY
        return forgotten > 0

    def replay(self, order: Replay, now: float) -> dict[str, int]:
        """Bring deliveries back; return how many, by channel."""
        return self._store.replay(order.selection, order.by, now, REPLAY_INTERVAL)

    def cancel(self, order: Cancel, now: float) -> list[Ended]:
        """Give deliveries up for good."""
        return self._store.cancel(order.selection, order.by, now)
