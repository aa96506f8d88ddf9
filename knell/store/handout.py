"""Handing deliveries of the SQLite store out to channels, and writing down how their attempts ended."""

from typing import Any

import msgspec

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Settlement, Verdict
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry
from knell.store.contract import Settled, State
from knell.store.file import guarded
from knell.store.rows import Rows, listed

CRASH_LIMIT = 3
"""Deaths of the process over one delivery before it is quarantined."""

PROMOTED = 1000
"""Deferred deliveries that become ready in one call: thousands may be due after a stop of hours."""

_SELECT = (
    "SELECT d.id, d.seq, d.order_key, d.attempts, d.crashes, d.rule, d.progress, e.accepted "
    "FROM delivery d JOIN event e ON e.seq = d.seq "
)
_DONE = (
    "UPDATE delivery SET state = 4, reason = ?, error = '', finished = ?, receipt = ? "
    "WHERE id = ? AND state = 3 RETURNING seq, attempts, channel, order_key"
)
_START = "UPDATE delivery SET state = 3, attempts = attempts + 1 WHERE id = ?"

_UNKNOWN = "unknown"


class Handout(Rows):
    """The part that channels use, through the outbox."""

    @guarded
    def recover(self, now: float, latest: float) -> int:
        """Put back what a dead process was sending: its outcome is unknown."""
        rows = self.db.execute(
            "SELECT id, crashes FROM delivery INDEXED BY delivery_sending WHERE state = 3 ORDER BY id"
        ).fetchall()
        for row, crashes in rows:
            error = "the process died over it"
            self._note_attempt(row, now, 0.0, _UNKNOWN, Reason.CRASHED, error)
            self.db.execute("UPDATE delivery SET crashes = crashes + 1 WHERE id = ?", (row,))
            if crashes + 1 >= CRASH_LIMIT:
                self.finish(row, State.DEAD, Reason.CRASHED, error, now)
            else:
                self.put_back(row, 0.0, now)
        for index, state in (("delivery_deferred", "state = 1"), ("delivery_late", "state = 0 AND due > 0")):
            self.db.execute(
                f"UPDATE delivery INDEXED BY {index} SET due = ?1 WHERE {state} AND due > ?1",  # noqa: S608
                (latest,),
            )
        return len(rows)

    @guarded
    def fetch(
        self, channel: str, limit: int, chain: int, held: frozenset[int], now: float
    ) -> tuple[Delivery, ...]:
        """Return deliveries that may go now, oldest first."""
        self.db.execute(
            "UPDATE delivery SET state = 2 WHERE id IN (SELECT id FROM delivery "
            "WHERE channel = ? AND state = 1 AND due <= ? ORDER BY due LIMIT ?)",
            (channel, now, PROMOTED),
        )
        heads = self.db.execute(
            f"{_SELECT} WHERE d.channel = ? AND d.state = 2 "  # noqa: S608 - no text but our own
            "AND d.id NOT IN (SELECT value FROM json_each(?)) ORDER BY d.id LIMIT ?",
            (channel, listed(held), limit),
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
            _SELECT + "WHERE d.channel = ? AND d.order_key = ? AND d.id > ? AND d.finished IS NULL "
            "AND d.state = 0 ORDER BY d.id LIMIT ?",
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
        count: int = self.one(
            "SELECT count(*) FROM delivery d WHERE id IN (SELECT value FROM json_each(?1)) AND (state = 2 "
            "OR (state = 0 AND NOT EXISTS (SELECT 1 FROM delivery o WHERE o.channel = d.channel AND "
            "o.order_key = d.order_key AND o.finished IS NULL AND (o.state = 3 OR o.id < d.id "
            "AND o.id NOT IN (SELECT value FROM json_each(?1))))))",
            listed(rows),
        )
        return count == len(rows)

    @guarded
    def settle(self, settlement: Settlement, now: float) -> Settled | None:
        """Write down how an attempt ended."""
        row, verdict = settlement.delivery.row, settlement.verdict
        if isinstance(verdict, Done):
            return self._settle_done(row, verdict, settlement, now)
        found = self.db.execute(
            "SELECT seq, attempts, crashes FROM delivery WHERE id = ? AND state = 3", (row,)
        ).fetchone()
        if found is None:
            return None
        seq, attempts, crashes = found
        reason, detail = _why(verdict)
        self._note_attempt(row, now, settlement.elapsed, _word(settlement), reason, detail)
        match verdict:
            case Dead(_, _, progress):
                state = self.finish(row, State.DEAD, reason, detail, now, progress=_packed(progress))
            case Crashed(limit) if crashes + 1 >= limit:
                state = self.finish(row, State.DEAD, reason, detail, now, crashes=1)
            case Crashed():
                state = self._defer(row, now, now, verdict, crashes=1)
            case Again(_, delay, counted):
                attempts -= not counted
                state = self._defer(row, now + delay, now, verdict)
        return Settled(seq, state, attempts)

    def _settle_done(self, row: int, done: Done, settlement: Settlement, now: float) -> Settled | None:
        """Write down a success: nearly every attempt is one, so it takes as few statements as can be."""
        receipt = None if done.receipt is None else msgspec.json.encode(done.receipt)
        found = self.db.execute(_DONE, (Reason.DELIVERED, now, receipt, row)).fetchone()
        if found is None:
            return None
        seq, attempts, channel, order_key = found
        self._note_attempt(row, now, settlement.elapsed, _word(settlement), Reason.DELIVERED, "")
        self.release(channel, order_key, now)
        return Settled(seq, State.DONE, attempts)

    def _defer(
        self, row: int, due: float, now: float, verdict: Again | Crashed, *, crashes: int = 0
    ) -> State:
        uncounted = isinstance(verdict, Again) and not verdict.counted
        progress = _packed(verdict.progress) if isinstance(verdict, Again) else None
        self.db.execute(
            "UPDATE delivery SET attempts = attempts - ?, reason = ?, error = ?, "
            "progress = coalesce(?, progress), crashes = crashes + ? WHERE id = ?",
            (uncounted, verdict.reason, verdict.detail, progress, crashes, row),
        )
        return self.put_back(row, due, now)

    def _note_attempt(
        self, row: int, at: float, elapsed: float, outcome: str, reason: Reason, error: str
    ) -> None:
        """Write down one attempt; they are numbered as they came, whatever counts against the retries."""
        self.db.execute(
            "INSERT INTO attempt (delivery, n, at, ms, outcome, reason, error) VALUES (?1, 1 + coalesce("
            "(SELECT n FROM attempt WHERE delivery = ?1 ORDER BY n DESC LIMIT 1), 0), ?2, ?3, ?4, ?5, ?6)",
            (row, at, round(elapsed * 1000), outcome, reason, error),
        )


def _why(verdict: Verdict) -> tuple[Reason, str]:
    return (Reason.DELIVERED, "") if isinstance(verdict, Done) else (verdict.reason, verdict.detail)


def _word(settlement: Settlement) -> str:
    """Return the outcome of an attempt in a word; what the channel said is closer to it than the verdict."""
    match settlement.verdict:
        case Crashed():
            return "crashed"
        case Done():
            return "delivered"
        case verdict if settlement.outcome is not None:
            return _said(settlement.outcome)
        case verdict:
            return "rejected" if isinstance(verdict, Dead) else "retry"


def _said(outcome: Outcome) -> str:
    match outcome:
        case Delivered():
            return "delivered"
        case Retry():
            return "retry"
        case Rejected():
            return "rejected"
        case _:
            return _UNKNOWN


def _packed(progress: dict[str, Any]) -> bytes | None:
    return msgspec.json.encode(progress) if progress else None
