"""Deliveries over HTTP: what is there, what happened to it, and what an operator does about it."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from knell.messages import DeliveryState
from knell.store.records import Selection
from tests.puppets import PATIENCE
from tests.rogues import Stage, event

PATH = "/v1/deliveries"
ODD = "job/42:a@b+c=d/x"


class Ward:
    """A served system with two channels, `a` and `b`, whose provider refuses until it is healed."""

    def __init__(self, served: Any, stage: Stage) -> None:
        self.served = served
        self.stage = stage

    def kill(self, *ids: str, **fields: Any) -> None:
        """Tell of events with these ids, and wait until all their deliveries are dead."""
        receipts = [self.served.manager.notify(event(id_, event_id=id_, **fields)) for id_ in ids]
        for receipt in receipts:
            assert [result.success for result in receipt.results(PATIENCE)] == [False, False]

    def heal(self) -> None:
        """Let the provider work again."""
        self.stage.failing.clear()

    def get(self, path: str = "", status: int = 200, **more: str) -> Any:
        """Ask for deliveries."""
        return self.ask("GET", path, None, status, **more)

    def ask(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """Send a request and return the JSON of its answer."""
        reply = self.served.ask(method, PATH + path, body, **headers)
        assert reply.status == status, reply.body
        kind = "application/json" if status == 200 else "application/problem+json"
        assert reply.headers["Content-Type"].startswith(kind)
        return reply.json

    def metric(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric."""
        found: float | None = self.served.manager.registry.get_sample_value(name, labels)
        return found


@pytest.fixture
def ward(make: Callable[..., Any], stage: Stage) -> Ward:
    """A ward whose provider refuses."""
    stage.failing.set()
    sections = {name: stage.section() for name in ("a", "b")}
    return Ward(make(channels=sections, retry_policy={"max_retries": 0}), stage)


def ids(answer: Any) -> list[str]:
    """Return whose deliveries are listed."""
    return [found["id"] for found in answer["deliveries"]]


# Looking


def test_deliveries_are_listed_a_page_at_a_time(ward: Ward) -> None:
    """Youngest first; `next` leads on and is null at the end; the whole is counted when asked for."""
    assert ward.get() == {"deliveries": [], "next": None}
    ward.kill("e1", "e2", "e3")
    first = ward.get("?limit=4&count=true")
    assert ids(first) == ["e3:b", "e3:a", "e2:b", "e2:a"]
    assert first["total"] == 6
    rest = ward.get(f"?limit=4&cursor={first['next']}")
    assert ids(rest) == ["e1:b", "e1:a"]
    assert (rest["next"], "total" in rest) == (None, False)
    assert ward.get("?limit=6")["next"] is None
    found = first["deliveries"][0]
    assert (found["state"], found["reason"], found["error"], found["title"]) == (
        *("dead", "server_error", "down", "e3"),
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=dead", ["e2:b", "e2:a", "e1:b", "e1:a"]),
        ("state=done", []),
        ("channel=a", ["e2:a", "e1:a"]),
        ("event_type=pr_created&channel=b", ["e2:b"]),
        ("reason=server_error&event_type=job_failed", ["e1:b", "e1:a"]),
        ("reason=refused", []),
        ("since=1h&channel=a", ["e2:a", "e1:a"]),
        ("until=1h", []),
        ("since=2100-01-31T12:00:00%2B09:00", []),
    ],
)
def test_every_filter_counts(ward: Ward, query: str, found: list[str]) -> None:
    """Together they narrow; times are RFC 3339 or ages."""
    ward.kill("e1")
    ward.kill("e2", event_type="pr_created")
    assert ids(ward.get(f"?{query}")) == found


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("state=deadly", "state", "expected one of pending, sending, done, dead, cancelled, expired"),
        ("reason=x", "reason", "expected one of delivered, timeout"),
        ("chanel=a", "chanel", "is no filter, did you mean 'channel'?"),
        ("channel=", "channel", "expected the name of a channel"),
        ("channel=%FF", "channel", "expected the name of a channel"),
        ("since=yesterday", "since", "expected a time such as 2026-01-31T12:00:00Z (RFC 3339), or an age"),
        ("cursor=x", "cursor", "expected the 'next' of the page before"),
        (f"cursor={'9' * 19}", "cursor", "expected the 'next' of the page before"),
        ("limit=0", "limit", "expected a number from 1 to 1000"),
        ("limit=1001", "limit", "expected a number from 1 to 1000"),
        ("limit=%D9%A3", "limit", "expected a number from 1 to 1000"),
        ("count=yes", "count", "expected true or false"),
        ("state=dead&state=done", "state", "is given twice"),
    ],
)
def test_a_wrong_filter_is_refused_by_its_name(ward: Ward, query: str, field: str, message: str) -> None:
    """422, with what would be right; nothing is left out in silence."""
    (error,) = ward.get(f"?{query}", 422)["errors"]
    assert error["field"] == field
    assert error["message"].startswith(message)


def test_all_mistakes_are_told_at_once(ward: Ward) -> None:
    """Whoever mends one should not meet the next."""
    problem = ward.get("?limit=x&since=x&x=1", 422)
    assert {error["field"] for error in problem["errors"]} == {"limit", "since", "x"}
    assert problem["detail"].endswith("; and 2 more")


def test_one_delivery_is_shown_with_its_history(ward: Ward) -> None:
    """The event as it was told, and every attempt with time, outcome, reason and error."""
    ward.kill("e1", metadata={"n": 1})
    found = ward.get("/e1:a")
    assert found.keys() == {"delivery", "event", "rule", "attempts"}
    assert (found["delivery"]["id"], found["event"]["metadata"]) == ("e1:a", {"n": 1})
    (attempt,) = found["attempts"]
    assert (attempt["number"], attempt["outcome"], attempt["reason"], attempt["error"]) == (
        *(1, "retry", "server_error", "down"),
    )


@pytest.mark.parametrize("path", ["/e1", "/e1:c", "/nobody:a", "/%20", "/%ED%A0%80:a", "/" + "x" * 301])
def test_what_is_not_there_is_not_found(ward: Ward, path: str) -> None:
    """404 for every way to ask for it."""
    ward.kill("e1")
    assert "no" in ward.get(path, 404)["detail"]
    ward.ask("DELETE", path, status=404)
    ward.ask("POST", f"{path}/replay", status=404)


@pytest.mark.parametrize("safe", ["", "/:", "/:@+="])
def test_ids_may_hold_what_event_ids_may(ward: Ward, safe: str) -> None:
    """Slashes, colons and signs, encoded or not."""
    ward.kill(ODD, f"{ODD}/replay")
    path = f"/{quote(f'{ODD}:a', safe=safe)}"
    assert ward.get(path)["delivery"]["id"] == f"{ODD}:a"
    assert ward.ask("POST", f"{path}/replay")["id"] == f"{ODD}:a"
    assert ward.ask("DELETE", f"/{quote(f'{ODD}/replay:b', safe=safe)}")["id"] == f"{ODD}/replay:b"


# Replaying


def test_one_dead_letter_is_tried_again(ward: Ward) -> None:
    """Once: the second request is a conflict, and so is one after it was delivered."""
    ward.kill("e1")
    ward.heal()
    assert ward.ask("POST", "/e1:a/replay") == {"id": "e1:a", "replayed": 1}
    assert ward.stage.next_sent() == "e1"
    problem = ward.ask("POST", "/e1:a/replay", status=409)
    assert problem["id"] == "e1:a"
    assert problem["state"] in {"pending", "sending", "done"}
    assert ids(ward.get("?state=dead")) == ["e1:b"]


def test_a_selection_is_tried_again_and_counted(ward: Ward) -> None:
    """By filter, by ids, or all; what is not dead any more does not count."""
    ward.kill("e1", "e2", "e3")
    ward.stage.holding.set()
    ward.heal()
    assert ward.ask("POST", "/replay", {"ids": ["e1:a", "e1:a", "e9:a"]}) == {"replayed": 1}
    assert ward.ask("POST", "/replay", {"channel": "a", "since": "1h", "reason": "server_error"}) == {
        "replayed": 2
    }
    assert ward.ask("POST", "/replay", {"channel": "a"}) == {"replayed": 0}
    assert ward.metric("knell_dead_letters", channel="a") == 0
    assert ward.metric("knell_pending", channel="a") == 3
    assert ward.ask("POST", "/replay", {"all": True}) == {"replayed": 3}
    assert ward.ask("POST", "/replay", {"all": True}) == {"replayed": 0}
    ward.stage.release()
    assert sorted(ward.stage.next_sent() for _ in range(6)) == sorted(["e1", "e2", "e3"] * 2)


def test_what_was_delivered_is_sent_again_only_when_it_is_said(ward: Ward) -> None:
    """A selection means dead letters unless it names the other state."""
    ward.heal()
    receipt = ward.served.manager.notify(event("e1", event_id="e1"))
    assert len(receipt.results(PATIENCE)) == 2
    assert ward.ask("POST", "/replay", {"all": True}) == {"replayed": 0}
    assert ward.ask("POST", "/replay", {"ids": ["e1:a"]}) == {"replayed": 0}
    assert ward.ask("POST", "/replay", {"ids": ["e1:a"], "state": "done"}) == {"replayed": 1}
    assert [ward.stage.next_sent() for _ in range(3)] == ["e1"] * 3


@pytest.mark.parametrize("path", ["/replay", "/cancel"])
@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "", "no filter: say which"),
        ({"state": "dead"}, "", "no filter: say which"),
        ({"by": "me"}, "", "no filter: say which"),
        ({"ids": []}, "ids", "expected at least one id"),
        ({"ids": "e1:a"}, "ids", "expected a list of ids"),
        ({"ids": ["\ud800"]}, "ids", "expected an id such as"),
        ({"ids": ["x"] * 1001}, "ids", "expected 1000 ids at most"),
        ({"all": False}, "all", "expected true"),
        ({"all": 1}, "all", "expected true"),
        ({"all": True, "channel": "a"}, "all", "cannot be together with channel"),
        ({"channel": None}, "channel", "expected the name of a channel"),
        ({"channel": "\ud800"}, "channel", "expected the name of a channel"),
        ({"channel": "a", "since": 5}, "since", "expected a time"),
        ({"channel": "a", "state": "sending"}, "state", "expected one of dead, "),
        ({"channel": "a", "by": "a\nb"}, "by", "expected printable text"),
        ({"channel": "a", "by": "x" * 101}, "by", "expected printable text"),
        ({"chanel": "a", "all": True}, "chanel", "is no filter, did you mean 'channel'?"),
        ([], "", "expected an object"),
        ("all", "", "expected an object"),
        (None, "", "expected an object"),
    ],
)
def test_a_body_that_is_unclear_changes_nothing(
    ward: Ward, path: str, body: Any, field: str, message: str
) -> None:
    """What means everything has to say so."""
    ward.kill("e1")
    raw = b"null" if body is None else body
    error = ward.ask("POST", path, raw, 422)["errors"][0]
    assert error["field"] == field
    assert error["message"].startswith(message)
    assert len(ids(ward.get("?state=dead"))) == 2


def test_a_body_that_is_no_json_is_refused(ward: Ward) -> None:
    """As everywhere."""
    assert ward.ask("POST", "/replay", b"{", 400)["status"] == 400
    assert ward.ask("POST", "/cancel", b"{}", 415, Content_Type="text/plain")["status"] == 415


# Giving up


def test_one_is_given_up_for_good(ward: Ward) -> None:
    """It counts no more as a dead letter, stays in the history, and cannot be replayed."""
    ward.kill("e1")
    assert ward.ask("DELETE", "/e1:a") == {"id": "e1:a", "cancelled": 1}
    assert ward.metric("knell_dead_letters", channel="a") == 0
    assert ward.metric("knell_deliveries_total", channel="a", outcome="cancelled") == 1
    assert ward.get("/e1:a")["delivery"]["state"] == "cancelled"
    for method, path in (("DELETE", "/e1:a"), ("POST", "/e1:a/replay")):
        assert ward.ask(method, path, status=409)["state"] == "cancelled"


def test_what_waits_can_be_given_up_and_whoever_waits_for_it_hears(
    make: Callable[..., Any], stage: Stage
) -> None:
    """The receipt ends; what is under way is left alone, and what waited behind both goes on."""
    ward = Ward(make(channels={"a": stage.section(concurrency=1)}), stage)
    stage.holding.set()
    first, second, third = (ward.served.manager.notify(event(n, event_id=n)) for n in ("e1", "e2", "e3"))
    assert stage.next_tried() == "e1"
    assert third.accepted(PATIENCE)
    assert ward.ask("DELETE", "/e1:a", status=409)["state"] == "sending"
    assert ward.ask("DELETE", "/e2:a") == {"id": "e2:a", "cancelled": 1}
    (result,) = second.results(PATIENCE)
    assert (result.success, result.reason, result.error) == (False, "cancelled", "cancelled")
    assert ward.metric("knell_pending", channel="a") == 2
    stage.release()
    for receipt in (first, third):
        assert [result.success for result in receipt.results(PATIENCE)] == [True]
    assert [stage.next_sent() for _ in range(2)] == ["e1", "e3"]
    assert ward.metric("knell_deliveries_total", channel="a", outcome="cancelled") == 1
    assert ward.metric("knell_pending", channel="a") == 0


def test_what_waits_is_selected_only_when_it_is_said(make: Callable[..., Any], stage: Stage) -> None:
    """A selection means dead letters unless it names the other state."""
    ward = Ward(make(channels={"a": stage.section(concurrency=1)}), stage)
    stage.holding.set()
    receipts = [ward.served.manager.notify(event(n, event_id=n)) for n in ("e1", "e2", "e3")]
    assert stage.next_tried() == "e1"
    assert receipts[-1].accepted(PATIENCE)
    assert ward.ask("POST", "/cancel", {"all": True}) == {"cancelled": 0}
    assert ward.ask("POST", "/cancel", {"all": True, "state": "pending"}) == {"cancelled": 2}


def test_a_selection_is_given_up_and_counted(ward: Ward) -> None:
    """Exactly what is selected."""
    ward.kill("e1", "e2")
    assert ward.ask("POST", "/cancel", {"channel": "a", "ids": ["e1:a", "e1:b"]}) == {"cancelled": 1}
    assert ward.ask("POST", "/cancel", {"all": True}) == {"cancelled": 3}
    assert ward.ask("POST", "/cancel", {"all": True}) == {"cancelled": 0}
    assert ward.get("?state=cancelled&count=true&limit=1")["total"] == 4


# Who and when


def test_it_is_written_down_who_did_it(ward: Ward) -> None:
    """By HTTP, and whom the client names."""
    ward.kill("e1")
    ward.ask("POST", "/e1:a/replay")
    ward.ask("POST", "/cancel", {"channel": "b", "by": "mika"})
    cancelled, replayed = ward.served.manager.audit()
    assert (replayed.action, replayed.by, replayed.deliveries) == ("replay", "http", 1)
    assert (cancelled.action, cancelled.by, cancelled.deliveries) == ("cancel", "http: mika", 1)
    assert replayed.detail == '{"ids":["e1:a"],"state":"dead"}'


def test_deliveries_are_not_for_everybody(make: Callable[..., Any]) -> None:
    """They hold what events say."""
    served = make(http={"tokens": ["abc"]})
    for method, path in (("GET", ""), ("GET", "/x:a"), ("POST", "/replay"), ("DELETE", "/x:a")):
        assert served.ask(method, PATH + path).status == 401
    assert served.ask("GET", PATH, Authorization="Bearer abc").status == 200


def test_a_service_that_drains_still_shows(ward: Ward) -> None:
    """It changes nothing any more: 503, to be tried again."""
    ward.kill("e1")
    ward.served.server.drain()
    assert len(ids(ward.get())) == 2
    for method, path in (("POST", "/replay"), ("POST", "/cancel"), ("POST", "/e1:a/replay")):
        assert "draining" in ward.ask(method, path, {"all": True}, 503)["detail"]
    ward.ask("DELETE", "/e1:a", status=503)
    assert ward.served.manager.count(Selection(state=DeliveryState.DEAD)) == 2
