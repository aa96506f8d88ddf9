from collections.abc import Callable
from typing import Any


def test_every_actor_is_in_the_tree(served: Any, event: dict[str, Any]) -> None:
    """As it is: state, mailbox, what it has handled, and a channel's breaker."""
    served.post({**event, "event_type": "pr_created"})
    reply = served.ask("GET", "/v1/tree")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.json.keys() == {"root", "zombies", "dead_letters"}
    outbox, channels, router = reply.json["root"]["children"]
    assert [node["status"] for node in (outbox, channels, router)] == ["running"] * 3
    assert router["handled"] >= 1
    assert router["restarts"] == router["mailbox"] == 0
    assert router["circuit"] is None
    (console,) = channels["children"]
    assert (channels["supervisor"], console["supervisor"]) == (True, False)
    assert console["path"] == "channels/console"
    assert console["circuit"]["phase"] == "closed"


def test_the_tree_of_a_service_that_starts_or_drains(make: Callable[..., Any]) -> None:
    """It answers in every phase: that is when people look."""
    served = make(started=False)
    root = served.ask("GET", "/v1/tree").json["root"]
    assert (root["status"], root["children"]) == ("undefined", [])
    served.server.drain()
    assert served.ask("GET", "/v1/tree").status == 200


def test_the_tree_is_not_for_everybody(make: Callable[..., Any]) -> None:
    """An error in it may quote what a channel was told."""
    served = make(http={"tokens": ["abc"]})
    assert served.ask("GET", "/v1/tree").status == 401
    assert served.ask("GET", "/v1/tree", Authorization="Bearer abc").status == 200
