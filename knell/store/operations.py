"""What operators and the clock do to deliveries of the SQLite store: expire, replay, cancel, prune."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from knell.messages import Reason
from knell.store.contract import Ended, State
from knell.store.file import guarded
from knell.store.records import Selection
from knell.store.rows import Rows, listed
from knell.store.selecting import FROM, where, written

_ENDING = f"SELECT d.id, d.seq, e.id, d.channel, d.order_key, d.state {FROM} "


class Operations(Rows):
    """The part that ends deliveries without an attempt, brings them back, and forgets them."""

    @guarded
    def expire(self, channel: str, accepted_before: float, now: float, limit: int) -> list[Ended]:
        """End deliveries that are too old to be worth anything; only the oldest `limit` are looked at."""
        rows = self.db.execute(
            f"{_ENDING} WHERE d.id IN (SELECT id FROM delivery WHERE channel = ? AND finished IS NULL "  # noqa: S608
            "AND state <> 3 ORDER BY seq LIMIT ?) AND e.accepted < ? ORDER BY d.id",
            (channel, limit, accepted_before),
        ).fetchall()
        return self._end(rows, State.EXPIRED, Reason.EXPIRED, now)

    @guarded
    def cancel(self, selection: Selection, by: str, now: float) -> list[Ended]:
        """Give up pending and dead deliveries for good."""
        condition, values = where(selection)
        rows = self.db.execute(
            f"{_ENDING} WHERE {condition} AND (d.state < 3 OR d.state = 5) ORDER BY d.id", values
        ).fetchall()
        self.audit(now, by, "cancel", written(selection), len(rows))
        return self._end(rows, State.CANCELLED, Reason.CANCELLED, now)

    def _end(self, rows: list[tuple[Any, ...]], state: State, reason: Reason, now: float) -> list[Ended]:
        self.db.executemany(
            "UPDATE delivery SET state = ?, reason = ?, error = '', finished = ? WHERE id = ?",
            [(state, str(reason), now, row[0]) for row in rows],
        )
        for channel, order_key in dict.fromkeys((row[3], row[4]) for row in rows):
            self.release(channel, order_key, now)
        return [Ended(seq, event_id, channel, State(was)) for _, seq, event_id, channel, _, was in rows]

    @guarded
    def replay(self, selection: Selection, by: str, now: float, interval: float) -> dict[str, int]:
        """Try dead and done deliveries again."""
        condition, values = where(selection)
        self.db.execute(
            "INSERT INTO attempt (delivery, n, at, ms, outcome, reason, error) "  # noqa: S608
            "SELECT d.id, 1 + coalesce((SELECT max(n) FROM attempt WHERE delivery = d.id), 0), d.finished, "
            f"json_extract(d.success, '$[0]'), 'delivered', d.reason, '' {FROM} "
            f"WHERE {condition} AND d.state = 4 AND d.success NOT NULL",
            values,
        )
        rows = self.db.execute(
            "UPDATE delivery SET state = CASE WHEN order_key IS NULL THEN 1 ELSE 0 END, "  # noqa: S608
            "due = ? + ? * n, attempts = 0, crashes = 0, reason = '', error = '', "
            "receipt = NULL, finished = NULL, success = NULL "
            "FROM (SELECT d.id AS picked, "
            f"row_number() OVER (PARTITION BY d.channel ORDER BY d.id) - 1 AS n {FROM} "
            f"WHERE {condition} AND d.state IN (4, 5)) "
            "WHERE id = picked RETURNING channel, order_key",
            [now, interval, *values],
        ).fetchall()
        for channel, order_key in set(rows):
            self._make_way(channel, order_key, now)
        self.audit(now, by, "replay", written(selection), len(rows))
        return dict(Counter(channel for channel, _ in rows))

    def _make_way(self, channel: str, order_key: str | None, now: float) -> None:
        """Let a younger delivery that may go wait again, once an older one has come back."""
        if order_key is None:
            return
        self.db.execute(
            "UPDATE delivery SET state = 0 WHERE channel = ? AND order_key = ? AND finished IS NULL "
            "AND state IN (1, 2)",
            (channel, order_key),
        )
        self.release(channel, order_key, now)

    @guarded
    def prune(self, done_before: float, dead_before: float, keys_before: float, limit: int) -> int:
        """Delete what ended before a time, and events that have no delivery left."""
        self.db.execute(
            "UPDATE mark SET seq = max(seq, (SELECT coalesce(max(seq), 0) FROM event)), "
            "row = max(row, (SELECT coalesce(max(id), 0) FROM delivery))"
        )
        found = self.db.execute(
            "SELECT id FROM delivery WHERE state IN (4, 6, 7) AND finished < ? LIMIT ?",
            (done_before, limit),
        ).fetchall()
        found += self.db.execute(
            "SELECT id FROM delivery WHERE state = 5 AND finished < ? LIMIT ?",
            (dead_before, limit - len(found)),
        ).fetchall()
        self._forget(row for (row,) in found)
        return len(found) + self._forget_events(done_before, keys_before, limit)

    def _forget(self, rows: Iterable[int]) -> None:
        """Delete deliveries and their attempts; note which events have none left."""
        marked = listed(rows)
        self.db.execute("DELETE FROM attempt WHERE delivery IN (SELECT value FROM json_each(?))", (marked,))
        gone = self.db.execute(
            "DELETE FROM delivery WHERE id IN (SELECT value FROM json_each(?)) RETURNING seq", (marked,)
        ).fetchall()
        self.db.execute(
            "UPDATE event SET bare = 1 WHERE seq IN (SELECT value FROM json_each(?)) "
            "AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.seq = event.seq)",
            (listed({seq for (seq,) in gone}),),
        )

    def _forget_events(self, accepted_before: float, keys_before: float, limit: int) -> int:
        """Delete events without deliveries, with their keys, once none of these counts any more."""
        gone = self.db.execute(
            "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE bare = 1 AND accepted < ? "
            "AND NOT EXISTS (SELECT 1 FROM key WHERE key.seq = event.seq AND sha <> x'' AND key.at >= ?) "
            "ORDER BY accepted LIMIT ?) RETURNING seq, id",
            (min(accepted_before, keys_before), keys_before, limit),
        ).fetchall()
        self.db.executemany("DELETE FROM key WHERE seq = ? AND key = ?", gone)
        seqs = listed(seq for seq, _ in gone)
        self.db.execute(
            "DELETE FROM key WHERE sha <> x'' AND seq IN (SELECT value FROM json_each(?))", (seqs,)
        )
        return len(gone)
