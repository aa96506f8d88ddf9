"""Services, receivers and producers that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from knell.deliveries import Route
from knell.events import NotificationEvent, seal
from knell.store.contract import Submission
from tests.faults.producer import Producer, Sender
from tests.faults.receiver import Receiver
from tests.faults.service import Service


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    """What is closed at the end of the test, the latest first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_receiver(ends: ExitStack) -> Callable[[], Receiver]:
    """Return a maker of receivers."""

    def make() -> Receiver:
        receiver = Receiver()
        ends.callback(receiver.close)
        return receiver

    return make


@pytest.fixture
def receiver(make_receiver: Callable[[], Receiver]) -> Receiver:
    """A receiver that accepts everything."""
    return make_receiver()


@pytest.fixture
def make_service(ends: ExitStack, tmp_path: Path) -> Callable[..., Service]:
    """Return a maker of services, `make_service({"hook": receiver.url})`; none is started."""

    def make(channels: Any, *, folder: Path | None = None, **given: Any) -> Service:
        service = Service(folder or tmp_path / "service", channels, **given)
        ends.callback(service.end)
        return service

    return make


@pytest.fixture
def produce(ends: ExitStack) -> Callable[..., list[Producer]]:
    """Return what starts producers for a service; they stop with the test, if not before."""

    def start(service: Service, *, count: int = 4, **pace: Any) -> list[Producer]:
        names = [f"{service.folder.name}-{n}" for n in range(count)]
        producers = [Producer(name, lambda: service.url, **pace) for name in names]
        for producer in producers:
            ends.callback(producer.stop)
        return producers

    return start


@pytest.fixture
def connect(ends: ExitStack) -> Callable[[Service], Sender]:
    """Return what connects a sender to a service, or to whatever process follows it."""

    def make(service: Service) -> Sender:
        sender = Sender(lambda: service.url)
        ends.callback(sender.close)
        return sender

    return make


@pytest.fixture(scope="session")
def submission() -> Callable[..., Submission]:
    """Return a maker of submissions for one channel: `submission("e1", description="...")`."""

    def make(event_id: str, **fields: Any) -> Submission:
        given: dict[str, Any] = {
            "event_type": "job_failed",
            "source": "faults",
            "title": f"title of {event_id}",
            **fields,
        }
        event = NotificationEvent(event_id=event_id, **given)
        return Submission(seal(event), (Route("slack"),), (event_id,))

    return make
