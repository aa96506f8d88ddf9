"""How deliveries of the store in memory end without an attempt, come back, and are forgotten."""

from collections import Counter
from itertools import islice
from typing import Any

from knell.errors import StoreError
from knell.messages import Reason
from knell.store.contract import Ended, State
from knell.store.records import AuditRecord, Selection
from knell.store.selecting import written

from .memory_disk import MISSING, Disk, Row
from .memory_reader import moment, selected


class Operations:
    """The part for operators and the clock, and the order in which deliveries of one order key may go."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    # Order

    def finish(self, row: Row, state: State, reason: Reason, error: str, now: float) -> State:
        """End a delivery; what waited behind it may go."""
        self.disk.change(row, state=state, reason=reason, error=error, finished=now)
        self.release(row.channel, row.order_key, now)
        return state

    def put_back(self, row: Row, due: float, now: float) -> State:
        """Let a delivery that was under way wait: for its time, or behind others of its order key."""
        free = State.DEFERRED if due >= now else State.READY
        self.disk.change(row, due=due, state=State.WAITING if row.order_key else free)
        self.release(row.channel, row.order_key, now)
        return self.disk.tables.rows[row.id].state

    def release(self, channel: str, order_key: str, now: float) -> None:
        """Let the oldest unfinished delivery of an order key go when it is due, unless one is under way."""
        rows = self.disk.same_key(channel, order_key) if order_key else []
        if rows and rows[0].state is State.WAITING and not any(row.state is State.SENDING for row in rows):
            self.disk.change(rows[0], state=State.DEFERRED if rows[0].due >= now else State.READY)

    # Operators

    def expire(self, channel: str, accepted_before: float, now: float, limit: int) -> list[Ended]:
        """End deliveries that are too old to be worth anything."""
        disk = self.opened("expire")
        waiting = [row for row in disk.unfinished(channel) if row.state is not State.SENDING]
        oldest = sorted(waiting, key=_seq)[:limit]
        late = [row for row in oldest if disk.tables.events[row.seq].accepted < accepted_before]
        return self._end(sorted(late, key=_id), State.EXPIRED, Reason.EXPIRED, now)

    def cancel(self, selection: Selection, by: str, now: float) -> list[Ended]:
        """Give up pending and dead deliveries for good."""
        found = selected(self.opened("cancel"), selection)
        rows = [row for row in found if row.state < State.SENDING or row.state is State.DEAD]
        self._audit(now, by, "cancel", selection, len(rows))
        return self._end(rows, State.CANCELLED, Reason.CANCELLED, now)

    def _end(self, rows: list[Row], state: State, reason: Reason, now: float) -> list[Ended]:
        for row in rows:
            self.disk.change(row, state=state, reason=reason, error="", finished=now)
        for row in rows:
            self.release(row.channel, row.order_key, now)
        events = self.disk.tables.events
        return [Ended(row.seq, events[row.seq].event.event_id, row.channel, row.state) for row in rows]

    def replay(self, selection: Selection, by: str, now: float, interval: float) -> dict[str, int]:
        """Try dead and done deliveries again."""
        found = selected(self.opened("replay"), selection)
        rows = [row for row in found if row.state in {State.DONE, State.DEAD}]
        fresh: dict[str, Any] = {"attempts": 0, "crashes": 0, "reason": "", "error": ""}
        places: Counter[str] = Counter()
        for row in rows:
            state = State.WAITING if row.order_key else State.DEFERRED
            due = now + interval * places[row.channel]
            places[row.channel] += 1
            self.disk.change(row, state=state, due=due, receipt=None, finished=None, **fresh)
        for row in rows:
            self._make_way(row, now)
        self._audit(now, by, "replay", selection, len(rows))
        return dict(places)

    def _make_way(self, row: Row, now: float) -> None:
        """Let a younger delivery that may go wait again, once an older one has come back."""
        if not row.order_key:
            return
        for other in self.disk.same_key(row.channel, row.order_key):
            if other.state in {State.DEFERRED, State.READY}:
                self.disk.change(other, state=State.WAITING)
        self.release(row.channel, row.order_key, now)

    def prune(self, done_before: float, dead_before: float, keys_before: float, limit: int) -> int:
        """Delete what ended before a time, and events that have no delivery left."""
        rows = self.opened("prune").tables.rows
        ended = [row for row in rows.values() if row.finished is not None]
        dead = [row for row in ended if row.state is State.DEAD and (row.finished or 0.0) < dead_before]
        done = [row for row in ended if row.state is not State.DEAD and (row.finished or 0.0) < done_before]
        gone = [*done, *dead][:limit]
        for row in gone:
            self.disk.put(rows, row.id, MISSING)
            self.disk.put(self.disk.tables.attempts, row.id, MISSING)
        return len(gone) + self._forget_events(min(done_before, keys_before), keys_before, limit)

    def _forget_events(self, accepted_before: float, keys_before: float, limit: int) -> int:
        """Delete events without deliveries, with their keys, once none of these counts any more."""
        tables = self.disk.tables
        needed = {row.seq for row in tables.rows.values()}
        needed |= {key.seq for key in tables.keys.values() if key.at >= keys_before}
        old = (
            seq
            for seq, entry in tables.events.items()
            if seq not in needed and entry.accepted < accepted_before
        )
        gone = list(islice(old, limit))
        for seq in gone:
            self.disk.put(tables.events, seq, MISSING)
        for name in [name for name, key in tables.keys.items() if key.seq in gone]:
            self.disk.put(tables.keys, name, MISSING)
        return len(gone)

    # What channels remember

    def remember(self, channel: str, key: str, value: bytes | None, until: float) -> None:
        """Note something, or forget it."""
        notes = self.opened("remember").tables.notes
        self.disk.put(notes, (channel, key), MISSING if value is None else (value, until))

    def recall(self, channel: str, key: str, now: float) -> bytes | None:
        """Return what was noted last."""
        value, until = self.opened("recall").tables.notes.get((channel, key), (None, now))
        return value if until > now else None

    def forget(self, now: float, limit: int) -> int:
        """Delete notes whose time is over."""
        notes = self.opened("forget").tables.notes
        over = sorted((until, name) for name, (_, until) in notes.items() if until <= now)[:limit]
        for _, name in over:
            self.disk.put(notes, name, MISSING)
        return len(over)

    def _audit(self, at: float, by: str, action: str, selection: Selection, deliveries: int) -> None:
        records = self.disk.tables.audit
        record = AuditRecord(
            at=moment(at), by=by, action=action, detail=written(selection), deliveries=deliveries
        )
        self.disk.put(records, len(records) + 1, record)

    # Small parts

    def touch(self, what: str) -> None:
        """Read or write something: it may fail."""
        if self.disk.faults is not None:
            self.disk.faults.touch(what)

    def opened(self, what: str) -> Disk:
        """Return the disk, for one call.

        Raises:
            StoreError: this store does not own it.
        """
        if self.disk.owner is not self:
            raise StoreError("store memory: it is not open")
        self.touch(what)
        return self.disk


def _seq(row: Row) -> int:
    return row.seq


def _id(row: Row) -> int:
    return row.id
