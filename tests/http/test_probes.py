from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import pytest
from prometheus_client.openmetrics import parser as open_metrics
from prometheus_client.parser import text_string_to_metric_families as metrics


def test_a_service_that_starts_lives_and_is_not_ready(
    make: Callable[..., Any], event: dict[str, Any]
) -> None:
    """Events are refused for now; nobody restarts it."""
    served = make(started=False)
    assert [served.ask("GET", path).status for path in ("/livez", "/healthz", "/readyz")] == [200, 200, 503]
    assert served.ask("GET", "/readyz").body == b"not ready: starting\n"
    reply = served.post(event)
    assert (reply.status, reply.json["detail"]) == (503, "the service is starting")
    assert "Retry-After" in reply.headers


def test_a_service_that_serves_is_ready(served: Any) -> None:
    """Every actor is named when asked for."""
    assert served.ask("GET", "/readyz").body == b"ok\n"
    lines = served.ask("GET", "/readyz?verbose").body.decode().splitlines()
    assert lines == [
        *("[+]service serving", "[+]outbox ok", "[+]channels ok", "[+]router ok", "[+]channels/console ok"),
        "ok",
    ]


def test_a_service_that_drains_lives_and_takes_nothing(served: Any, event: dict[str, Any]) -> None:
    """Status goes on, events go elsewhere."""
    event_id = served.post(event).json["id"]
    served.server.drain()
    assert served.ask("GET", "/readyz").body == b"not ready: draining\n"
    assert served.post(event).status == 503
    assert served.ask("POST", "/-/reload").status == 503
    assert served.ask("GET", "/livez").status == 200
    assert served.ask("GET", f"/v1/events/{event_id}").status == 200


@pytest.mark.parametrize(("actor", "status"), [("router", 503), ("outbox", 503), ("channels/console", 200)])
def test_readiness_is_about_taking_events(served: Any, actor: str, status: int) -> None:
    """A channel that is down keeps its deliveries in the outbox: no reason to send events elsewhere."""
    cell = next(cell for cell in served.manager.system.cells() if cell.path == actor)
    cell.up = False
    try:
        reply = served.ask("GET", "/readyz?verbose")
        assert served.ask("GET", "/livez").status == 200
    finally:
        cell.up = True
    assert reply.status == status
    assert f"[-]{actor} down" in reply.body.decode()


def test_metrics_are_prometheus_text(served: Any, event: dict[str, Any]) -> None:
    """What was accepted is counted."""
    served.post({**event, "event_type": "pr_created"})
    reply = served.ask("GET", "/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in metrics(reply.body.decode())}
    accepted = {"event_type": "pr_created", "result": "accepted"}
    assert [s.value for s in families["knell_events"].samples if s.labels == accepted] == [1.0]


def test_metrics_are_open_metrics_for_who_asks(served: Any) -> None:
    """Prometheus asks for them by its Accept header."""
    reply = served.ask("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families: Any = open_metrics
    assert "knell_actor_up" in {
        family.name for family in families.text_string_to_metric_families(reply.body.decode())
    }


def test_probes_answer_head_too(served: Any) -> None:
    """Some load balancers ask without wanting the body."""
    connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("HEAD", "/readyz")
    assert connection.getresponse().status == 200
    connection.close()
