"""The outbox on SQLite, with the standard library. See `contract.Store` for what the methods promise."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from knell.messages import DeliveryResult, Reason
from knell.store.contract import State
from knell.store.file import guarded
from knell.store.handout import Handout
from knell.store.intake import Intake
from knell.store.notes import Notes
from knell.store.operations import Operations


class SqliteStore(Intake, Handout, Operations, Notes):
    """The store in one file."""

    @guarded
    def open(self) -> None:
        """Take ownership."""
        self.acquire()
        self._events.clear()  # numbers that were never committed are given again
        seq, row = self.db.execute("SELECT seq, row FROM mark").fetchone()
        self._next_seq = max(seq, self.one("SELECT max(seq) FROM event") or 0) + 1
        self._next_row = max(row, self.one("SELECT max(id) FROM delivery") or 0) + 1

    @guarded
    def pending(self, channel: str, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (row, seq) of unfinished deliveries, oldest event first."""
        rows = self.db.execute(
            "SELECT id, seq FROM delivery WHERE channel = ? AND finished IS NULL AND seq > ? "
            "ORDER BY seq LIMIT ?",
            (channel, after, limit),
        )
        return rows.fetchall()

    @guarded
    def results(self, seq: int) -> dict[str, DeliveryResult | None]:
        """Return how an event's deliveries ended, by channel."""
        rows = self.db.execute(
            "SELECT d.channel, d.state, d.reason, d.error, d.attempts, d.receipt, d.finished, e.accepted, "
            "e.id FROM delivery d JOIN event e ON e.seq = d.seq WHERE d.seq = ? ORDER BY d.id",
            (seq,),
        )
        return {row[0]: _result(row) if row[1] >= State.DONE else None for row in rows}

    @guarded
    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many unfinished and how many dead deliveries each channel has."""
        unfinished = self._count("delivery_open", "finished IS NULL")
        dead = self._count("delivery_dead", "state = 5")
        channels = sorted({*unfinished, *dead})
        return {channel: (unfinished.get(channel, 0), dead.get(channel, 0)) for channel in channels}

    def _count(self, index: str, condition: str) -> dict[str, int]:
        rows = self.db.execute(
            f"SELECT channel, count(*) FROM delivery INDEXED BY {index} "  # noqa: S608 - no text but our own
            f"WHERE {condition} GROUP BY channel"
        )
        return dict(rows.fetchall())


def _result(row: tuple[Any, ...]) -> DeliveryResult:
    channel, state, reason, error, attempts, receipt, finished, accepted, event_id = row
    done = state == State.DONE
    return DeliveryResult(
        notification_id=event_id,
        channel=channel,
        success=done,
        timestamp=datetime.fromtimestamp(finished, UTC),
        error=None if done else f"{reason}: {error}".removesuffix(": "),
        retry_count=max(0, attempts - 1),
        delivery_time_ms=round(max(0.0, finished - accepted) * 1000),
        reason=Reason(reason),
        receipt=msgspec.json.decode(receipt) if receipt else None,
    )
