"""Accepting events into the SQLite store, each once."""

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from knell.deliveries import Route
from knell.events import NotificationEvent
from knell.store.contract import REMEMBERED, Accepted, Conflict, Submission
from knell.store.file import guarded
from knell.store.rows import Rows

_NO_TIME = datetime.fromtimestamp(0, UTC)


class Intake(Rows):
    """The accepting part. `remember`: seconds for which a key counts as seen."""

    def __init__(self, path: str, remember: float = REMEMBERED) -> None:
        super().__init__(path)
        self._remember = remember
        self._next_seq = 1

    @guarded
    def append(self, submission: Submission, now: float) -> Accepted | Conflict:
        """Take in an event and all its deliveries."""
        digest, keys = _digest(submission.sealed.event), submission.keys
        if len(keys) == 1 and not submission.similar and self._first(keys[0], digest, now):
            return self._accept(submission, now)
        for key in keys:
            if known := self._known(key, digest, now):
                return known
        stands = self._stands_for(submission, now)
        seq = self._next_seq if stands is None else stands
        self.db.executemany(
            "INSERT OR REPLACE INTO key VALUES (?, ?, ?, ?)",
            [(key, seq, digest, now) for key in keys],
        )
        if stands is not None:
            return Accepted(stands, duplicate=True)
        return self._accept(submission, now)

    def _first(self, key: str, digest: bytes, now: float) -> bool:
        """Note a key that was never seen, as nearly every one: one statement, not two."""
        noted = self.db.execute(
            "INSERT OR IGNORE INTO key VALUES (?, ?, ?, ?)", (key, self._next_seq, digest, now)
        )
        return noted.rowcount == 1

    def _accept(self, submission: Submission, now: float) -> Accepted:
        """Add the event whose keys are noted under the next number."""
        seq = self._next_seq
        self._next_seq += 1
        self._insert_event(seq, submission, now)
        self.insert(seq, submission.routes, submission.order_key)
        return Accepted(seq)

    def _known(self, key: str, digest: bytes, now: float) -> Accepted | Conflict | None:
        found = self.db.execute(
            "SELECT seq, sha FROM key WHERE key = ? AND at > ?", (key, now - self._remember)
        ).fetchone()
        if found is None:
            return None
        seq, sha = found
        return Accepted(seq, duplicate=True) if sha == digest else Conflict(key)

    def _stands_for(self, submission: Submission, now: float) -> int | None:
        """Return the event that is similar and not too old to stand for this one."""
        if not submission.similar:
            return None
        seq: int | None = self.one(
            "SELECT seq FROM event WHERE similar = ? AND similar <> '' AND accepted > ? "
            "ORDER BY seq DESC LIMIT 1",
            submission.similar,
            now - submission.window,
        )
        return seq

    def _insert_event(self, seq: int, submission: Submission, now: float) -> None:
        event, body = submission.sealed.event, submission.sealed.body
        self.db.execute(
            "INSERT INTO event (seq, id, type, severity, accepted, body, suppressed, similar, bare) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(seq, event.event_id, event.event_type, event.severity, now, body),
                msgspec.json.encode(submission.suppressed),
                submission.similar,
                not submission.routes,
            ),
        )
        self._events.put(seq, event, len(body))

    @guarded
    def add_routes(self, seq: int, routes: Iterable[Route], order_key: str) -> tuple[Route, ...]:
        """Add deliveries to an event that is stored."""
        if self.one("SELECT 1 FROM event WHERE seq = ?", seq) is None:
            return ()
        present = self.db.execute("SELECT channel FROM delivery WHERE seq = ?", (seq,))
        have = {channel for (channel,) in present}
        new = tuple(route for route in routes if route.channel not in have)
        if new:
            self.db.execute("UPDATE event SET bare = 0 WHERE seq = ? AND bare = 1", (seq,))
            self.insert(seq, new, order_key)
        return new


def _digest(event: NotificationEvent) -> bytes:
    """Return what makes a repetition the same event: all of it but the time.

    A sender that leaves the time to us and tries again sends another one with the same id.
    """
    timeless = msgspec.structs.replace(event, timestamp=_NO_TIME)
    return sha256(msgspec.json.encode(timeless, order="deterministic")).digest()
