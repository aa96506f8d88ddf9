"""Reading a disk in memory: what is committed. See `knell.store.contract.Reader` for the promises."""

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from knell.errors import StoreError
from knell.events import Severity
from knell.ids import delivery_id
from knell.messages import ChannelStatus, DeliveryResult, DeliveryState, DeliveryStatus, Reason
from knell.store.contract import State
from knell.store.records import AuditRecord, DeliveryDetail, DeliveryRecord, Selection, StoreStats

from .memory_disk import Disk, Entry, Row


class MemoryReader:
    """The reading side."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def status(self, event_id: str) -> DeliveryStatus | None:
        """Return where an event stands."""
        tables = self._committed().tables
        known = tables.keys.get(event_id)
        if known is None:
            return None
        entry = tables.events[known.seq]
        return DeliveryStatus(
            notification_id=entry.event.event_id,
            event_type=entry.event.event_type,
            accepted=moment(entry.accepted),
            channels=[_status(row, entry) for row in tables.rows.values() if row.seq == known.seq],
            suppressed=entry.suppressed,
        )

    def deliveries(self, selection: Selection, cursor: str = "", limit: int = 100) -> list[DeliveryRecord]:
        """Return deliveries, youngest first."""
        if cursor and not (cursor.isascii() and cursor.isdigit()):
            raise ValueError(f"there is no cursor {cursor!r}")
        disk = self._committed()
        rows = [row for row in selected(disk, selection) if not cursor or row.id < int(cursor)]
        return [_record(row, disk.tables.events[row.seq]) for row in reversed(rows)][:limit]

    def count(self, selection: Selection) -> int:
        """Return how many deliveries are selected."""
        return len(list(selected(self._committed(), selection)))

    def delivery(self, id_: str) -> DeliveryDetail | None:
        """Return one delivery with its history."""
        disk = self._committed()
        for row in selected(disk, Selection(ids=(id_,))):
            entry = disk.tables.events[row.seq]
            attempts = disk.tables.attempts.get(row.id, ())
            return DeliveryDetail(
                delivery=_record(row, entry), event=entry.event, rule=row.rule, attempts=attempts
            )
        return None

    def audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return what operators did, latest first."""
        return list(reversed(self._committed().tables.audit.values()))[:limit]

    def stats(self) -> StoreStats:
        """Return how full the store is."""
        tables = self._committed().tables
        states: dict[str, dict[DeliveryState, int]] = {}
        for row in tables.rows.values():
            found = states.setdefault(row.channel, {})
            found[row.state.public] = found.get(row.state.public, 0) + 1
        pending = [row.seq for row in tables.rows.values() if row.state < State.DONE]
        return StoreStats(
            version=0,
            events=len(tables.events),
            states=states,
            oldest_pending=moment(tables.events[min(pending)].accepted) if pending else None,
            bytes=len(msgspec.msgpack.encode(tables)),
            free_bytes=sys.maxsize,
        )

    def check(self) -> list[str]:
        """Return everything that is wrong with it, in plain words."""
        disk = self._committed()
        keys = {(row.channel, row.order_key) for row in disk.tables.rows.values() if row.order_key}
        return [
            f"{channel}, order key {order_key} is out of order"
            for channel, order_key in sorted(keys)
            if not in_order(disk.same_key(channel, order_key))
        ]

    def backup(self, target: Path) -> None:
        """Copy it to a new file."""
        self._disk.save(target)

    def close(self) -> None:
        """Close it."""

    def _committed(self) -> Disk:
        if not self._disk.used:
            raise StoreError("store memory: there is none")
        return self._disk.committed()


def in_order(rows: list[Row]) -> bool:
    """Say whether the unfinished rows of an order key, oldest first, keep the promises of order."""
    states = Counter(row.state for row in rows)
    free = states[State.READY] + states[State.DEFERRED]
    if not rows or states[State.SENDING]:
        return free == 0
    return free == 1 and rows[0].state is not State.WAITING


def selected(disk: Disk, selection: Selection) -> list[Row]:
    """Return the rows that a selection names, oldest first."""
    named = {_named(disk, id_) for id_ in selection.ids}
    return [
        row
        for row in sorted(disk.tables.rows.values(), key=lambda row: row.id)
        if (not selection.ids or (row.seq, row.channel) in named)
        and _fits(row, disk.tables.events[row.seq], selection)
    ]


def _named(disk: Disk, id_: str) -> tuple[int, str]:
    event_id, _, channel = id_.rpartition(":")
    known = disk.tables.keys.get(event_id)
    return (0 if known is None else known.seq, channel)


def _fits(row: Row, entry: Entry, selection: Selection) -> bool:
    when = moment(entry.accepted if row.finished is None else row.finished)
    return (
        selection.state in {None, row.state.public}
        and selection.channel in {None, row.channel}
        and selection.event_type in {None, entry.event.event_type}
        and selection.reason in {None, row.reason}
        and (selection.since is None or when >= selection.since)
        and (selection.until is None or when < selection.until)
    )


def _record(row: Row, entry: Entry) -> DeliveryRecord:
    event = entry.event
    return DeliveryRecord(
        id=delivery_id(event.event_id, row.channel),
        cursor=str(row.id),
        channel=row.channel,
        event_id=event.event_id,
        event_type=event.event_type,
        severity=Severity(event.severity),
        title=event.title,
        state=row.state.public,
        attempts=row.attempts,
        crashes=row.crashes,
        reason=row.reason,
        error=row.error,
        accepted=moment(entry.accepted),
        finished=None if row.finished is None else moment(row.finished),
        next_attempt=moment(row.due) if row.state is State.DEFERRED else None,
    )


def _status(row: Row, entry: Entry) -> ChannelStatus:
    record = _record(row, entry)
    return ChannelStatus(
        delivery_id=record.id,
        channel=row.channel,
        state=record.state,
        attempts=row.attempts,
        rule=row.rule,
        reason=row.reason,
        error=row.error,
        next_attempt=record.next_attempt,
        finished=record.finished,
    )


def result(row: Row, entry: Entry) -> DeliveryResult | None:
    """Return how a delivery ended; None when it has not."""
    if row.finished is None:
        return None
    done = row.state is State.DONE
    return DeliveryResult(
        notification_id=entry.event.event_id,
        channel=row.channel,
        success=done,
        timestamp=moment(row.finished),
        error=None if done else f"{row.reason}: {row.error}".removesuffix(": "),
        retry_count=max(0, row.attempts - 1),
        delivery_time_ms=round(max(0.0, row.finished - entry.accepted) * 1000),
        reason=Reason(row.reason),
        receipt=row.receipt,
    )


def moment(seconds: float) -> datetime:
    """Return a time as people see it."""
    return datetime.fromtimestamp(seconds, UTC)
