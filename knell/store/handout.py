"""Handing deliveries of the SQLite store out to channels, and writing down how their attempts ended."""

from collections.abc import Sequence
from typing import Any

import msgspec

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Settlement
from knell.messages import Delivered, Outcome, Reason, Rejected, Retry
from knell.store.contract import Settled, State
from knell.store.file import guarded
from knell.store.rows import Rows, listed

CRASH_LIMIT = 3
"""Deaths of the process over one delivery before it is quarantined."""

PROMOTED = 1000
"""Deferred deliveries that become ready in one call: thousands may be due after a stop of hours."""

_SELECT = "SELECT id, seq, order_key, attempts, crashes, rule, progress FROM delivery "
_START = "UPDATE delivery SET state = 3, attempts = attempts + 1 WHERE id "
_DONE = (
    "UPDATE delivery SET state = 4, reason = 'delivered', error = '', finished = ?, success = value "
    "FROM json_each(?) AS j WHERE delivery.id = CAST(j.key AS INTEGER)"
)

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
            self._note_attempt(row, now, 0, _UNKNOWN, Reason.CRASHED, error)
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
            _SELECT + "WHERE channel = ? AND state = 2 "  # noqa: S608 - no text but our own
            "AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
            (channel, listed(held), limit),
        ).fetchall()
        rows: list[tuple[Any, ...]] = []
        for head in heads:
            rows.append(head)
            if chain > 1 and head[2] is not None:
                rows += self._followers(channel, head[2], head[0], chain - 1, held)
        return self._deliveries(channel, rows)

    def _followers(
        self, channel: str, order_key: str, after: int, limit: int, held: frozenset[int]
    ) -> list[tuple[Any, ...]]:
        rows = self.db.execute(
            _SELECT + "WHERE channel = ? AND order_key = ? AND id > ? AND finished IS NULL "
            "AND state = 0 ORDER BY id LIMIT ?",
            (channel, order_key, after, limit),
        ).fetchall()
        return [row for row in rows if row[0] not in held]

    def _deliveries(self, channel: str, rows: list[tuple[Any, ...]]) -> tuple[Delivery, ...]:
        events = self.kept([row[1] for row in rows])
        return tuple(
            Delivery(
                row=id_,
                event=events[seq].event,
                channel=channel,
                order_key=order_key or f"#{id_}",
                attempts=attempts,
                crashes=crashes,
                accepted=events[seq].accepted,
                rule=rule,
                progress=msgspec.json.decode(progress) if progress else {},
            )
            for id_, seq, order_key, attempts, crashes, rule, progress in rows
        )

    @guarded
    def next_due(self, channel: str) -> float | None:
        """Return when the next deferred delivery may go."""
        due: float | None = self.one("SELECT min(due) FROM delivery WHERE channel = ? AND state = 1", channel)
        return due

    @guarded
    def start(self, attempts: Sequence[Attempt]) -> list[bool]:
        """Note that attempts begin."""
        alone = [attempt.deliveries[0].row for attempt in attempts if len(attempt.deliveries) == 1]
        rows = self.db.execute(
            _START + "IN (SELECT value FROM json_each(?)) AND state = 2 RETURNING id",  # noqa: S608
            (listed(alone),),
        )
        started = {row for (row,) in rows.fetchall()}
        return [self._start(attempt, started) for attempt in attempts]

    def _start(self, attempt: Attempt, started: set[int]) -> bool:
        """Note what has not been started with the others: a batch, and what was begun before."""
        deliveries = attempt.deliveries
        if len(deliveries) == 1 and (row := deliveries[0].row) in started:
            started.remove(row)
            return True
        rows = attempt.rows
        if len(rows) == 1 or not self._may_go(rows):
            return self._started_before(attempt)
        self.db.executemany(_START + "= ?", [(row,) for row in rows])
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
    def settle(self, settlements: Sequence[Settlement], now: float) -> list[Settled | None]:
        """Write down how attempts ended."""
        marked = listed(settlement.delivery.row for settlement in settlements)
        sending = {
            row[0]: row
            for row in self.db.execute(
                "SELECT id, seq, attempts, crashes, channel, order_key FROM delivery "
                "WHERE id IN (SELECT value FROM json_each(?)) AND state = 3",
                (marked,),
            ).fetchall()
        }
        found = [sending.pop(settlement.delivery.row, None) for settlement in settlements]
        self._finish_done(settlements, found, now)
        return [
            None if row is None else self._settle(settlement, row, now)
            for settlement, row in zip(settlements, found, strict=True)
        ]

    def _finish_done(
        self, settlements: Sequence[Settlement], found: Sequence[tuple[Any, ...] | None], now: float
    ) -> None:
        """Write down all successes in one statement: nearly every attempt is one.

        The attempt of a success is no row of its own: all there is to know of it stands with the delivery.
        """
        done = {
            str(row[0]): _success(settlement.elapsed, settlement.verdict)
            for settlement, row in zip(settlements, found, strict=True)
            if row is not None and isinstance(settlement.verdict, Done)
        }
        if done:
            self.db.execute(_DONE, (now, msgspec.json.encode(done).decode()))

    def _settle(self, settlement: Settlement, found: tuple[Any, ...], now: float) -> Settled:
        row, seq, attempts, crashes, channel, order_key = found
        verdict = settlement.verdict
        if isinstance(verdict, Done):
            self.release(channel, order_key, now)
            return Settled(seq, State.DONE, attempts)
        self._note_attempt(row, now, _ms(settlement), _word(settlement), verdict.reason, verdict.detail)
        match verdict:
            case Dead(reason, detail, progress):
                state = self.finish(row, State.DEAD, reason, detail, now, progress=_packed(progress))
            case Crashed(limit) if crashes + 1 >= limit:
                state = self.finish(row, State.DEAD, verdict.reason, verdict.detail, now, crashes=1)
            case Crashed():
                state = self._defer(row, now, now, verdict, crashes=1)
            case Again(_, delay, counted):
                attempts -= not counted
                state = self._defer(row, now + delay, now, verdict)
        return Settled(seq, state, attempts)

    def _defer(
        self, row: int, due: float, now: float, verdict: Again | Crashed, *, crashes: int = 0
    ) -> State:
        uncounted = isinstance(verdict, Again) and not verdict.counted
        progress = _packed(verdict.progress) if isinstance(verdict, Again) else None
        self.db.execute(
            "UPDATE delivery SET attempts = attempts - ?, reason = ?, error = ?, "
            "progress = coalesce(?, progress), crashes = crashes + ? WHERE id = ?",
            (uncounted, str(verdict.reason), verdict.detail, progress, crashes, row),
        )
        return self.put_back(row, due, now)

    def _note_attempt(self, row: int, at: float, ms: int, outcome: str, reason: Reason, error: str) -> None:
        """Write down one attempt; they are numbered as they came, whatever counts against the retries."""
        self.db.execute(
            "INSERT INTO attempt (delivery, n, at, ms, outcome, reason, error) VALUES (?1, 1 + coalesce("
            "(SELECT n FROM attempt WHERE delivery = ?1 ORDER BY n DESC LIMIT 1), 0), ?2, ?3, ?4, ?5, ?6)",
            (row, at, ms, outcome, str(reason), error),
        )


def _ms(settlement: Settlement) -> int:
    return round(settlement.elapsed * 1000)


def _success(elapsed: float, done: Done) -> str:
    return msgspec.json.encode((round(elapsed * 1000), done.receipt)).decode()


def _word(settlement: Settlement) -> str:
    """Return the outcome of an attempt in a word; what the channel said is closer to it than the verdict."""
    match settlement.verdict:
        case Crashed():
            return "crashed"
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
