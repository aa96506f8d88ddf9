"""Rows of events and deliveries, and the order in which deliveries of one order key may go.

After every call these hold for the unfinished deliveries of a channel and an order key:

- while any of them is sending, none is ready or deferred;
- otherwise the oldest is ready or deferred and all others wait.

So two are never under way at once, except a batch that took its followers along, and none is ever stuck.
"""

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from knell.deliveries import Route
from knell.errors import StoreError
from knell.events import NotificationEvent, stored
from knell.messages import Reason
from knell.store.cache import EventCache, Kept
from knell.store.contract import State
from knell.store.file import SqliteFile, guarded

_RELEASE = """
UPDATE delivery SET state = CASE WHEN due >= ?3 THEN 1 ELSE 2 END
WHERE state = 0
AND id = (SELECT min(id) FROM delivery WHERE channel = ?1 AND order_key = ?2 AND finished IS NULL)
AND NOT EXISTS (SELECT 1 FROM delivery WHERE channel = ?1 AND order_key = ?2 AND state = 3)
"""

_READY = "INSERT INTO delivery (id, seq, channel, rule, state) VALUES "
_IN_ORDER = (
    "INSERT INTO delivery (id, seq, channel, rule, order_key, state) VALUES (?1, ?2, ?3, ?4, ?5, CASE WHEN "
    "EXISTS (SELECT 1 FROM delivery WHERE channel = ?3 AND order_key = ?5 AND finished IS NULL) "
    "THEN 0 ELSE 2 END)"
)


_TOGETHER = 64
"""Rows that are inserted with one statement."""


class Rows(SqliteFile):
    """What every part of the store does with its rows."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._events = EventCache()
        self._next_row = 1

    def insert(self, new: Iterable[tuple[int, Iterable[Route], str]]) -> None:
        """Add deliveries of events: ready, or waiting behind an older one of the order key."""
        ready: list[Any] = []
        in_order: list[tuple[Any, ...]] = []
        for seq, routes, order_key in new:
            for route in routes:
                row = self._next_row, seq, route.channel, route.rule
                self._next_row += 1
                if order_key:
                    in_order.append((*row, order_key))
                else:
                    ready += row
        self.insert_all(_READY, "(?, ?, ?, ?, 2)", ready)
        if in_order:
            self.db.executemany(_IN_ORDER, in_order)

    def insert_all(self, statement: str, values: str, parameters: list[Any]) -> None:
        """Insert rows, a power of two with each statement: that takes half as long as one by one.

        `parameters`: of all rows, one after the other; as plain text, numbers and byte arrays, because for
        anything else, even None, the driver looks in vain for a converter, which takes as long as a row.
        """
        width, at = values.count("?"), 0
        while at < len(parameters):
            left = (len(parameters) - at) // width
            count = min(_TOGETHER, 1 << (left.bit_length() - 1))
            self.db.execute(
                statement + ", ".join([values] * count), parameters[at : (at := at + count * width)]
            )

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
            (state, str(reason), error, now, receipt, progress, crashes, row),
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
        return self.kept([seq])[seq].event

    def kept(self, seqs: Iterable[int]) -> dict[int, Kept]:
        """Return stored events by their numbers."""
        found = {seq: self._events.get(seq) for seq in seqs}
        kept = {seq: event for seq, event in found.items() if event is not None}
        if len(kept) < len(found):
            kept.update(self._load([seq for seq in found if seq not in kept]))
        return kept

    def _load(self, seqs: Collection[int]) -> dict[int, Kept]:
        """Read events, and keep them decoded."""
        rows = self.db.execute(
            "SELECT seq, body, accepted FROM event WHERE seq IN (SELECT value FROM json_each(?))",
            (listed(seqs),),
        ).fetchall()
        loaded = {seq: Kept(self._decoded(seq, body), accepted, len(body)) for seq, body, accepted in rows}
        for seq in seqs:
            if seq not in loaded:
                raise StoreError(f"store {self.path}: event number {seq} is missing")
            self._events.put(seq, loaded[seq])
        return loaded

    def _decoded(self, seq: int, body: bytes) -> NotificationEvent:
        try:
            return stored(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError(f"store {self.path}: event number {seq} is damaged: {error}") from None

    def audit(self, at: float, by: str, action: str, detail: str, deliveries: int) -> None:
        """Note what an operator did."""
        self.db.execute(
            "INSERT INTO audit (at, by, action, detail, deliveries) VALUES (?, ?, ?, ?, ?)",
            (at, by, action, detail, deliveries),
        )


def listed(rows: Iterable[int]) -> str:
    """Return row numbers as the JSON array that `json_each` takes."""
    return msgspec.json.encode(list(rows)).decode()
