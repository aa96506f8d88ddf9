"""The batcher: several deliveries in one message, without holding back what is urgent."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from knell.deliveries import Delivery
from knell.events import Severity

Batch = tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How deliveries are gathered. `max_wait` in seconds; size 1 = every delivery goes alone."""

    max_size: int = 1
    max_wait: float = 0.0
    by_event_type: bool = True


@dataclass(slots=True)
class _Group:
    since: float
    deliveries: list[Delivery] = field(default_factory=list)


class Batcher:
    """Gathers deliveries into batches. Its content is a cache: the outbox still holds every row."""

    def __init__(self, policy: BatchPolicy) -> None:
        self.policy = policy
        self._groups: dict[str, _Group] = {}

    def add(self, delivery: Delivery, now: float) -> list[Batch]:
        """Take a delivery; return the batches that are ready because of it, in the order to send them."""
        if self.policy.max_size == 1:
            return [(delivery,)]
        if delivery.event.severity is Severity.CRITICAL:
            # What the same job said before goes first, however young: order within a key is a promise.
            return [*self._flush(delivery.order_key), (delivery,)]
        key = delivery.event.event_type if self.policy.by_event_type else ""
        ready = self._flush(delivery.order_key, but=key)
        group = self._groups.setdefault(key, _Group(now))
        group.deliveries.append(delivery)
        if len(group.deliveries) >= self.policy.max_size:
            ready.append(self._pop(key))
        return ready

    def due(self, now: float) -> list[Batch]:
        """Return the batches that have waited long enough."""
        # The same sum as in `next_due`: any other rounds differently, and the moment named is not yet due.
        wait = self.policy.max_wait
        return [self._pop(key) for key, group in list(self._groups.items()) if group.since + wait <= now]

    def next_due(self) -> float | None:
        """Return when the oldest gathering batch is due; groups stand in order of their first delivery."""
        return next((group.since + self.policy.max_wait for group in self._groups.values()), None)

    def drop(self, order_key: str) -> None:
        """Forget the gathered deliveries of one order key: they may not go before the one that failed."""
        for key, group in list(self._groups.items()):
            group.deliveries = [d for d in group.deliveries if d.order_key != order_key]
            if not group.deliveries:
                del self._groups[key]

    def __iter__(self) -> Iterator[Delivery]:
        """Go through everything gathered."""
        return (delivery for group in self._groups.values() for delivery in group.deliveries)

    def _flush(self, order_key: str, but: str | None = None) -> list[Batch]:
        """Close the groups that hold this key, so that nothing of the same key overtakes them."""
        return [
            self._pop(key)
            for key, group in list(self._groups.items())
            if key != but and any(d.order_key == order_key for d in group.deliveries)
        ]

    def _pop(self, key: str) -> Batch:
        return tuple(self._groups.pop(key).deliveries)
