"""Reading the SQLite store beside its owner: a connection that cannot write, for any thread."""

import os
import sqlite3
import threading
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from knell.errors import StoreError
from knell.ids import delivery_id
from knell.messages import ChannelStatus, DeliveryStatus
from knell.store.contract import State
from knell.store.file import abandon


class SqliteReader:
    """A read-only view of a store's file; see `contract.Reader`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        _readers.add(self)

    def status(self, event_id: str) -> DeliveryStatus | None:
        """Return where an event stands."""
        event = self._rows(
            "SELECT seq, type, accepted, suppressed FROM event WHERE id = ? ORDER BY seq DESC LIMIT 1",
            event_id,
        )
        if not event:
            return None
        seq, event_type, accepted, suppressed = event[0]
        rows = self._rows(
            "SELECT channel, state, attempts, rule, reason, error, due, finished FROM delivery "
            "WHERE seq = ? ORDER BY id",
            seq,
        )
        return DeliveryStatus(
            notification_id=event_id,
            event_type=event_type,
            accepted=_moment(accepted),
            channels=[_channel(event_id, row) for row in rows],
            suppressed=msgspec.json.decode(suppressed, type=dict[str, str]),
        )

    def close(self) -> None:
        """Close it; a second call does nothing."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def disown(self) -> None:
        """Let go of the connection in a forked child: it is the parent's."""
        if self._db is not None:
            abandon(self._db)
            self._db = None

    def _rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                if self._db is None:
                    url = f"file:{quote(str(self._path.absolute()))}?mode=ro"
                    self._db = sqlite3.connect(url, uri=True, check_same_thread=False)
                    self._db.execute("PRAGMA query_only = 1")
                return self._db.execute(sql, args).fetchall()
            except sqlite3.Error as error:
                raise StoreError(f"store {self._path}: {error}") from error


_readers: weakref.WeakSet[SqliteReader] = weakref.WeakSet()


def _after_fork() -> None:
    for reader in list(_readers):
        reader.disown()


os.register_at_fork(after_in_child=_after_fork)


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


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
