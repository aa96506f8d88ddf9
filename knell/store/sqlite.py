"""The outbox on SQLite, with the standard library. See `contract.Store` for what the methods promise."""

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Route, Settlement
from knell.errors import StoreError
from knell.events import NotificationEvent, unseal
from knell.messages import DeliveryResult, Reason
from knell.store.contract import Accepted, Conflict, Settled, State, Submission
from knell.store.file import SqliteFile, guarded

CACHED_EVENTS = 4096
"""Events kept decoded between their acceptance and their deliveries."""

CRASH_LIMIT = 3
"""Deaths of the process over one delivery before it is quarantined."""

_SELECT = (
    "SELECT d.id, d.seq, d.order_key, d.attempts, d.crashes, d.rule, d.progress, e.accepted "
    "FROM delivery d JOIN event e ON e.seq = d.seq "
)
_NO_TIME = datetime.fromtimestamp(0, UTC)
_START = "UPDATE delivery SET state = 3, attempts = attempts + 1 WHERE id = ?"


class SqliteStore(SqliteFile):
    """The store in one file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._events: dict[int, NotificationEvent] = {}
        self._next_seq = self._next_row = 1

    @guarded
    def open(self) -> None:
        """Take ownership."""
        self.acquire()
        self._next_seq = self.one("SELECT coalesce(max(seq), 0) + 1 FROM event")
        self._next_row = self.one("SELECT coalesce(max(id), 0) + 1 FROM delivery")

    @guarded
    def recover(self, now: float, latest: float) -> int:
        """Put back what a dead process was sending: its outcome is unknown."""
        rows = self.db.execute("SELECT id, seq, crashes FROM delivery WHERE state = 3 ORDER BY id").fetchall()
        for row, _, crashes in rows:
            self.db.execute("UPDATE delivery SET crashes = crashes + 1 WHERE id = ?", (row,))
            if crashes + 1 >= CRASH_LIMIT:
                self._finish(row, State.DEAD, Reason.CRASHED, "the process died over it", now)
            else:
                self._put_back(row, 0.0)
        self.db.execute("UPDATE delivery SET due = ?1 WHERE state = 1 AND due > ?1", (latest,))
        return len(rows)

    # Accepting

    @guarded
    def append(self, submission: Submission, now: float) -> Accepted | Conflict:
        """Take in an event and all its deliveries."""
        sealed, seq = submission.sealed, self._next_seq
        event, digest = sealed.event, _digest(sealed.event)
        for key in submission.keys:
            if known := self._known(key, digest):
                return known
        self.db.executemany(
            "INSERT INTO key VALUES (?, ?, ?, ?)", [(key, seq, digest, now) for key in submission.keys]
        )
        self.db.execute(
            "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(seq, event.event_id, event.event_type, event.severity, now, sealed.body),
                msgspec.json.encode(submission.suppressed),
            ),
        )
        self._next_seq += 1
        self._remember(seq, event)
        self._insert(seq, submission.routes, submission.order_key)
        return Accepted(seq)

    def _known(self, key: str, digest: bytes) -> Accepted | Conflict | None:
        found = self.db.execute("SELECT seq, sha FROM key WHERE key = ?", (key,)).fetchone()
        if found is None:
            return None
        seq, sha = found
        return Accepted(seq, duplicate=True) if sha == digest else Conflict(key)

    def _insert(self, seq: int, routes: Iterable[Route], order_key: str) -> None:
        for route in routes:
            self.db.execute(
                "INSERT INTO delivery (id, seq, channel, order_key, rule, state) VALUES (?1, ?2, ?3, ?4, ?5, "
                "CASE WHEN ?4 IS NOT NULL AND EXISTS (SELECT 1 FROM delivery WHERE channel = ?3 "
                "AND order_key = ?4 AND state < 4) THEN 0 ELSE 2 END)",
                (self._next_row, seq, route.channel, order_key or None, route.rule),
            )
            self._next_row += 1

    @guarded
    def add_routes(self, seq: int, routes: Iterable[Route], order_key: str) -> tuple[Route, ...]:
        """Add deliveries to an event that is stored."""
        present = self.db.execute("SELECT channel FROM delivery WHERE seq = ?", (seq,))
        have = {channel for (channel,) in present}
        new = tuple(route for route in routes if route.channel not in have)
        self._insert(seq, new, order_key)
        return new

    # Handing out

    @guarded
    def fetch(
        self, channel: str, limit: int, chain: int, held: frozenset[int], now: float
    ) -> tuple[Delivery, ...]:
        """Return deliveries that may go now, oldest first."""
        self.db.execute(
            "UPDATE delivery SET state = 2 WHERE channel = ? AND state = 1 AND due <= ?", (channel, now)
        )
        heads = self.db.execute(
            f"{_SELECT} WHERE d.channel = ? AND d.state = 2 "  # noqa: S608 - no text but our own
            "AND d.id NOT IN (SELECT value FROM json_each(?)) ORDER BY d.id LIMIT ?",
            (channel, msgspec.json.encode(list(held)).decode(), limit),
        ).fetchall()
        found: list[Delivery] = []
        for head in heads:
            found.append(self._delivery(head, channel))
            if chain > 1 and head[2] is not None:
                found += self._followers(channel, head[2], head[0], chain - 1, held)
        return tuple(found)

    def _followers(
        self, channel: str, order_key: str, after: int, limit: int, held: frozenset[int]
    ) -> list[Delivery]:
        rows = self.db.execute(
            _SELECT + "WHERE d.channel = ? AND d.order_key = ? AND d.id > ? AND d.state = 0 "
            "ORDER BY d.id LIMIT ?",
            (channel, order_key, after, limit),
        ).fetchall()
        return [self._delivery(row, channel) for row in rows if row[0] not in held]

    def _delivery(self, row: tuple[Any, ...], channel: str) -> Delivery:
        id_, seq, order_key, attempts, crashes, rule, progress, accepted = row
        return Delivery(
            row=id_,
            event=self.event(seq),
            channel=channel,
            order_key=order_key or f"#{id_}",
            attempts=attempts,
            crashes=crashes,
            accepted=accepted,
            rule=rule,
            progress=msgspec.json.decode(progress) if progress else {},
        )

    @guarded
    def next_due(self, channel: str) -> float | None:
        """Return when the next deferred delivery may go."""
        due: float | None = self.one("SELECT min(due) FROM delivery WHERE channel = ? AND state = 1", channel)
        return due

    # Attempts

    @guarded
    def start(self, attempt: Attempt) -> bool:
        """Note that an attempt begins."""
        rows = attempt.rows
        if len(rows) == 1 and self.db.execute(f"{_START} AND state = 2", rows).rowcount == 1:
            return True
        if len(rows) == 1 or not self._may_go(rows):
            return self._started_before(attempt)
        self.db.executemany(_START, [(row,) for row in rows])
        return True

    def _started_before(self, attempt: Attempt) -> bool:
        """Say whether this very attempt was begun, and the answer lost in a crash of somebody."""
        return all(
            self.one("SELECT attempts FROM delivery WHERE id = ? AND state = 3", delivery.row)
            == delivery.attempts + 1
            for delivery in attempt.deliveries
        )

    def _may_go(self, rows: tuple[int, ...]) -> bool:
        """Say whether every row of a batch is ready, or follows rows that all are in the batch."""
        marks = msgspec.json.encode(rows).decode()
        count: int = self.one(
            "SELECT count(*) FROM delivery d WHERE id IN (SELECT value FROM json_each(?1)) AND (state = 2 "
            "OR (state = 0 AND NOT EXISTS (SELECT 1 FROM delivery o WHERE o.channel = d.channel AND "
            "o.order_key = d.order_key AND o.state < 4 AND o.id < d.id "
            "AND o.id NOT IN (SELECT value FROM json_each(?1)))))",
            marks,
        )
        return count == len(rows)

    @guarded
    def settle(self, settlement: Settlement, now: float) -> Settled | None:
        """Write down how an attempt ended."""
        row, verdict = settlement.delivery.row, settlement.verdict
        found = self.db.execute(
            "SELECT seq, attempts, crashes FROM delivery WHERE id = ? AND state = 3", (row,)
        ).fetchone()
        if found is None:
            return None
        seq, attempts, crashes = found
        self._note_attempt(row, attempts, settlement, now)
        match verdict:
            case Done(receipt):
                body = None if receipt is None else msgspec.json.encode(receipt)
                state = self._finish(row, State.DONE, Reason.DELIVERED, "", now, receipt=body)
            case Dead(reason, detail, progress):
                state = self._finish(row, State.DEAD, reason, detail, now, progress=_packed(progress))
            case Crashed(limit, detail) if crashes + 1 >= limit:
                state = self._finish(row, State.DEAD, Reason.CRASHED, detail, now, crashes=1)
            case Crashed(_, detail):
                state = self._defer(row, now, Reason.CRASHED, detail, crashes=1)
            case Again(reason, delay, counted, detail, progress):
                attempts -= not counted
                state = self._defer(
                    row, now + delay, reason, detail, counted=counted, progress=_packed(progress)
                )
        return Settled(seq, state, attempts)

    def _note_attempt(self, row: int, number: int, settlement: Settlement, now: float) -> None:
        verdict = settlement.verdict
        reason, detail = (
            (Reason.DELIVERED, "") if isinstance(verdict, Done) else (verdict.reason, verdict.detail)
        )
        self.db.execute(
            "INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?, ?, ?)",
            (row, number, now, round(settlement.elapsed * 1000), reason, detail),
        )

    def _finish(  # noqa: PLR0913 - a row's columns
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
        self.db.execute(
            "UPDATE delivery SET state = ?, reason = ?, error = ?, finished = ?, receipt = ?, "
            "progress = coalesce(?, progress), crashes = crashes + ? WHERE id = ?",
            (state, reason, error, now, receipt, progress, crashes, row),
        )
        channel, order_key = self.db.execute(
            "SELECT channel, order_key FROM delivery WHERE id = ?", (row,)
        ).fetchone()
        if order_key is not None:  # what waited behind it may go
            self.db.execute(
                "UPDATE delivery SET state = 2 WHERE state = 0 AND id = (SELECT min(id) FROM delivery "
                "WHERE channel = ? AND order_key = ? AND state < 4)",
                (channel, order_key),
            )
        return state

    def _defer(
        self,
        row: int,
        due: float,
        reason: Reason,
        error: str,
        *,
        counted: bool = True,
        progress: bytes | None = None,
        crashes: int = 0,
    ) -> State:
        self.db.execute(
            "UPDATE delivery SET attempts = attempts - ?, reason = ?, error = ?, "
            "progress = coalesce(?, progress), crashes = crashes + ? WHERE id = ?",
            (not counted, reason, error, progress, crashes, row),
        )
        return self._put_back(row, due)

    def _put_back(self, row: int, due: float) -> State:
        """Make a delivery wait again: for its time, or behind an older one of its order key."""
        (state,) = self.db.execute(
            "UPDATE delivery SET due = ?1, state = CASE WHEN order_key IS NULL OR id = (SELECT min(o.id) "
            "FROM delivery o WHERE o.channel = delivery.channel AND o.order_key = delivery.order_key "
            "AND o.state < 4) THEN 1 ELSE 0 END WHERE id = ?2 RETURNING state",
            (due, row),
        ).fetchone()
        return State(state)

    # Looking

    @guarded
    def pending(self, channel: str, after: int, limit: int) -> list[tuple[int, int]]:
        """Return (row, seq) of unfinished deliveries, oldest first."""
        rows = self.db.execute(
            "SELECT id, seq FROM delivery WHERE channel = ? AND state < 4 AND id > ? ORDER BY id LIMIT ?",
            (channel, after, limit),
        )
        return rows.fetchall()

    @guarded
    def event(self, seq: int) -> NotificationEvent:
        """Return a stored event."""
        event = self._events.get(seq)
        if event is None:
            body = self.one("SELECT body FROM event WHERE seq = ?", seq)
            if body is None:
                raise StoreError(f"store {self.path}: event number {seq} is missing")
            event = unseal(body).event
            self._remember(seq, event)
        return event

    def _remember(self, seq: int, event: NotificationEvent) -> None:
        self._events[seq] = event
        if len(self._events) > CACHED_EVENTS:
            del self._events[next(iter(self._events))]

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
        rows = self.db.execute(
            "SELECT channel, sum(state < 4), sum(state = 5) FROM delivery WHERE state <> 4 GROUP BY channel"
        )
        return {channel: (pending, dead) for channel, pending, dead in rows}


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


def _digest(event: NotificationEvent) -> bytes:
    """Return what makes a repetition the same event: all of it but the time.

    A sender that leaves the time to us and tries again sends another one with the same id.
    """
    timeless = msgspec.structs.replace(event, timestamp=_NO_TIME)
    return sha256(msgspec.json.encode(timeless, order="deterministic")).digest()


def _packed(progress: dict[str, Any]) -> bytes | None:
    return msgspec.json.encode(progress) if progress else None
