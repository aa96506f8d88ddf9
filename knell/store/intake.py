"""Accepting events into the SQLite store, each once."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from knell.deliveries import Route
from knell.events import NotificationEvent
from knell.store.cache import Kept
from knell.store.contract import REMEMBERED, Accepted, Conflict, Submission
from knell.store.file import guarded
from knell.store.rows import Rows

_NO_TIME = datetime.fromtimestamp(0, UTC)

_SAME = b""
"""Stands for the digest of an event's own id: it means what is stored with the event, so nobody computes it
until the id comes again."""

_NONE = bytearray(b"{}")
_OWN_KEY = "INSERT OR REPLACE INTO key (key, seq, at, sha) VALUES "
_OTHER_KEY = "INSERT OR REPLACE INTO key (key, seq, at, sha) VALUES "
_EVENT = "INSERT INTO event (seq, accepted, id, type, severity, body, suppressed, similar, bare) VALUES "


class _Fresh:
    """Rows of events that are accepted and not written yet: a statement for all of them costs a fraction."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.own_keys: list[str | int | float] = []
        self.other_keys: list[str | int | float | bytearray] = []
        self.events: list[str | int | float | bytearray] = []
        self.deliveries: list[tuple[int, Iterable[Route], str]] = []


class Intake(Rows):
    """The accepting part. `remember`: seconds for which a key counts as seen."""

    def __init__(self, path: str, remember: float = REMEMBERED) -> None:
        super().__init__(path)
        self._remember = remember
        self._next_seq = 1

    @guarded
    def append(self, submissions: Sequence[Submission], now: float) -> list[Accepted | Conflict]:
        """Take in events and all their deliveries."""
        seen, fresh = self._seen(submissions, now), _Fresh(now)
        answers = [self._append(submission, seen, fresh) for submission in submissions]
        self._write(fresh)
        return answers

    def _seen(self, submissions: Sequence[Submission], now: float) -> dict[str, tuple[int, bytes]]:
        """Return which keys count as seen, with the event each belongs to and its digest."""
        keys = msgspec.json.encode([key for submission in submissions for key in submission.keys]).decode()
        found = self.db.execute(
            "SELECT key, seq, sha FROM key WHERE key IN (SELECT value FROM json_each(?)) AND at > ?",
            (keys, now - self._remember),
        )
        return {key: (seq, sha) for key, seq, sha in found}

    def _append(
        self, submission: Submission, seen: dict[str, tuple[int, bytes]], fresh: _Fresh
    ) -> Accepted | Conflict:
        event = submission.sealed.event
        for key in submission.keys:
            if (found := seen.get(key)) is not None:
                self._write(fresh)  # it may be the same as one of these
                return Accepted(found[0], duplicate=True) if self._is(event, *found) else Conflict(key)
        stands = self._stands_for(submission, fresh) if submission.similar else None
        seq = self._next_seq if stands is None else stands
        for key in submission.keys:
            if stands is None and key == event.event_id:
                seen[key] = seq, _SAME
                fresh.own_keys += (key, seq, fresh.now)
            else:
                seen[key] = seq, _digest(event)
                fresh.other_keys += (key, seq, fresh.now, bytearray(seen[key][1]))
        if stands is not None:
            return Accepted(stands, duplicate=True)
        self._next_seq += 1
        self._add(seq, submission, fresh)
        return Accepted(seq)

    def _is(self, event: NotificationEvent, seq: int, sha: bytes) -> bool:
        """Say whether an event is the one that a key was noted for."""
        return _digest(event) == (sha or _digest(self.event(seq)))

    def _stands_for(self, submission: Submission, fresh: _Fresh) -> int | None:
        """Return the event that is similar and not too old to stand for this one."""
        self._write(fresh)  # it may be one of these
        seq: int | None = self.one(
            "SELECT seq FROM event WHERE similar = ? AND similar <> '' AND accepted > ? "
            "ORDER BY seq DESC LIMIT 1",
            submission.similar,
            fresh.now - submission.window,
        )
        return seq

    def _add(self, seq: int, submission: Submission, fresh: _Fresh) -> None:
        event, body, now = submission.sealed.event, submission.sealed.body, fresh.now
        suppressed = bytearray(msgspec.json.encode(submission.suppressed)) if submission.suppressed else _NONE
        fresh.events += (
            seq,
            now,
            event.event_id,
            str(event.event_type),  # plain, not an enum: see `insert_all`
            str(event.severity),
            bytearray(body),
            suppressed,
            submission.similar,
            0 if submission.routes else 1,
        )
        fresh.deliveries.append((seq, submission.routes, submission.order_key))
        self._events.put(seq, Kept(event, now, len(body)))

    def _write(self, fresh: _Fresh) -> None:
        """Write what is fresh, which it is not any more."""
        if not (fresh.events or fresh.other_keys):
            return
        self.insert_all(_OWN_KEY, "(?, ?, ?, x'')", fresh.own_keys)
        self.insert_all(_OTHER_KEY, "(?, ?, ?, ?)", fresh.other_keys)
        self.insert_all(_EVENT, "(?, ?, ?, ?, ?, ?, ?, ?, ?)", fresh.events)
        self.insert(fresh.deliveries)
        for rows in (fresh.own_keys, fresh.other_keys, fresh.events, fresh.deliveries):
            rows.clear()

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
            self.insert([(seq, new, order_key)])
        return new


def _digest(event: NotificationEvent) -> bytes:
    """Return what makes a repetition the same event: all of it but the time.

    A sender that leaves the time to us and tries again sends another one with the same id.
    """
    timeless = msgspec.structs.replace(event, timestamp=_NO_TIME)
    return sha256(msgspec.json.encode(timeless, order="deterministic")).digest()
