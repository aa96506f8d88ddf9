"""Events kept decoded between their acceptance and their deliveries."""

from collections import OrderedDict

import msgspec

from knell.events import NotificationEvent

MOST_EVENTS = 4096
"""As many as the router lets the outbox be behind."""

MOST_BYTES = 32 * 1024 * 1024
"""Of events as JSON: one may have a mebibyte."""


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A stored event. `accepted`: Unix seconds; `size`: bytes as JSON."""

    event: NotificationEvent
    accepted: float
    size: int


class EventCache:
    """The events that came last, bounded by number and by size."""

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_events, self._most_bytes = most_events, most_bytes
        # Not a plain dict: that looks for its first key among all that were ever taken out before it.
        self._events: OrderedDict[int, Kept] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def get(self, seq: int) -> Kept | None:
        """Return an event; None when it is not in here."""
        return self._events.get(seq)

    def put(self, seq: int, kept: Kept) -> None:
        """Take in an event, and forget the oldest ones where there are too many."""
        events = self._events
        events[seq] = kept
        self.bytes += kept.size
        while self.bytes > self._most_bytes or len(events) > self._most_events:
            _, gone = events.popitem(last=False)
            self.bytes -= gone.size

    def clear(self) -> None:
        """Forget all."""
        self._events.clear()
        self.bytes = 0
