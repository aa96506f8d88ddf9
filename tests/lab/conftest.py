"""A lab per test, and a client as plain as they come."""

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import msgspec
import pytest
from multidict import CIMultiDict

from knell.lab import Answer, Lab, ManualClock

Call = Callable[..., Answer]


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def wall() -> ManualClock:
    """A wall clock that stands still."""
    return ManualClock(1_700_000_000.5)


@pytest.fixture
def lab(clock: ManualClock, wall: ManualClock) -> Iterator[Lab]:
    """A running lab on clocks that stand still."""
    with Lab(clock=clock, wall=wall) as running:
        yield running


@pytest.fixture
def call() -> Call:
    """A function that sends one request over a connection of its own and follows nothing."""
    return send


def send(
    method: str,
    url: str,
    *,
    json: object = None,
    form: dict[str, str] | None = None,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send a request and read the answer whole."""
    parts = urlsplit(url)
    head = dict(headers or {})
    if json is not None:
        body = msgspec.json.encode(json)
        head.setdefault("Content-Type", "application/json")
    if form is not None:
        body = urlencode(form).encode()
        head.setdefault("Content-Type", "application/x-www-form-urlencoded")
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, f"{parts.path}?{parts.query}".rstrip("?"), body, head)
        response = connection.getresponse()
        return Answer(response.status, response.read(), CIMultiDict(response.getheaders()))
    finally:
        connection.close()
