"""The upkeep of the store: what ends because it is too old, and what is forgotten.

The outbox calls it within its transactions; it owns nothing but the time of the next pruning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from knell.store.contract import Ended, Store

LOOK = 1.0
"""Seconds between two looks for deliveries that have expired."""

REST = 5.0
"""Seconds between two looks for something to tidy, when nothing can expire."""

SLICE = 500
"""Deliveries that expire or are forgotten in one transaction: some milliseconds."""

PAUSE = 0.02
"""Seconds between two slices, for the messages that wait: a timer that is due comes before them."""

FIRST_PRUNE = 60.0
"""Seconds from the start to the first pruning: a start has better things to do."""

PRUNE_EVERY = 3600.0
"""Seconds between two prunings; each goes on in slices until nothing is left to forget."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what is kept; seconds.

    Attributes:
        retention: finished deliveries and their events.
        dead_retention: dead letters and their events.
        dedup: the ids and keys by which an event is known again.
        expiry: per channel, the age at which a delivery is worth nothing any more.
    """

    retention: float
    dead_retention: float
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
        self._prune_at = now + FIRST_PRUNE
        self._forgot = False

    @property
    def interval(self) -> float:
        """Seconds until the next look."""
        return LOOK if self.expires else REST

    def expire(self, now: float) -> list[Ended]:
        """End what is too old to be worth anything."""
        ended: list[Ended] = []
        for channel, age in self._keeping.expiry.items():
            ended += self._store.expire(channel, now - age, now, SLICE)
        return ended

    @property
    def expires(self) -> bool:
        """Whether anything can expire."""
        return bool(self._keeping.expiry)

    def until_prune(self, now: float) -> float:
        """Return the seconds until it is time to forget something."""
        return max(0.0, self._prune_at - now)

    def due(self, now: float) -> bool:
        """Say whether it is time to forget something."""
        return now >= self._prune_at

    def prune(self, now: float) -> bool:
        """Forget a slice of what is too old; when nothing is left to forget, it is not due for a while.

        Returns:
            whether this was the end of forgetting something.
        """
        keeping = self._keeping
        forgotten = self._store.prune(
            now - keeping.retention, now - keeping.dead_retention, now - keeping.dedup, SLICE
        ) + self._store.forget(now, SLICE)
        if forgotten:
            self._forgot = True
            return False
        ended, self._forgot = self._forgot, False
        self._prune_at = now + PRUNE_EVERY
        return ended
