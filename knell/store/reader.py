"""Reading the SQLite store beside its owner: a connection that cannot write, for any thread."""

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from knell.errors import StoreError
from knell.events import Severity, unseal
from knell.ids import delivery_id
from knell.messages import ChannelStatus, DeliveryState, DeliveryStatus, Reason
from knell.store.contract import State
from knell.store.copying import copy
from knell.store.examine import examine
from knell.store.handle import Handle
from knell.store.records import (
    AttemptRecord,
    AuditRecord,
    DeliveryDetail,
    DeliveryRecord,
    Selection,
    StoreStats,
)
from knell.store.selecting import FROM, where
from knell.store.words import in_words

_RECORD = (
    "SELECT d.id, e.id, e.type, e.severity, e.body, e.accepted, d.channel, d.state, d.attempts, d.crashes, "
    f"d.reason, d.error, d.due, d.finished, d.rule, d.success {FROM} "
)


class _Title(msgspec.Struct):
    """The part of an event's JSON that a list shows."""

    title: str


class SqliteReader(Handle):
    """A read-only view of a store's file; see `contract.Reader`."""

    def status(self, event_id: str) -> DeliveryStatus | None:
        """Return where an event stands."""
        with self.calling:
            event = self._rows(
                "SELECT e.seq, e.id, e.type, e.accepted, e.suppressed "
                "FROM key k JOIN event e ON e.seq = k.seq WHERE k.key = ?",
                event_id,
            )
            if not event:
                return None
            seq, own_id, event_type, accepted, suppressed = event[0]
            rows = self._rows(
                "SELECT channel, state, attempts, rule, reason, error, due, finished FROM delivery "
                "WHERE seq = ? ORDER BY id",
                seq,
            )
        return DeliveryStatus(
            notification_id=own_id,
            event_type=event_type,
            accepted=_moment(accepted),
            channels=[_channel(own_id, row) for row in rows],
            suppressed=msgspec.json.decode(suppressed, type=dict[str, str]),
        )

    def deliveries(self, selection: Selection, cursor: str = "", limit: int = 100) -> list[DeliveryRecord]:
        """Return deliveries, youngest first."""
        condition, values = where(selection)
        if cursor:
            condition, values = f"d.id < ? AND {condition}", [_row(cursor), *values]
        with self.calling:
            rows = self._rows(f"{_RECORD} WHERE {condition} ORDER BY d.id DESC LIMIT ?", *values, limit)
        return [_record(row) for row in rows]

    def count(self, selection: Selection) -> int:
        """Return how many deliveries are selected."""
        condition, values = where(selection)
        with self.calling:
            ((count,),) = self._rows(f"SELECT count(*) {FROM} WHERE {condition}", *values)
        return int(count)

    def delivery(self, id_: str) -> DeliveryDetail | None:
        """Return one delivery with its history."""
        condition, values = where(Selection(ids=(id_,)))
        with self.calling:
            rows = self._rows(f"{_RECORD} WHERE {condition}", *values)
            if not rows:
                return None
            attempts = self._rows(
                "SELECT n, at, outcome, reason, error, ms FROM attempt WHERE delivery = ? ORDER BY n, at",
                rows[0][0],
            )
        return DeliveryDetail(
            delivery=_record(rows[0]),
            event=unseal(rows[0][4]).event,
            rule=rows[0][14],
            attempts=tuple(_attempts(rows[0], attempts)),
        )

    def audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return what operators did, latest first."""
        with self.calling:
            rows = self._rows(
                "SELECT at, by, action, detail, deliveries FROM audit ORDER BY id DESC LIMIT ?", limit
            )
        return [
            AuditRecord(at=_moment(at), by=by, action=action, detail=detail, deliveries=count)
            for at, by, action, detail, count in rows
        ]

    def stats(self) -> StoreStats:
        """Return how full the store is."""
        with self.calling:
            ((version,),) = self._rows("PRAGMA user_version")
            ((events,),) = self._rows("SELECT count(*) FROM event")
            rows = self._rows("SELECT channel, state, count(*) FROM delivery GROUP BY channel, state")
            ((oldest,),) = self._rows(
                "SELECT min(accepted) FROM event "
                "WHERE seq IN (SELECT min(seq) FROM delivery WHERE finished IS NULL GROUP BY channel)"
            )
        states: dict[str, dict[DeliveryState, int]] = {}
        for channel, state, count in rows:
            found, public = states.setdefault(channel, {}), State(state).public
            found[public] = found.get(public, 0) + count
        return StoreStats(
            version=version,
            events=events,
            states=states,
            oldest_pending=None if oldest is None else _moment(oldest),
            bytes=sum(file.stat().st_size for file in self._files()),
            free_bytes=shutil.disk_usage(self.path.parent).free,
        )

    def check(self) -> list[str]:
        """Return everything that is wrong with it, in plain words."""
        with self.calling:
            try:
                return examine(self._connection())
            except sqlite3.DatabaseError as error:
                if not self.path.exists():
                    raise self._failed(error) from error
                return [str(error)]

    def backup(self, target: Path) -> None:
        """Copy it to a new file, consistently, while its owner goes on."""
        with self.calling:
            try:
                copy(self._connection(), target)
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def close(self) -> None:
        """Close it; a second call does nothing."""
        with self.calling:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _files(self) -> list[Path]:
        names = (self.path.name + suffix for suffix in ("", "-wal", "-shm"))
        return [path for name in names if (path := self.path.with_name(name)).exists()]

    def _rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        try:
            return self._connection().execute(sql, args).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            url = f"file:{quote(str(self.path.absolute()))}?mode=ro"
            self._db = sqlite3.connect(url, uri=True, isolation_level=None, check_same_thread=False)
            for setting in ("query_only = 1", "wal_autocheckpoint = 0", "mmap_size = 0"):
                self._db.execute(f"PRAGMA {setting}")
        return self._db

    def _failed(self, error: sqlite3.Error) -> StoreError:
        if not self.path.exists():
            return StoreError(f"store {self.path}: there is no such file")
        return StoreError(f"store {self.path}: {in_words(error)}")


def _record(row: tuple[Any, ...]) -> DeliveryRecord:
    (id_, event_id, event_type, severity, body, accepted, channel, number, *rest) = row
    attempts, crashes, reason, error, due, finished, *_ = rest
    state = State(number)
    return DeliveryRecord(
        id=delivery_id(event_id, channel),
        cursor=str(id_),
        channel=channel,
        event_id=event_id,
        event_type=event_type,
        severity=Severity(severity),
        title=msgspec.json.decode(body, type=_Title).title,
        state=state.public,
        attempts=attempts,
        crashes=crashes,
        reason=reason,
        error=error,
        accepted=_moment(accepted),
        finished=None if finished is None else _moment(finished),
        next_attempt=_moment(due) if state is State.DEFERRED else None,
    )


def _attempts(delivery: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> Iterator[AttemptRecord]:
    """Return the attempts at a delivery; the one that delivered it is told by its own row."""
    finished, _, success = delivery[-3:]
    if success is not None:
        milliseconds, _ = msgspec.json.decode(success)
        number = rows[-1][0] + 1 if rows else 1
        rows = [*rows, (number, finished, "delivered", Reason.DELIVERED, "", milliseconds)]
    for n, at, outcome, reason, error, milliseconds in rows:
        yield AttemptRecord(
            number=n, at=_moment(at), outcome=outcome, reason=reason, error=error, milliseconds=milliseconds
        )


def _channel(event_id: str, row: tuple[Any, ...]) -> ChannelStatus:
    channel, number, attempts, rule, reason, error, due, finished = row
    state = State(number)
    return ChannelStatus(
        delivery_id=delivery_id(event_id, channel),
        channel=channel,
        state=state.public,
        attempts=attempts,
        rule=rule,
        reason=reason,
        error=error,
        next_attempt=_moment(due) if state is State.DEFERRED else None,
        finished=None if finished is None else _moment(finished),
    )


def _row(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit()):
        raise ValueError(f"there is no cursor {cursor!r}")
    return int(cursor)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
