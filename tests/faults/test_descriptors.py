"""No free file descriptor: the open store goes on writing, deliveries wait for sockets, nothing is lost."""

import resource
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.audit import audit
from tests.faults.producer import Sender, event
from tests.faults.receiver import Receiver, Reply
from tests.faults.service import Service

EVENTS = 40


@pytest.fixture
def starved(
    make_service: Callable[..., Service], connect: Callable[..., Sender], receiver: Receiver
) -> Callable[..., Any]:
    """Return what starts a service that may open nothing any more, with one client connected to it.

    Its receiver closes every connection, so that every delivery needs a new socket.
    """

    def start(mutant: str = "") -> tuple[Service, Sender]:
        receiver.reply = lambda _: Reply(close=True)
        breaker = {"failure_threshold": 3, "timeout_seconds": 0.2}
        service = make_service(
            {"hook": {"url": receiver.url, "circuit_breaker": breaker}}, mutant=mutant
        ).start()
        sender = connect(service)
        assert sender.post([event(f"early{number}", 0) for number in range(EVENTS)])[0] == 202
        receiver.wait_for(lambda it: len(it.arrivals) == EVENTS)
        service.until(lambda: service.unfinished() == 0)
        service.limit(resource.RLIMIT_NOFILE, 3)  # what is open stays open
        return service, sender

    return start


def test_without_descriptors_events_are_taken_and_wait(
    starved: Callable[..., Any], receiver: Receiver
) -> None:
    """Accepted and stored; tried in vain and put off; delivered once there are descriptors again."""
    service, sender = starved()
    ids: list[str] = []
    for number in range(EVENTS):
        told = event(f"late{number}", 0)
        assert sender.post(told)[0] == 202
        ids.append(told["event_id"])
    failed = "SELECT count(*) FROM delivery WHERE state < 4 AND reason = 'connection_error'"
    service.until(lambda: service.rows(failed) != [(0,)])
    assert len(receiver.arrivals) == EVENTS
    service.limit(resource.RLIMIT_NOFILE, None)
    receiver.wait_for_events(ids)
    assert service.drain()
    assert audit(service, ids, receiver.arrivals, []) == []
    service.until(lambda: service.get("/readyz") == (200, "ok\n"))
    assert service.stop() == 0


def test_the_test_catches_a_store_that_is_opened_for_every_commit(starved: Callable[..., Any]) -> None:
    """Such a product has no store left when it needs it."""
    _, sender = starved("open_the_store_for_every_commit")
    assert sender.post(event("late", 0))[0] != 202
