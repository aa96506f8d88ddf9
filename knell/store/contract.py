"""The storage contract: what the outbox relies on, whatever keeps the rows.

One process owns a store and one thread writes it. All writing calls stand between `begin` and `commit`; a
caller gathers as many as are waiting, and nothing counts before `commit` has returned: then it is durable.

A delivery's states, as stored:

    waiting ──► ready ──► sending ──► done
       ▲          ▲          ├──► dead ──► (replay) ready
       │          └─ due ─ deferred ◄┘
       └─ an older delivery of the same channel and order key is not finished

Only the oldest unfinished delivery of an order key can be anything but waiting, except that a batch takes its
followers with it. All of waiting, ready and deferred are "pending" to the outside.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum
from typing import Protocol

import msgspec

from knell.deliveries import Attempt, Delivery, Route, Settlement
from knell.events import NotificationEvent, Sealed
from knell.messages import DeliveryResult, DeliveryState, DeliveryStatus, Reason


class State(IntEnum):
    """A delivery's state as stored; everything below `DONE` is unfinished."""

    WAITING = 0
    DEFERRED = 1
    READY = 2
    SENDING = 3
    DONE = 4
    DEAD = 5
    CANCELLED = 6
    EXPIRED = 7

    @property
    def public(self) -> DeliveryState:
        """The state as the outside sees it."""
        return DeliveryState.PENDING if self < State.SENDING else DeliveryState[self.name]


class Submission(msgspec.Struct, frozen=True):
    """An event with its routing decision, to be accepted.

    Attributes:
        keys: what makes it the same event again: its id, and the sender's idempotency key if there is one.
        order_key: deliveries with the same key start in order; empty for none.
        suppressed: why other channels do not get it.
    """

    sealed: Sealed
    routes: tuple[Route, ...]
    keys: tuple[str, ...]
    order_key: str = ""
    suppressed: dict[str, str] = {}


class Accepted(msgspec.Struct, frozen=True):
    """The store has it. `duplicate`: it had it before, and nothing was added."""

    seq: int
    duplicate: bool = False


class Conflict(msgspec.Struct, frozen=True):
    """Another event has the same key: this one is refused."""

    key: str


class Settled(msgspec.Struct, frozen=True):
    """Where a delivery stands after its attempt was settled. `attempts` used so far."""

    seq: int
    state: State
    attempts: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that was given up, as an operator sees it."""

    delivery_id: str
    event: NotificationEvent
    channel: str
    reason: Reason
    error: str
    attempts: int
    finished: datetime


class Store(Protocol):
    """The writing side; every method but `open` and `close` on one thread.

    Times are Unix seconds of a clock that never goes back while the process lives.

    Raises:
        StoreError: from every method: the store cannot be read or written; the transaction is rolled back.
    """

    def open(self) -> None:
        """Take ownership.

        Raises:
            StoreLocked: another process owns it.
        """
        ...

    def recover(self, now: float, latest: float) -> int:
        """Put back what a dead process was sending, with a crash counted; return how many that were.

        No delivery stays deferred beyond `latest`. For a new process only.
        """
        ...

    def close(self) -> None:
        """Give up ownership; a second call does nothing."""
        ...

    def begin(self) -> None:
        """Begin a transaction."""
        ...

    def commit(self) -> None:
        """Make everything since `begin` durable."""
        ...

    def rollback(self) -> None:
        """Undo everything since `begin`; without a transaction it does nothing."""
        ...

    def append(self, submission: Submission, now: float) -> Accepted | Conflict:
        """Take in an event and all its deliveries."""
        ...

    def add_routes(self, seq: int, routes: Iterable[Route], order_key: str) -> tuple[Route, ...]:
        """Add deliveries to an event that is stored; return those that it did not have."""
        ...

    def fetch(
        self, channel: str, limit: int, chain: int, held: frozenset[int], now: float
    ) -> tuple[Delivery, ...]:
        """Return deliveries that may go now, oldest first, besides the rows in `held`.

        With each come up to `chain - 1` of its followers of the same order key, for a batch.
        """
        ...

    def next_due(self, channel: str) -> float | None:
        """Return when the next deferred delivery of a channel may go."""
        ...

    def start(self, attempt: Attempt) -> bool:
        """Note that an attempt begins, before its first byte leaves; False: a row may not go any more."""
        ...

    def settle(self, settlement: Settlement, now: float) -> Settled | None:
        """Write down how an attempt ended; None: it was settled before."""
        ...

    def pending(self, channel: str, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (row, seq) of unfinished deliveries with a row above `after`, oldest first."""
        ...

    def event(self, seq: int) -> NotificationEvent:
        """Return a stored event."""
        ...

    def results(self, seq: int) -> dict[str, DeliveryResult | None]:
        """Return how an event's deliveries ended, by channel; None for one that has not."""
        ...

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many unfinished and how many dead deliveries each channel has."""
        ...


class Reader(Protocol):
    """The reading side, for any thread; it sees what is committed."""

    def status(self, event_id: str) -> DeliveryStatus | None:
        """Return where an event stands; None when it is not known."""
        ...

    def close(self) -> None:
        """Close it; a second call does nothing."""
        ...
