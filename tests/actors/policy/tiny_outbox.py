"""An outbox in a page of plain Python, which keeps the promises of the real one (`knell.store.contract`).

Only the oldest unfinished delivery of an order key may go, and a batch takes its followers with it.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from knell.actors.policy.channel import Fetch
from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Settlement
from knell.events import NotificationEvent


@dataclass(slots=True)
class Row:
    """A delivery in the outbox of this test."""

    delivery: Delivery
    state: str = "ready"
    due: float = 0.0


@dataclass
class TinyOutbox:
    """Waiting, ready, deferred, sending, done, dead: as the store has them."""

    rows: dict[int, Row] = field(default_factory=dict)
    want: Fetch | None = None

    def add(self, key: str, event: NotificationEvent) -> None:
        """Accept a delivery."""
        number = len(self.rows) + 1
        delivery = Delivery(row=number, event=event, channel="c", order_key=key or f"#{number}")
        blocked = any(self._unfinished(row) for row in self._same_key(delivery))
        self.rows[number] = Row(delivery, "waiting" if blocked else "ready")

    def _same_key(self, delivery: Delivery) -> list[Row]:
        return [row for row in self.rows.values() if row.delivery.order_key == delivery.order_key]

    @staticmethod
    def _unfinished(row: Row) -> bool:
        return row.state not in {"done", "dead"}

    @property
    def unfinished(self) -> list[Row]:
        """The rows that have not ended."""
        return [row for row in self.rows.values() if self._unfinished(row)]

    def serve(self, now: float) -> tuple[Delivery, ...]:
        """Answer the request that waits, if there is anything to give."""
        if self.want is None:
            return ()
        for row in self.rows.values():
            if row.state == "deferred" and row.due <= now:
                row.state = "ready"
        want = self.want
        heads = [n for n, row in self.rows.items() if row.state == "ready" and n not in want.held]
        found: list[Delivery] = []
        for head in heads[: want.limit]:
            found.append(self.rows[head].delivery)
            waiting = [
                row.delivery
                for row in self._same_key(self.rows[head].delivery)
                if row.state == "waiting" and row.delivery.row > head
            ]
            found += [d for d in waiting[: want.chain - 1] if d.row not in want.held]
        if found:
            self.want = None
        return tuple(found)

    def next_due(self, now: float) -> float:
        """Return when the next deferred row may go."""
        due = [row.due for row in self.rows.values() if row.state == "deferred" and row.due > now]
        return min(due, default=math.inf)

    def start(self, attempt: Attempt) -> bool:
        """Begin an attempt, if its rows may go, or if this very attempt was begun before."""
        rows = [self.rows[number] for number in attempt.rows]
        if all(
            row.state == "sending" and row.delivery.attempts == d.attempts
            for row, d in zip(rows, attempt.deliveries, strict=True)
        ):
            return True
        for row in rows:
            older = [
                o
                for o in self._same_key(row.delivery)
                if self._unfinished(o) and o.delivery.row < row.delivery.row
            ]
            follows = row.state == "waiting" and all(o.delivery.row in attempt.rows for o in older)
            if row.state != "ready" and not (follows and len(rows) > 1):
                return False
        for row in rows:
            row.state = "sending"
        return True

    def settle(self, settlement: Settlement, now: float) -> None:
        """Write down an end."""
        row = self.rows[settlement.delivery.row]
        if row.state != "sending":
            return
        match settlement.verdict:
            case Done():
                row.state = "done"
            case Dead():
                row.state = "dead"
            case Crashed(limit) if row.delivery.crashes + 1 >= limit:
                row.state = "dead"
            case Crashed():
                crashed = replace_delivery(row.delivery, attempts=1, crashes=1)
                row.delivery, row.state, row.due = crashed, "deferred", now
            case Again(_, delay, counted, _, progress):
                again = replace_delivery(row.delivery, attempts=int(counted), progress=progress)
                row.delivery, row.state, row.due = again, "deferred", now + delay
        waiting = [o for o in self._same_key(row.delivery) if self._unfinished(o)]
        for other in waiting[1:]:
            if other.state == "deferred":
                other.state = "waiting"
        if waiting and waiting[0].state == "waiting":
            waiting[0].state = "ready" if waiting[0] is not row else "deferred"


def replace_delivery(
    delivery: Delivery, attempts: int = 0, crashes: int = 0, progress: dict[str, Any] | None = None
) -> Delivery:
    """Return a delivery after another attempt."""
    return Delivery(
        row=delivery.row,
        event=delivery.event,
        channel=delivery.channel,
        order_key=delivery.order_key,
        attempts=delivery.attempts + attempts,
        crashes=delivery.crashes + crashes,
        progress=progress or delivery.progress,
    )
