import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Event
from typing import Any

import pytest

from knell.actors import outbox, router
from knell.actors.receipt import Receipt
from knell.errors import StoreError, SystemStopped
from knell.events import Sealed
from knell.http import events as module
from knell.store.reader import SqliteReader
from knell.store.sqlite import SqliteStore
from tests.puppets import PATIENCE
from tests.waiting import until

AT = "2026-01-31T12:00:00Z"


def test_an_accepted_event_is_on_disk(served: Any, event: dict[str, Any]) -> None:
    """Whoever gets the 202 may forget the event: it is committed."""
    reply = served.post(event)
    assert (reply.status, reply.json["duplicate"]) == (202, False)
    assert reply.headers["Location"] == f"/v1/events/{reply.json['id']}"
    rows = sqlite3.connect(served.store).execute("SELECT id, type FROM event").fetchall()
    assert rows == [(reply.json["id"], "job_failed")]


def test_the_answer_waits_for_the_commit(
    served: Any, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No 202 leaves before the transaction is durable."""
    order: list[str] = []
    commit = SqliteStore.commit

    def slow(store: SqliteStore) -> None:
        commit(store)
        order.append("committed")

    monkeypatch.setattr(SqliteStore, "commit", slow)
    assert served.post(event).status == 202
    assert order


def test_a_list_is_answered_in_its_order(served: Any, event: dict[str, Any]) -> None:
    """One id for each event, given or made."""
    reply = served.post([{**event, "event_id": f"e{number}"} for number in range(50)] + [event])
    assert reply.status == 202
    assert [item["id"] for item in reply.json["events"][:50]] == [f"e{number}" for number in range(50)]
    assert len(reply.json["events"]) == 51


def test_a_thousand_events_fit_in_a_request_and_one_more_does_not(served: Any, event: dict[str, Any]) -> None:
    """The bound of a list is a promise in both directions."""
    assert served.post([event] * 1000).status == 202
    reply = served.post([event] * 1001)
    assert (reply.status, reply.json["detail"]) == (413, "1001 events, 1000 at most")


def test_an_event_told_twice_is_accepted_once(served: Any, event: dict[str, Any]) -> None:
    """The same id and the same content: the first answer again, and no second event."""
    first = served.post({**event, "event_id": "build/7", "timestamp": AT})
    second = served.post({"title": "nightly", **event, "timestamp": AT, "event_id": "build/7"})
    assert [first.json, second.json] == [
        {"id": "build/7", "duplicate": False},
        {"id": "build/7", "duplicate": True},
    ]
    assert sqlite3.connect(served.store).execute("SELECT count(*) FROM event").fetchone() == (1,)


def test_a_repetition_may_leave_the_time_to_us(served: Any, event: dict[str, Any]) -> None:
    """A client that names an id, or sends a key, and no time repeats itself all the same."""
    for body, headers in (({**event, "event_id": "e1"}, {}), (event, {"Idempotency_Key": "k"})):
        replies = [served.post(body, **headers) for _ in range(2)]
        assert [reply.status for reply in replies] == [202, 202]
        assert [reply.json["duplicate"] for reply in replies] == [False, True]


def test_an_id_is_known_under_whatever_key(served: Any, event: dict[str, Any]) -> None:
    """A middleman that gives each try a key of its own doubles nothing."""
    body = {**event, "event_id": "e1", "timestamp": AT}
    replies = [served.post(body, Idempotency_Key=key) for key in ("a", "b")]
    assert [reply.json["duplicate"] for reply in replies] == [False, True]
    assert served.post(body).json["duplicate"] is True


def test_another_event_under_a_known_id_is_a_conflict(served: Any, event: dict[str, Any]) -> None:
    """An id never changes its meaning."""
    served.post({**event, "event_id": "e1"})
    reply = served.post({**event, "event_id": "e1", "title": "another"})
    assert (reply.status, reply.headers["Content-Type"]) == (409, "application/problem+json")
    assert reply.json["id"] == "e1"


def test_an_idempotency_key_gives_an_event_its_id(served: Any, event: dict[str, Any]) -> None:
    """A client that repeats a request without an id of its own gets the first answer."""
    body = {**event, "timestamp": AT}
    replies = [served.post(body, Idempotency_Key='"run 7"') for _ in range(2)]
    assert [reply.status for reply in replies] == [202, 202]
    assert replies[0].json["id"] == replies[1].json["id"]
    assert [reply.json["duplicate"] for reply in replies] == [False, True]
    assert served.post({**body, "title": "x"}, Idempotency_Key='"run 7"').status == 409
    assert served.post(body, Idempotency_Key="run 8").json["duplicate"] is False


def test_a_key_is_not_the_event_of_that_id(served: Any, event: dict[str, Any]) -> None:
    """Keys and ids are names of different things, whoever chose them."""
    assert served.post({**event, "event_id": "42"}).status == 202
    assert served.post(event, Idempotency_Key="42").status == 202


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ä"])
def test_a_malformed_key_is_refused(served: Any, event: dict[str, Any], key: str) -> None:
    """A key that a proxy might change or cut would not be one."""
    assert served.post(event, Idempotency_Key=key).status == 400


def test_a_key_is_for_one_event(served: Any, event: dict[str, Any]) -> None:
    """Which of several events it would mean, nobody knows."""
    assert served.post([event], Idempotency_Key="k").status == 400


def test_one_conflict_in_a_list_fails_no_other(served: Any, event: dict[str, Any]) -> None:
    """The request is refused, and says which events are accepted all the same."""
    served.post({**event, "event_id": "e1"})
    reply = served.post([{**event, "event_id": "e1", "title": "x"}, {**event, "event_id": "e2"}])
    assert reply.status == 409
    assert reply.json["events"] == [
        {"id": "e1", "accepted": False, "reason": "conflict"},
        {"id": "e2", "duplicate": False, "accepted": True},
    ]
    assert served.ask("GET", "/v1/events/e2").status == 200


@pytest.mark.parametrize("reason", ["mailbox_full", "store", "stopped", "crashed"])
def test_what_is_not_accepted_may_be_tried_again(
    served: Any, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """503 with a time and the id to repeat it with: nothing is lost, and nothing doubled."""

    def refuse(sealed: Sealed, *, key: str = "") -> Receipt:
        assert key == ""
        receipt = Receipt(sealed.event.event_id)
        receipt.refuse(reason)
        return receipt

    monkeypatch.setattr(served.manager, "submit", refuse)
    reply = served.post({**event, "event_id": "e1"})
    assert (reply.status, reply.headers["Retry-After"], reply.json["id"]) == (503, "2", "e1")
    assert reply.json["detail"].startswith("not known to be accepted: ")


def test_a_fork_of_the_service_takes_nothing(
    served: Any, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its actors live in another process: nobody would ever handle the event."""

    def forked(_sealed: Sealed, **_: str) -> Receipt:
        raise SystemStopped("this process is a fork")

    monkeypatch.setattr(served.manager, "submit", forked)
    reply = served.post(event)
    assert (reply.status, reply.json["detail"]) == (503, "this process is a fork")


def test_a_store_that_cannot_be_written_is_no_accepted_event(
    served: Any, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full, the answer 503; when it is not any more, events are taken again."""

    def fail(store: SqliteStore) -> None:
        store.rollback()
        raise StoreError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(SqliteStore, "commit", fail)
        assert served.post(event).status == 503
    assert served.post(event).status == 202


def test_a_disk_that_is_nearly_full_is_a_503_that_says_so(
    make: Callable[..., Any], event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is to send events here until there is room; then everything is as before, by itself."""
    monkeypatch.setattr(outbox, "LOOK", 0.005)
    free = [0.0]

    def left(_url: str) -> float:
        return free[0]

    served = make(free=left)
    reply = served.post({**event, "event_id": "e1"})
    assert (reply.status, reply.headers["Retry-After"], reply.json["id"]) == (503, "2", "e1")
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert "the disk of the store is full" in reply.json["detail"]
    probe = served.ask("GET", "/readyz")
    assert probe.status == 503
    assert probe.body == b"not ready: the disk of the store has 0 MiB left, store.min_free_mb is 128\n"
    assert served.ask("GET", "/livez").status == 200
    free[0] = float("inf")
    until(lambda: served.ask("GET", "/readyz").status == 200)
    assert served.post({**event, "event_id": "e1"}).status == 202


def test_a_store_that_cannot_keep_up_is_a_503_at_the_bound(
    make: Callable[..., Any], event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory ends at the bounds of router and outbox; what was taken is kept, what was refused is not."""
    monkeypatch.setattr(router, "MOST_UNCONFIRMED", 4)
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.0)
    stuck, go_on = Event(), Event()
    commit = SqliteStore.commit

    def slow(store: SqliteStore) -> None:
        if store.one("SELECT count(*) FROM event"):
            stuck.set()
            assert go_on.wait(PATIENCE)
        commit(store)

    monkeypatch.setattr(SqliteStore, "commit", slow)
    served = make(supervision={"children": {"router": {"mailbox": 3}}})
    cells = served.manager.system.root.children
    replies: list[Any] = []
    try:
        for number in range(200):
            replies.append(served.post({**event, "event_id": f"e{number}"}))
            if "too many events are waiting" in replies[-1].json["detail"]:
                break
        assert stuck.is_set()
        assert (replies[-1].status, replies[-1].headers["Retry-After"]) == (503, "2")
        assert cells["router"].mailbox.depth == 3
        assert cells["outbox"].mailbox.depth <= 4
    finally:
        go_on.set()
    until(lambda: cells["router"].mailbox.depth == 0)
    monkeypatch.setattr(module, "COMMIT_SECONDS", PATIENCE)
    assert served.post({**event, "event_id": "last"}).status == 202
    kept = {row[0] for row in sqlite3.connect(served.store).execute("SELECT id FROM event")}
    assert kept == {"last", *(reply.json["id"] for reply in replies[:-1])}


def test_a_commit_that_takes_too_long_is_no_accepted_event(
    served: Any, event: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client waits for a bounded time, and learns that nobody knows."""
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0.0)

    def undecided(sealed: Sealed, **_: str) -> Receipt:
        return Receipt(sealed.event.event_id)

    monkeypatch.setattr(served.manager, "submit", undecided)
    reply = served.post([event, {**event, "event_id": "e2"}])
    assert reply.status == 503
    assert reply.json["events"][1] == {"id": "e2", "accepted": False, "reason": "timeout"}


def test_the_status_names_every_channel(make: Callable[..., Any], event: dict[str, Any]) -> None:
    """Who got it, and why the others did not."""
    served = make(channels={"console": {}, "quiet": {"type": "console", "events": ["pr_created"]}})
    served.post({**event, "event_id": "a/b c".replace(" ", ":")})
    reply = served.ask("GET", "/v1/events/a/b:c")
    assert reply.status == 200
    assert (reply.json["notification_id"], reply.json["event_type"]) == ("a/b:c", "job_failed")
    assert [channel["channel"] for channel in reply.json["channels"]] == ["console"]
    assert reply.json["suppressed"] == {"quiet": "not_routed"}


def test_the_status_of_an_unknown_event_is_a_problem(served: Any) -> None:
    """404, as problem+json."""
    reply = served.ask("GET", "/v1/events/nobody")
    assert (reply.status, reply.headers["Content-Type"]) == (404, "application/problem+json")
    assert reply.json["detail"] == "no event 'nobody' was accepted"


def test_the_status_of_an_unreadable_store_is_a_503(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk error is no 404: the event may be there."""

    def fail(_reader: SqliteReader, _event_id: str) -> None:
        raise StoreError("disk I/O error")

    monkeypatch.setattr(SqliteReader, "status", fail)
    assert served.ask("GET", "/v1/events/e1").status == 503


def test_many_clients_at_once_lose_nothing(served: Any, event: dict[str, Any]) -> None:
    """Each of them gets its own answer, and each event is there."""
    ids = [f"e{number}" for number in range(200)]

    def tell(name: str) -> Any:
        return served.post({**event, "event_id": name})

    with ThreadPoolExecutor(16) as clients:
        replies = list(clients.map(tell, ids))
    assert [reply.json["id"] for reply in replies] == ids
    assert sqlite3.connect(served.store).execute("SELECT count(*) FROM event").fetchone() == (200,)


def test_a_connection_serves_many_requests(served: Any) -> None:
    """Keep-alive works, also after a refusal."""
    connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
    statuses: list[int] = []
    for body in (b"{}", b"nonsense", b'{"event_type": "a", "source": "b", "title": "c"}'):
        connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [422, 400, 202]
