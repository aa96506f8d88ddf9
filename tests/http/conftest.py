"""A real system with a real server on a free port of loopback, and a client as plain as they come."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from knell.http.server import HttpServer
from knell.manager import NotificationManager
from knell.store import free_bytes

EVENT = {"event_type": "job_failed", "source": "dispatcher", "title": "nightly"}


@dataclass
class Reply:
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Served:
    """A served system."""

    manager: NotificationManager
    server: HttpServer
    store: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.url.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request; a body that is no bytes is sent as JSON."""
        head = {**self.headers, **{name.replace("_", "-"): text for name, text in headers.items()}}
        raw = body if body is None or isinstance(body, bytes) or hasattr(body, "__next__") else _encoded(body)
        if raw is not None:
            head = {"Content-Type": "application/json", **head}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, raw, head)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def post(self, body: Any, **headers: str) -> Reply:
        """Send events."""
        return self.ask("POST", "/v1/events", body, **headers)


def _encoded(body: object) -> bytes:
    return json.dumps(body).encode()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Return what makes a served system of a configuration; `started=False` leaves its actors out."""
    made: list[Served] = []

    def run(
        *,
        started: bool = True,
        source: Any = None,
        free: Callable[[str], float] = free_bytes,
        **config: Any,
    ) -> Served:
        store = tmp_path / "knell.db"
        settings = {
            "channels": {"console": {"events": ["pr_created"]}},
            "store": {"url": f"sqlite:///{store}"},
            **config,
        }
        manager = NotificationManager(source or settings, free=free)
        served = Served(manager, HttpServer(manager, ("127.0.0.1", 0)), store)
        made.append(served)
        served.server.start()
        if started:
            manager.start()
            served.server.serve()
        return served

    yield run
    for served in made:
        served.server.stop()
        if served.manager.system.root.thread is None:  # never started
            served.manager.system.host.io.close()
        else:
            served.manager.stop()


@pytest.fixture
def served(make: Callable[..., Served]) -> Served:
    """A served system whose one channel, the console, does not get the event of the tests."""
    return make()


@pytest.fixture
def event() -> dict[str, Any]:
    """An event as small as they come."""
    return dict(EVENT)
