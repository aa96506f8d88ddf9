"""Events kept decoded between their acceptance and their deliveries."""

from knell.events import NotificationEvent

MOST_EVENTS = 4096
MOST_BYTES = 32 * 1024 * 1024
"""Of events as JSON: one may have a mebibyte."""


class EventCache:
    """The events that came last, bounded by number and by size."""

    def __init__(self, most_events: int = MOST_EVENTS, most_bytes: int = MOST_BYTES) -> None:
        self._most_events, self._most_bytes = most_events, most_bytes
        self._events: dict[int, tuple[NotificationEvent, int]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def get(self, seq: int) -> NotificationEvent | None:
        """Return an event; None when it is not in here."""
        found = self._events.get(seq)
        return None if found is None else found[0]

    def put(self, seq: int, event: NotificationEvent, size: int) -> None:
        """Take in an event of `size` bytes, and forget the oldest ones where there are too many."""
        self._events[seq] = event, size
        self.bytes += size
        while len(self._events) > self._most_events or self.bytes > self._most_bytes:
            _, gone = self._events.pop(next(iter(self._events)))
            self.bytes -= gone

    def clear(self) -> None:
        """Forget all."""
        self._events.clear()
        self.bytes = 0
