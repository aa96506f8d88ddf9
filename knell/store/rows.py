"""Rows of events and deliveries, and the order in which deliveries of one order key may go.

After every call these hold for the unfinished deliveries of a channel and an order key:

- while any of them is sending, none is ready or deferred;
- otherwise the oldest is ready or deferred and all others wait.

So two are never under way at once, except a batch that took its followers along, and none is ever stuck.
"""

from collections.abc import Iterable

import msgspec

from knell.deliveries import Route
from knell.errors import StoreError
from knell.events import NotificationEvent, stored
from knell.messages import Reason
from knell.store.cache import EventCache
from knell.store.contract import State
from knell.store.file import SqliteFile, guarded

_RELEASE = """
UPDATE delivery SET state = CASE WHEN due >= ?3 THEN 1 ELSE 2 END
WHERE state = 0
AND id = (SELECT min(id) FROM delivery WHERE channel = ?1 AND order_key = ?2 AND finished IS NULL)
AND NOT EXISTS (SELECT 1 FROM delivery WHERE channel = ?1 AND order_key = ?2 AND state = 3)
"""

_INSERT = "INSERT INTO delivery (id, seq, channel, order_key, rule, state) VALUES (?1, ?2, ?3, ?4, ?5, {})"
_READY = _INSERT.format("2")
_IN_ORDER = _INSERT.format(
    "CASE WHEN EXISTS (SELECT 1 FROM delivery WHERE channel = ?3 AND order_key = ?4 AND finished IS NULL) "
    "THEN 0 ELSE 2 END"
)


class Rows(SqliteFile):
    """What every part of the store does with its rows."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._events = EventCache()
        self._next_row = 1

    def insert(self, seq: int, routes: Iterable[Route], order_key: str) -> None:
        """Add deliveries of an event: ready, or waiting behind an older one of the order key."""
        statement = _IN_ORDER if order_key else _READY
        for route in routes:
            self.db.execute(statement, (self._next_row, seq, route.channel, order_key or None, route.rule))
            self._next_row += 1

    def finish(  # noqa: PLR0913 - a row's columns
        self,
        row: int,
        state: State,
        reason: Reason,
        error: str,
        now: float,
        *,
        receipt: bytes | None = None,
        progress: bytes | None = None,
        crashes: int = 0,
    ) -> State:
        """End a delivery; what waited behind it may go."""
        channel, order_key = self.db.execute(
            "UPDATE delivery SET state = ?, reason = ?, error = ?, finished = ?, receipt = ?, "
            "progress = coalesce(?, progress), crashes = crashes + ? WHERE id = ? "
            "RETURNING channel, order_key",
            (state, reason, error, now, receipt, progress, crashes, row),
        ).fetchone()
        self.release(channel, order_key, now)
        return state

    def put_back(self, row: int, due: float, now: float) -> State:
        """Let a delivery that was under way wait: for its time, or behind others of its order key."""
        channel, order_key, state = self.db.execute(
            "UPDATE delivery SET due = ?1, state = CASE WHEN order_key IS NOT NULL THEN 0 "
            "WHEN ?1 >= ?2 THEN 1 ELSE 2 END WHERE id = ?3 RETURNING channel, order_key, state",
            (due, now, row),
        ).fetchone()
        if order_key is not None:
            self.release(channel, order_key, now)
            state = self.one("SELECT state FROM delivery WHERE id = ?", row)
        return State(state)

    def release(self, channel: str, order_key: str | None, now: float) -> None:
        """Let the oldest unfinished delivery of an order key go when it is due, unless one is under way."""
        if order_key is not None:
            self.db.execute(_RELEASE, (channel, order_key, now))

    @guarded
    def event(self, seq: int) -> NotificationEvent:
        """Return a stored event."""
        event = self._events.get(seq)
        if event is None:
            body = self.one("SELECT body FROM event WHERE seq = ?", seq)
            if body is None:
                raise StoreError(f"store {self.path}: event number {seq} is missing")
            try:
                event = stored(body)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise StoreError(f"store {self.path}: event number {seq} is damaged: {error}") from None
            self._events.put(seq, event, len(body))
        return event

    def audit(self, at: float, by: str, action: str, detail: str, deliveries: int) -> None:
        """Note what an operator did."""
        self.db.execute(
            "INSERT INTO audit (at, by, action, detail, deliveries) VALUES (?, ?, ?, ?, ?)",
            (at, by, action, detail, deliveries),
        )


def listed(rows: Iterable[int]) -> str:
    """Return row numbers as the JSON array that `json_each` takes."""
    return msgspec.json.encode(list(rows)).decode()
