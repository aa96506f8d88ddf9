"""The storage contract in plain Python: a disk in memory, where a crash is a return to the last commit.

Every change notes how to undo it. `commit` forgets those notes; a rollback and a crash carry them out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

import msgspec

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Route, Settlement
from knell.errors import StoreError, StoreLocked
from knell.events import NotificationEvent
from knell.ids import delivery_id
from knell.messages import ChannelStatus, DeliveryResult, DeliveryStatus, Reason
from knell.store.contract import Accepted, Conflict, Settled, State, Submission

CRASH_LIMIT = 3
"""Deaths of the process over one delivery before it is quarantined."""

_MISSING: Any = object()
_NO_TIME = datetime.fromtimestamp(0, UTC)


class Row(msgspec.Struct, frozen=True):
    """A delivery. `order_key`: empty for none."""

    id: int
    seq: int
    channel: str
    order_key: str
    rule: str
    state: State
    due: float = 0.0
    attempts: int = 0
    crashes: int = 0
    reason: str = ""
    error: str = ""
    progress: dict[str, Any] = {}
    receipt: Any = None
    finished: float | None = None


class Entry(msgspec.Struct, frozen=True):
    """An accepted event."""

    event: NotificationEvent
    accepted: float
    suppressed: dict[str, str]


class Key(msgspec.Struct, frozen=True):
    """What an event is known by. `content`: what makes a repetition the same event."""

    seq: int
    content: NotificationEvent


class Faults(Protocol):
    """What can go wrong with a disk; called where it would, and raises."""

    def touch(self, what: str) -> None:
        """Read or write something."""
        ...

    def commit(self, make_durable: Callable[[], None]) -> None:
        """Make a transaction durable, or fail to."""
        ...


class Disk:
    """What outlives a process.

    Attributes:
        owner: the store that has it open.
        live: the rows that have not ended, by channel.
        used: whether a store was ever opened on it.
    """

    kind: "ClassVar[type[MemoryStore]]"

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults
        self.owner: MemoryStore | None = None
        self.events: dict[int, Entry] = {}
        self.keys: dict[str, Key] = {}
        self.rows: dict[int, Row] = {}
        self.live: dict[str, dict[int, Row]] = defaultdict(dict)
        self.undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self.in_transaction = self.used = False

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Write a value; `_MISSING` deletes."""
        self.undo.append((table, key, table.get(key, _MISSING)))
        _set(table, key, value)

    def write(self, row: Row) -> Row:
        """Write a row."""
        self.put(self.rows, row.id, row)
        live = self.live[row.channel]
        if row.state < State.DONE or row.id in live:
            self.put(live, row.id, row if row.state < State.DONE else _MISSING)
        return row

    def unfinished(self, channel: str) -> list[Row]:
        """Return the rows of a channel that have not ended, oldest first."""
        live = self.live[channel]
        return [live[number] for number in sorted(live)]

    def change(self, number: int, **changes: Any) -> Row:
        """Write a row that differs in these fields."""
        return self.write(_changed(self.rows[number], **changes))

    def back(self) -> None:
        """Return to the last commit."""
        while self.undo:
            _set(*self.undo.pop())
        self.in_transaction = False

    def durable(self) -> None:
        """Make what was written since then the last commit."""
        self.undo.clear()
        self.in_transaction = False

    def crash(self) -> None:
        """Lose the process that had it open."""
        self.owner = None
        self.back()

    def committed(self) -> "Disk":
        """Return a copy as of the last commit."""
        copy = Disk()
        pairs = [(self.events, copy.events), (self.keys, copy.keys), (self.rows, copy.rows)]
        pairs += [(live, copy.live[channel]) for channel, live in self.live.items()]
        copies: dict[int, dict[Any, Any]] = {}
        for table, copied in pairs:
            copied.update(table)
            copies[id(table)] = copied
        for table, key, before in reversed(self.undo):
            _set(copies[id(table)], key, before)
        return copy

    def store(self) -> "MemoryStore":
        """Return another store of this disk, not opened yet."""
        return self.kind(self)

    def reader(self) -> "MemoryReader":
        """Return a reader of this disk."""
        return MemoryReader(self)


class MemoryStore:
    """See `knell.store.contract.Store` for what the methods promise."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    # Ownership and transactions

    def open(self) -> None:
        """Take ownership."""
        self._touch("open")
        if self._disk.owner is not None and self._disk.owner is not self:
            raise StoreLocked("store memory: another store is using it")
        self._disk.owner = self
        self._disk.used = True

    def close(self) -> None:
        """Give up ownership."""
        if self._disk.owner is self:
            self._disk.back()
            self._disk.owner = None

    def begin(self) -> None:
        """Begin a transaction."""
        disk = self._open("begin")
        if disk.in_transaction:
            disk.back()
            raise StoreError("store memory: a transaction within a transaction")
        disk.in_transaction = True

    def commit(self) -> None:
        """Make everything since `begin` durable."""
        disk = self._open("commit")
        if disk.faults is None:
            disk.durable()
        else:
            try:
                disk.faults.commit(disk.durable)
            except StoreError:
                disk.back()
                raise

    def rollback(self) -> None:
        """Undo everything since `begin`."""
        if self._disk.owner is self and self._disk.in_transaction:
            self._disk.back()

    def recover(self, now: float, latest: float) -> int:
        """Put back what a dead process was sending."""
        disk = self._open("recover")
        lost = [row for row in disk.rows.values() if row.state is State.SENDING]
        for row in sorted(lost, key=lambda row: row.id):
            crashed = _changed(row, crashes=row.crashes + 1)
            if crashed.crashes >= CRASH_LIMIT:
                self._finish(crashed, State.DEAD, Reason.CRASHED, "the process died over it", now)
            else:
                self._put_back(crashed, 0.0)
        for row in list(disk.rows.values()):
            if row.state is State.DEFERRED and row.due > latest:
                disk.write(_changed(row, due=latest))
        return len(lost)

    # Accepting

    def append(self, submission: Submission, now: float) -> Accepted | Conflict:
        """Take in an event and all its deliveries."""
        disk = self._open("append")
        event = submission.sealed.event
        content = msgspec.structs.replace(event, timestamp=_NO_TIME)
        for key in submission.keys:
            if known := disk.keys.get(key):
                same = known.content == content
                return Accepted(known.seq, duplicate=True) if same else Conflict(key)
        seq = len(disk.events) + 1
        disk.put(disk.events, seq, Entry(event, now, submission.suppressed))
        for key in submission.keys:
            disk.put(disk.keys, key, Key(seq, content))
        self._insert(seq, submission.routes, submission.order_key)
        return Accepted(seq)

    def _insert(self, seq: int, routes: Iterable[Route], order_key: str) -> None:
        for route in routes:
            waits = bool(order_key) and self._first(route.channel, order_key) is not None
            state = State.WAITING if waits else State.READY
            number = len(self._disk.rows) + 1
            self._disk.write(Row(number, seq, route.channel, order_key, route.rule, state))

    def add_routes(self, seq: int, routes: Iterable[Route], order_key: str) -> tuple[Route, ...]:
        """Add deliveries to an event that is stored."""
        have = {row.channel for row in self._open("add_routes").rows.values() if row.seq == seq}
        new = tuple(route for route in routes if route.channel not in have)
        self._insert(seq, new, order_key)
        return new

    # Handing out

    def fetch(
        self, channel: str, limit: int, chain: int, held: frozenset[int], now: float
    ) -> tuple[Delivery, ...]:
        """Return deliveries that may go now, oldest first."""
        disk = self._open("fetch")
        for row in self._unfinished(channel):
            if row.state is State.DEFERRED and row.due <= now:
                disk.write(_changed(row, state=State.READY))
        mine = self._unfinished(channel)
        heads = [row for row in mine if row.state is State.READY and row.id not in held][:limit]
        found: list[Delivery] = []
        for head in heads:
            found.append(self._delivery(head))
            if chain > 1 and head.order_key:
                followers = [
                    row
                    for row in mine
                    if row.order_key == head.order_key and row.state is State.WAITING and row.id > head.id
                ]
                found += [self._delivery(row) for row in followers[: chain - 1] if row.id not in held]
        return tuple(found)

    def _delivery(self, row: Row) -> Delivery:
        entry = self._disk.events[row.seq]
        return Delivery(
            row=row.id,
            event=entry.event,
            channel=row.channel,
            order_key=row.order_key or f"#{row.id}",
            attempts=row.attempts,
            crashes=row.crashes,
            accepted=entry.accepted,
            rule=row.rule,
            progress=row.progress,
        )

    def next_due(self, channel: str) -> float | None:
        """Return when the next deferred delivery may go."""
        self._open("next_due")
        due = (row.due for row in self._unfinished(channel) if row.state is State.DEFERRED)
        return min(due, default=None)

    # Attempts

    def start(self, attempt: Attempt) -> bool:
        """Note that an attempt begins."""
        disk = self._open("start")
        rows = [disk.rows[number] for number in attempt.rows]
        if not all(self._may_go(row, attempt.rows) for row in rows):
            return all(
                row.state is State.SENDING and row.attempts == delivery.attempts + 1
                for row, delivery in zip(rows, attempt.deliveries, strict=True)
            )
        for row in rows:
            disk.write(_changed(row, state=State.SENDING, attempts=row.attempts + 1))
        return True

    def _may_go(self, row: Row, together: tuple[int, ...]) -> bool:
        if row.state is not State.WAITING:
            return row.state is State.READY
        older = (other for other in self._same_key(row) if other.id < row.id)
        return len(together) > 1 and all(other.id in together for other in older)

    def settle(self, settlement: Settlement, now: float) -> Settled | None:
        """Write down how an attempt ended."""
        row = self._open("settle").rows.get(settlement.delivery.row)
        if row is None or row.state is not State.SENDING:
            return None
        attempts = row.attempts
        match settlement.verdict:
            case Done(receipt):
                done = _changed(row, receipt=receipt)
                state = self._finish(done, State.DONE, Reason.DELIVERED, "", now)
            case Dead(reason, detail, progress):
                dead = _changed(row, progress=progress or row.progress)
                state = self._finish(dead, State.DEAD, reason, detail, now)
            case Crashed(limit, detail):
                crashed = _changed(row, crashes=row.crashes + 1, reason=Reason.CRASHED, error=detail)
                if crashed.crashes >= limit:
                    state = self._finish(crashed, State.DEAD, Reason.CRASHED, detail, now)
                else:
                    state = self._put_back(crashed, now)
            case Again(reason, delay, counted, detail, progress):
                attempts -= not counted
                progress = progress or row.progress
                again = _changed(row, attempts=attempts, reason=reason, error=detail, progress=progress)
                state = self._put_back(again, now + delay)
        return Settled(row.seq, state, attempts)

    def _finish(self, row: Row, state: State, reason: Reason, error: str, now: float) -> State:
        ended = self._disk.write(_changed(row, state=state, reason=reason, error=error, finished=now))
        first = self._first(row.channel, row.order_key) if row.order_key else None
        if first is not None and first.state is State.WAITING:
            self._disk.write(_changed(first, state=State.READY))
        return ended.state

    def _put_back(self, row: Row, due: float) -> State:
        """Make a delivery wait again: for its time, or behind an older one of its order key."""
        first = self._first(row.channel, row.order_key) if row.order_key else row
        state = State.DEFERRED if first is None or first.id == row.id else State.WAITING
        return self._disk.write(_changed(row, state=state, due=due)).state

    # Looking

    def pending(self, channel: str, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (row, seq) of unfinished deliveries, oldest first."""
        self._open("pending")
        return [(row.id, row.seq) for row in self._unfinished(channel) if row.id > after][:limit]

    def event(self, seq: int) -> NotificationEvent:
        """Return a stored event."""
        entry = self._open("event").events.get(seq)
        if entry is None:
            raise StoreError(f"store memory: event number {seq} is missing")
        return entry.event

    def results(self, seq: int) -> dict[str, DeliveryResult | None]:
        """Return how an event's deliveries ended, by channel."""
        disk = self._open("results")
        rows = (row for row in disk.rows.values() if row.seq == seq)
        return {row.channel: _result(row, disk.events[seq]) for row in rows}

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many unfinished and how many dead deliveries each channel has."""
        counted: dict[str, tuple[int, int]] = {}
        for row in self._open("counts").rows.values():
            pending, dead = counted.get(row.channel, (0, 0))
            if row.state < State.DONE:
                counted[row.channel] = (pending + 1, dead)
            elif row.state is State.DEAD:
                counted[row.channel] = (pending, dead + 1)
        return counted

    # Small parts

    def _touch(self, what: str) -> None:
        if self._disk.faults is not None:
            self._disk.faults.touch(what)

    def _open(self, what: str) -> Disk:
        if self._disk.owner is not self:
            raise StoreError("store memory: it is not open")
        self._touch(what)
        return self._disk

    def _unfinished(self, channel: str) -> list[Row]:
        return self._disk.unfinished(channel)

    def _same_key(self, row: Row) -> list[Row]:
        return [other for other in self._unfinished(row.channel) if other.order_key == row.order_key]

    def _first(self, channel: str, order_key: str) -> Row | None:
        rows = (row for row in self._unfinished(channel) if row.order_key == order_key)
        return next(rows, None)


Disk.kind = MemoryStore


class MemoryReader:
    """What is committed; see `knell.store.contract.Reader`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def status(self, event_id: str) -> DeliveryStatus | None:
        """Return where an event stands."""
        if not self._disk.used:
            raise StoreError("store memory: there is none")
        disk = self._disk.committed()
        known = disk.keys.get(event_id)
        if known is None:
            return None
        entry = disk.events[known.seq]
        return DeliveryStatus(
            notification_id=event_id,
            event_type=entry.event.event_type,
            accepted=_moment(entry.accepted),
            channels=[_status(event_id, row) for row in disk.rows.values() if row.seq == known.seq],
            suppressed=entry.suppressed,
        )

    def close(self) -> None:
        """Close it."""


def _status(event_id: str, row: Row) -> ChannelStatus:
    return ChannelStatus(
        delivery_id=delivery_id(event_id, row.channel),
        channel=row.channel,
        state=row.state.public,
        attempts=row.attempts,
        rule=row.rule,
        reason=row.reason,
        error=row.error,
        next_attempt=_moment(row.due) if row.state is State.DEFERRED else None,
        finished=None if row.finished is None else _moment(row.finished),
    )


def _result(row: Row, entry: Entry) -> DeliveryResult | None:
    if row.finished is None:
        return None
    done = row.state is State.DONE
    return DeliveryResult(
        notification_id=entry.event.event_id,
        channel=row.channel,
        success=done,
        timestamp=_moment(row.finished),
        error=None if done else f"{row.reason}: {row.error}".removesuffix(": "),
        retry_count=max(0, row.attempts - 1),
        delivery_time_ms=round(max(0.0, row.finished - entry.accepted) * 1000),
        reason=Reason(row.reason),
        receipt=row.receipt,
    )


def _changed(row: Row, **changes: Any) -> Row:
    return msgspec.structs.replace(row, **changes)


def _set(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is _MISSING:
        table.pop(key, None)
    else:
        table[key] = value


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
