"""Files of older versions, and what the database does for the statements that must stay fast."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from knell.deliveries import Again, Done
from knell.events import NotificationEvent, seal
from knell.messages import Reason
from knell.store.contract import Accepted, Conflict, State
from knell.store.intake import _digest  # pyright: ignore[reportPrivateUsage]
from knell.store.reader import SqliteReader
from knell.store.records import Selection
from knell.store.schema import _V1, _V2, _V3, VERSION  # pyright: ignore[reportPrivateUsage]
from knell.store.sqlite import SqliteStore
from tests.store.steps import (
    NOW,
    Submit,
    accept,
    expire,
    fetch,
    ids,
    let_die,
    prune,
    recover,
    send,
    settle,
    start,
)

# Version 1


def _event(connection: sqlite3.Connection, seq: int, event_id: str) -> None:
    event = NotificationEvent(event_type="job_failed", source="s", title=event_id, event_id=event_id)
    row = (seq, event_id, "job_failed", "info", NOW + seq, seal(event).body, b"{}")
    connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("INSERT INTO key VALUES (?, ?, ?, ?)", (event_id, seq, b"sha", NOW + seq))


def _delivery(connection: sqlite3.Connection, seq: int, state: int, key: str | None, reason: str) -> None:
    finished = NOW + 100 if state >= State.DONE else None
    connection.execute(
        "INSERT INTO delivery (seq, channel, order_key, state, attempts, reason, finished) "
        "VALUES (?, 'slack', ?, ?, 1, ?, ?)",
        (seq, key, state, reason, finished),
    )


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file as version 1 wrote it, of a process that died over one delivery and had sent two."""
    path = tmp_path / "knell.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_V1 + "PRAGMA user_version = 1;")
        for seq, event_id in enumerate(("done", "dead", "sending", "waiting", "nowhere"), 1):
            _event(connection, seq, event_id)
        _delivery(connection, 1, State.DONE, None, "delivered")
        _delivery(connection, 2, State.DEAD, None, "refused")
        _delivery(connection, 3, State.SENDING, "job", "")
        _delivery(connection, 4, State.WAITING, "job", "")
        attempts = [(1, 1, NOW, 5, "delivered", ""), (2, 1, NOW, 7, "refused", "no")]
        connection.executemany("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?)", attempts)
        connection.commit()
    return path


def test_a_file_of_version_1_is_brought_up_to_date(old: Path) -> None:
    """Nothing in it is lost, and every promise holds afterwards."""
    store = SqliteStore(str(old))
    store.open()
    assert store.one("PRAGMA user_version") == VERSION
    assert store.counts() == {"slack": (2, 1)}
    assert recover(store) == 1
    reader = SqliteReader(str(old))
    assert reader.check() == []
    assert [record.event_id for record in reader.deliveries(Selection())] == [
        "waiting",
        "sending",
        "dead",
        "done",
    ]
    history = [detail.attempts for n in ("done", "dead") if (detail := reader.delivery(f"{n}:slack"))]
    assert [(a.outcome, a.reason, a.milliseconds) for attempts in history for a in attempts] == [
        ("delivered", "delivered", 5),
        ("", "refused", 7),
    ]
    assert ids(fetch(store)) == ["sending"]
    reader.close()
    store.close()


def test_what_version_1_knew_is_forgotten_in_time(old: Path, submit: Submit) -> None:
    """Its keys count, its dead letters are kept, and its events go with their deliveries."""
    store = SqliteStore(str(old))
    store.open()
    while prune(store, done_before=NOW + 1000, keys_before=NOW + 1000):
        continue
    reader = SqliteReader(str(old))
    assert [reader.status(name) is None for name in ("done", "nowhere", "dead", "waiting")] == [
        True,
        True,
        False,
        False,
    ]
    assert accept(store, submit("new", "slack")) == [Accepted(6)]
    assert reader.check() == []
    reader.close()
    store.close()


def test_an_id_of_version_3_is_known_again(tmp_path: Path, submit: Submit) -> None:
    """By the digest that it had then; and it goes with its event."""
    path = tmp_path / "knell.db"
    told = submit("old", "slack")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_V1 + _V2 + _V3 + "PRAGMA user_version = 3;")
        event = (1, "old", "job_failed", "info", NOW, told.sealed.body, b"{}", "", 1)
        connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", event)
        key = ("old", 1, _digest(told.sealed.event), NOW)
        connection.execute("INSERT INTO key VALUES (?, ?, ?, ?)", key)
        connection.commit()
    store = SqliteStore(str(path))
    store.open()
    assert accept(store, told, submit("old", "slack", title="other")) == [
        Accepted(1, duplicate=True),
        Conflict("old"),
    ]
    while prune(store, done_before=NOW + 1, keys_before=NOW + 1):
        continue
    assert store.one("SELECT count(*) FROM event") == store.one("SELECT count(*) FROM key") == 0
    store.close()


def test_a_file_is_brought_up_to_date_whole_or_not_at_all(old: Path) -> None:
    """A step that fails leaves it as it was."""
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE audit (mine)")
    store = SqliteStore(str(old))
    with pytest.raises(Exception, match="audit already exists"):
        store.open()
    store.close()
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert "similar" not in [row[1] for row in connection.execute("PRAGMA table_info(event)")]


# Plans

_TABLES = r"SCAN (delivery|event|key|attempt|audit|d|e|k|o)\b"


def _plans(store: SqliteStore, work: Callable[[], Any]) -> list[str]:
    """Return how the database goes about each statement of some work."""
    statements: list[str] = []
    store.db.set_trace_callback(statements.append)
    work()
    store.db.set_trace_callback(None)
    return [
        row[3]
        for statement in statements
        if statement.startswith(("SELECT", "UPDATE", "INSERT", "DELETE"))
        for row in store.db.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]


@pytest.fixture
def busy(tmp_path: Path, submit: Submit) -> SqliteStore:
    """A store with something of everything."""
    store = SqliteStore(str(tmp_path / "knell.db"))
    store.open()
    let_die(store, submit("dead", "slack"))
    accept(store, *(submit(f"a{n}", "slack", order_key="a") for n in range(9)), submit("b", "slack"))
    (_, b) = fetch(store)
    start(store, b)
    settle(store, b, Again(Reason.TIMEOUT, 60.0))
    return store


def _whole_life(store: SqliteStore, submit: Submit) -> None:
    """Do all that happens to an event, and what happens when nothing does."""
    accept(store, submit("c", "slack", order_key="a", similar="x", window=9.0))
    batch = fetch(store, chain=3)
    start(store, *batch)
    for delivery in batch:
        settle(store, delivery, Again(Reason.TIMEOUT, 0.0))
    send(store, Done())
    expire(store, NOW - 1)
    prune(store, NOW - 1, NOW - 1, NOW - 1)
    store.next_due("slack")
    store.pending("slack", 3, 2)
    store.results(3)


def test_no_hot_statement_looks_at_every_row(busy: SqliteStore, submit: Submit) -> None:
    """With a million deliveries pending it would take a second, and everybody else waits for it."""
    plans = _plans(busy, lambda: _whole_life(busy, submit))
    assert len(plans) > 30
    assert [plan for plan in plans if re.search(_TABLES, plan)] == []
    busy.close()


def test_a_start_looks_at_small_indexes_only(busy: SqliteStore) -> None:
    """What was under way, what is deferred, and a count of what is pending; no table."""

    def reopen() -> None:
        recover(busy)
        busy.counts()

    scans = {plan for plan in _plans(busy, reopen) if re.search(_TABLES, plan)}
    assert scans == {
        "SCAN delivery USING INDEX delivery_sending",
        "SCAN delivery USING INDEX delivery_deferred",
        "SCAN delivery USING COVERING INDEX delivery_dead",
        "SCAN delivery USING COVERING INDEX delivery_open",
    }
    busy.close()


def test_the_highest_numbers_are_found_without_a_search(busy: SqliteStore) -> None:
    """They are the last rows."""
    for column, table in (("seq", "event"), ("id", "delivery")):
        (row,) = busy.db.execute(f"EXPLAIN QUERY PLAN SELECT max({column}) FROM {table}")  # noqa: S608
        assert row[3] == f"SEARCH {table}"
    busy.close()


def test_a_plan_that_scans_would_be_seen(busy: SqliteStore) -> None:
    """The test above must be able to fail."""
    plans = _plans(busy, lambda: busy.one("SELECT count(*) FROM delivery WHERE error = 'x'"))
    assert [plan for plan in plans if re.search(_TABLES, plan)] == ["SCAN delivery"]
    busy.close()
