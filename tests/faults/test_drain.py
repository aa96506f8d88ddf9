"""SIGTERM under load: what is under way ends, nothing is lost, nothing comes twice."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.audit import audit
from tests.faults.producer import Producer
from tests.faults.receiver import Receiver, Reply
from tests.faults.service import Service

ENOUGH = 300
"""Arrivals after which the service is in full swing."""


@pytest.fixture
def busy(
    make_service: Callable[..., Service], receiver: Receiver, produce: Callable[..., list[Producer]]
) -> Callable[..., tuple[Service, list[Producer]]]:
    """Return what starts a service and has it deliver under load, 32 requests on the wire."""

    def start(mutant: str = "") -> tuple[Service, list[Producer]]:
        receiver.reply = lambda _: Reply(delay=0.1)
        service = make_service({"hook": receiver.url}, mutant=mutant).start()
        producers = produce(service, pause=0.1)
        receiver.wait_for(lambda it: len(it.arrivals) > ENOUGH)
        return service, producers

    return start


def settled(service: Service, producers: list[Producer], receiver: Receiver) -> list[str]:
    """Start the service again, let it deliver the rest, and return what was broken.

    A process that ended in order has cut off nothing: no repetition is excused.
    """
    for producer in producers:
        producer.stop()
    receiver.reply = lambda _: Reply()
    service.start()
    service.drain()
    acked = [event_id for producer in producers for event_id in producer.acked]
    assert acked
    return audit(service, acked, receiver.arrivals, [])


def test_sigterm_under_load_loses_and_repeats_nothing(busy: Callable[..., Any], receiver: Receiver) -> None:
    """It ends by itself, gives nothing up, and the next start goes on where it was."""
    service, producers = busy()
    assert service.stop() == 0
    assert "system.abandoned" not in service.log()
    assert service.rows("SELECT count(*) FROM delivery WHERE state = 3") == [(0,)]
    assert settled(service, producers, receiver) == []


def test_the_audit_catches_an_end_that_waits_for_nobody(busy: Callable[..., Any], receiver: Receiver) -> None:
    """What was under way goes out again after the next start."""
    service, producers = busy("end_without_a_drain")
    assert service.stop() == 0
    assert any("came 2 times" in each for each in settled(service, producers, receiver))


def test_a_second_sigterm_under_load_loses_nothing(busy: Callable[..., Any], receiver: Receiver) -> None:
    """It ends at once; what was under way comes again, and nothing else does."""
    service, producers = busy()
    receiver.reply = lambda _: Reply(delay=20)  # the drain cannot end by itself
    before = len(receiver.arrivals)
    receiver.wait_for(lambda it: len(it.arrivals) >= before + 32)
    service.signal(signal.SIGTERM)
    service.until(lambda: service.get("/readyz")[0] == 503)
    service.signal(signal.SIGTERM)
    assert service.wait() == 1
    (under_way,) = service.rows("SELECT count(*) FROM delivery WHERE state = 3")[0]
    assert under_way == 32
    assert [words for words in settled(service, producers, receiver) if "came 2 times" not in words] == []
    assert sum(1 for count in receiver.counts().values() if count > 1) == under_way
