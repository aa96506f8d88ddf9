"""The storage contract: what the outbox relies on, whatever keeps the rows.

One process owns a store and one thread writes it. All writing calls stand between `begin` and `commit`; a
caller gathers as many as are waiting, and nothing counts before `commit` has returned: then it is durable.

A delivery's states, as stored:

    waiting ──► ready ──► sending ──► done
       ▲          ▲          ├──► dead ──► (replay) deferred, or (drop) cancelled
       │          └─ due ─ deferred ◄┘
       └─ an older delivery of the same channel and order key is not finished

Only the oldest unfinished delivery of an order key can be anything but waiting, except that a batch takes its
followers with it, and that a replayed delivery waits for a younger one that is under way. All of waiting,
ready and deferred are "pending" to the outside; any of them can end as cancelled or expired.
"""

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Protocol

import msgspec

from knell.deliveries import Attempt, Delivery, Route, Settlement
from knell.events import NotificationEvent, Sealed
from knell.messages import DeliveryResult, DeliveryState, DeliveryStatus
from knell.store.records import AuditRecord, DeliveryDetail, DeliveryRecord, Selection, StoreStats

REMEMBERED = 7 * 86400.0
"""Seconds for which the keys of an event count as seen, unless somebody says otherwise."""

REPLAY_INTERVAL = 0.05
"""Seconds between two replayed deliveries of a channel: 20 a second. Replayed ones are older than whatever
happens meanwhile and would go before it: between them there has to be room for what is new, and a provider
that has just come back is not asked for everything at once. The channel's own rate limit holds besides."""


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
        similar: what makes it mean the same as another event, whatever their ids; empty for nothing.
        window: seconds for which an event stands for those that are similar to it.
    """

    sealed: Sealed
    routes: tuple[Route, ...]
    keys: tuple[str, ...]
    order_key: str = ""
    suppressed: dict[str, str] = {}
    similar: str = ""
    window: float = 0.0


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


class Ended(msgspec.Struct, frozen=True):
    """A delivery that ended without an attempt. `was`: its state before."""

    seq: int
    event_id: str
    channel: str
    was: State


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
        """Take in an event and all its deliveries.

        A repetition by one of its keys, or one that is similar to an event accepted less than `window`
        seconds ago, adds nothing; the id of a similar event then names the event that stands for it.
        """
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

    def expire(self, channel: str, accepted_before: float, now: float, limit: int) -> list[Ended]:
        """End deliveries that are too old to be worth anything, unless they are under way."""
        ...

    def replay(self, selection: Selection, by: str, now: float, interval: float) -> dict[str, int]:
        """Try dead and done deliveries again, under their old ids and with all their attempts.

        Each is due `interval` seconds after the one before it of its channel. What a channel reported as
        settled already (`Delivery.progress`) stays settled. Leaves an audit record.

        Returns:
            how many, by channel; deliveries in any other state are left alone.
        """
        ...

    def cancel(self, selection: Selection, by: str, now: float) -> list[Ended]:
        """Give up pending and dead deliveries for good; those under way are left alone.

        Leaves an audit record.
        """
        ...

    def prune(self, done_before: float, dead_before: float, keys_before: float, limit: int) -> int:
        """Delete up to `limit` deliveries that ended before a time, then events and keys nobody needs.

        Unfinished deliveries and their events stay, however old. Call again until it returns 0.
        """
        ...

    def remember(self, channel: str, key: str, value: bytes | None, until: float) -> None:
        """Note something for a channel, in place of what was noted under the key; None forgets it."""
        ...

    def recall(self, channel: str, key: str, now: float) -> bytes | None:
        """Return what a channel noted last; None when nothing was, or its time is over."""
        ...

    def forget(self, now: float, limit: int) -> int:
        """Delete up to `limit` notes whose time is over; return how many those were."""
        ...

    def checkpoint(self) -> None:
        """Move what is committed to its final place, outside of a transaction; for idle moments."""
        ...

    def pending(self, channel: str, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (row, seq) of unfinished deliveries whose seq is above `after`, oldest event first."""
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

    def deliveries(self, selection: Selection, cursor: str = "", limit: int = 100) -> list[DeliveryRecord]:
        """Return deliveries, youngest first, after the one whose `cursor` is given.

        Raises:
            ValueError: there is no such cursor.
        """
        ...

    def count(self, selection: Selection) -> int:
        """Return how many deliveries are selected; it looks at each of them."""
        ...

    def delivery(self, id_: str) -> DeliveryDetail | None:
        """Return one delivery with its history; None when it is not known."""
        ...

    def audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return what operators did, latest first."""
        ...

    def stats(self) -> StoreStats:
        """Return how full the store is."""
        ...

    def check(self) -> list[str]:
        """Return everything that is wrong with it, in plain words: damage, and broken promises of order."""
        ...

    def backup(self, target: Path) -> None:
        """Copy it to a new file, consistently, while its owner goes on.

        Raises:
            StoreError: the file exists, or cannot be written, or what would be copied is damaged.
        """
        ...

    def close(self) -> None:
        """Close it; a second call does nothing."""
        ...
