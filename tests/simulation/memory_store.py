"""The storage contract in plain Python, on a disk in memory. See `knell.store.contract` for the promises."""

from collections.abc import Iterable, Sequence

import msgspec

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Route, Settlement
from knell.errors import StoreError, StoreLocked
from knell.events import NotificationEvent
from knell.messages import DeliveryResult, Reason, Rejected, Retry, Unknown
from knell.store.contract import REMEMBERED, Accepted, Conflict, Settled, State, Submission
from knell.store.records import AttemptRecord

from .memory_disk import Disk, Entry, Key, Row
from .memory_operations import Operations
from .memory_reader import moment, result

CRASH_LIMIT = 3
"""Deaths of the process over one delivery before it is quarantined."""

_NO_TIME = moment(0.0)


class MemoryStore(Operations):
    """The writing side."""

    def __init__(self, disk: Disk, remember: float = REMEMBERED) -> None:
        super().__init__(disk)
        self._remember = remember

    # Ownership and transactions

    def open(self) -> None:
        """Take ownership."""
        self.touch("open")
        if self.disk.owner is not None and self.disk.owner is not self:
            raise StoreLocked("store memory: another store is using it")
        self.disk.owner = self
        self.disk.used = True

    def close(self) -> None:
        """Give up ownership."""
        if self.disk.owner is self:
            self.disk.crash()

    def begin(self) -> None:
        """Begin a transaction."""
        disk = self.opened("begin")
        if disk.in_transaction:
            disk.back()
            raise StoreError("store memory: a transaction within a transaction")
        disk.in_transaction = True

    def commit(self) -> None:
        """Make everything since `begin` durable."""
        disk = self.opened("commit")
        if disk.faults is None:
            disk.durable()
            return
        try:
            disk.faults.commit(disk.durable)
        except StoreError:
            disk.back()
            raise

    def rollback(self) -> None:
        """Undo everything since `begin`."""
        if self.disk.owner is self:
            self.disk.back()

    def checkpoint(self) -> None:
        """Move what is committed to its final place: it is there."""
        self.opened("checkpoint")

    def recover(self, now: float, latest: float) -> int:
        """Put back what a dead process was sending."""
        rows = self.opened("recover").tables.rows
        lost = [row for row in rows.values() if row.state is State.SENDING]
        for row in lost:
            error = "the process died over it"
            self._note(row, now, 0.0, "unknown", Reason.CRASHED, error)
            crashed = self.disk.change(row, crashes=row.crashes + 1)
            if crashed.crashes >= CRASH_LIMIT:
                self.finish(crashed, State.DEAD, Reason.CRASHED, error, now)
            else:
                self.put_back(crashed, 0.0, now)
        for row in list(rows.values()):
            if row.state in {State.DEFERRED, State.WAITING} and row.due > latest:
                self.disk.change(row, due=latest)
        return len(lost)

    # Accepting

    def append(self, submissions: Sequence[Submission], now: float) -> list[Accepted | Conflict]:
        """Take in events and all their deliveries."""
        return [self._append(submission, now) for submission in submissions]

    def _append(self, submission: Submission, now: float) -> Accepted | Conflict:
        disk = self.opened("append")
        content = msgspec.structs.replace(submission.sealed.event, timestamp=_NO_TIME)
        for key in submission.keys:
            known = disk.tables.keys.get(key)
            if known is not None and known.at > now - self._remember:
                return Accepted(known.seq, duplicate=True) if known.content == content else Conflict(key)
        stands = self._stands_for(submission, now)
        seq = stands or self._next("event")
        for key in submission.keys:
            disk.put(disk.tables.keys, key, Key(seq, content, now))
        if stands:
            return Accepted(stands, duplicate=True)
        entry = Entry(submission.sealed.event, now, submission.suppressed, submission.similar)
        disk.put(disk.tables.events, seq, entry)
        self.insert(seq, submission.routes, submission.order_key)
        return Accepted(seq)

    def _stands_for(self, submission: Submission, now: float) -> int | None:
        if not submission.similar:
            return None
        return max(
            (
                seq
                for seq, entry in self.disk.tables.events.items()
                if entry.similar == submission.similar and entry.accepted > now - submission.window
            ),
            default=None,
        )

    def _next(self, what: str) -> int:
        numbers = self.disk.tables.next
        number = numbers[what]
        self.disk.put(numbers, what, number + 1)
        return number

    def insert(self, seq: int, routes: Iterable[Route], order_key: str) -> None:
        """Add deliveries of an event: ready, or waiting behind an older one of the order key."""
        for route in routes:
            waits = order_key and self.disk.same_key(route.channel, order_key)
            state = State.WAITING if waits else State.READY
            number = self._next("delivery")
            self.disk.write(Row(number, seq, route.channel, order_key, route.rule, state))

    def add_routes(self, seq: int, routes: Iterable[Route], order_key: str) -> tuple[Route, ...]:
        """Add deliveries to an event that is stored."""
        tables = self.opened("add_routes").tables
        if seq not in tables.events:
            return ()
        have = {row.channel for row in tables.rows.values() if row.seq == seq}
        new = tuple(route for route in routes if route.channel not in have)
        self.insert(seq, new, order_key)
        return new

    # Handing out

    def fetch(
        self, channel: str, limit: int, chain: int, held: frozenset[int], now: float
    ) -> tuple[Delivery, ...]:
        """Return deliveries that may go now, oldest first."""
        disk = self.opened("fetch")
        for row in disk.unfinished(channel):
            if row.state is State.DEFERRED and row.due <= now:
                disk.change(row, state=State.READY)
        mine = disk.unfinished(channel)
        heads = [row for row in mine if row.state is State.READY and row.id not in held][:limit]
        found: list[Delivery] = []
        for head in heads:
            found.append(disk.delivery(head))
            if chain > 1 and head.order_key:
                followers = [
                    row
                    for row in mine
                    if row.order_key == head.order_key and row.state is State.WAITING and row.id > head.id
                ]
                found += [disk.delivery(row) for row in followers[: chain - 1] if row.id not in held]
        return tuple(found)

    def next_due(self, channel: str) -> float | None:
        """Return when the next deferred delivery may go."""
        rows = self.opened("next_due").unfinished(channel)
        return min((row.due for row in rows if row.state is State.DEFERRED), default=None)

    # Attempts

    def start(self, attempts: Sequence[Attempt]) -> list[bool]:
        """Note that attempts begin."""
        return [self._start(attempt) for attempt in attempts]

    def _start(self, attempt: Attempt) -> bool:
        disk = self.opened("start")
        rows = [disk.tables.rows.get(number) for number in attempt.rows]
        if not all(row is not None and self._may_go(row, attempt.rows) for row in rows):
            return all(
                row is not None and row.state is State.SENDING and row.attempts == delivery.attempts + 1
                for row, delivery in zip(rows, attempt.deliveries, strict=True)
            )
        for row in rows:
            if row is not None:
                disk.change(row, state=State.SENDING, attempts=row.attempts + 1)
        return True

    def _may_go(self, row: Row, together: tuple[int, ...]) -> bool:
        if row.state is not State.WAITING or len(together) == 1:
            return row.state is State.READY
        others = self.disk.same_key(row.channel, row.order_key)
        return not any(
            other.state is State.SENDING or (other.id < row.id and other.id not in together)
            for other in others
        )

    def settle(self, settlements: Sequence[Settlement], now: float) -> list[Settled | None]:
        """Write down how attempts ended."""
        return [self.settle_one(settlement, now) for settlement in settlements]

    def settle_one(self, settlement: Settlement, now: float) -> Settled | None:
        """Write down how an attempt ended."""
        disk, verdict = self.opened("settle"), settlement.verdict
        row = disk.tables.rows.get(settlement.delivery.row)
        if row is None or row.state is not State.SENDING:
            return None
        attempts = row.attempts
        reason = Reason.DELIVERED if isinstance(verdict, Done) else verdict.reason
        detail = "" if isinstance(verdict, Done) else verdict.detail
        self._note(row, now, settlement.elapsed, _word(settlement), reason, detail)
        match verdict:
            case Done(receipt):
                state = self.finish(disk.change(row, receipt=receipt), State.DONE, reason, "", now)
            case Dead(_, _, progress):
                dead = disk.change(row, progress=progress or row.progress)
                state = self.finish(dead, State.DEAD, reason, detail, now)
            case Crashed(limit):
                crashed = disk.change(row, crashes=row.crashes + 1, reason=reason, error=detail)
                if crashed.crashes >= limit:
                    state = self.finish(crashed, State.DEAD, reason, detail, now)
                else:
                    state = self.put_back(crashed, now, now)
            case Again(_, delay, counted, _, progress):
                attempts -= not counted
                progress = progress or row.progress
                again = disk.change(row, attempts=attempts, reason=reason, error=detail, progress=progress)
                state = self.put_back(again, now + delay, now)
        return Settled(row.seq, state, attempts)

    def _note(self, row: Row, at: float, elapsed: float, outcome: str, reason: Reason, error: str) -> None:
        before = self.disk.tables.attempts.get(row.id, ())
        number, spent = len(before) + 1, round(elapsed * 1000)
        attempt = AttemptRecord(
            number=number, at=moment(at), outcome=outcome, reason=reason, error=error, milliseconds=spent
        )
        self.disk.put(self.disk.tables.attempts, row.id, (*before, attempt))

    # Looking

    def pending(self, channel: str, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (row, seq) of unfinished deliveries, oldest event first."""
        rows = self.opened("pending").unfinished(channel)
        return sorted(((row.id, row.seq) for row in rows if row.seq > after), key=_by_event)[:limit]

    def event(self, seq: int) -> NotificationEvent:
        """Return a stored event."""
        entry = self.opened("event").tables.events.get(seq)
        if entry is None:
            raise StoreError(f"store memory: event number {seq} is missing")
        return entry.event

    def results(self, seq: int) -> dict[str, DeliveryResult | None]:
        """Return how an event's deliveries ended, by channel."""
        tables = self.opened("results").tables
        rows = (row for row in tables.rows.values() if row.seq == seq)
        return {row.channel: result(row, tables.events[seq]) for row in rows}

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many unfinished and how many dead deliveries each channel has."""
        counted: dict[str, tuple[int, int]] = {}
        for row in self.opened("counts").tables.rows.values():
            pending, dead = counted.get(row.channel, (0, 0))
            if row.state < State.DONE:
                counted[row.channel] = (pending + 1, dead)
            elif row.state is State.DEAD:
                counted[row.channel] = (pending, dead + 1)
        return counted


def _by_event(pair: tuple[int, int]) -> int:
    return pair[1]


def _word(settlement: Settlement) -> str:
    """Return the outcome of an attempt in a word."""
    match settlement.verdict, settlement.outcome:
        case Crashed(), _:
            return "crashed"
        case Done(), _:
            return "delivered"
        case _, Retry():
            return "retry"
        case _, Rejected():
            return "rejected"
        case _, Unknown():
            return "unknown"
        case verdict, _:
            return "rejected" if isinstance(verdict, Dead) else "retry"
