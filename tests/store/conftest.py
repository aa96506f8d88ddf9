"""Stores to test, whatever keeps their rows: add a kind here and the whole suite runs against it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knell.deliveries import Route
from knell.events import NotificationEvent, seal
from knell.store import open_reader, open_store
from knell.store.contract import Reader, Store, Submission


class Place:
    """Where a store keeps its rows: several stores and readers may be made of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._closed_at_end: list[Store | Reader] = []

    def store(self) -> Store:
        """Return another store of the same place, not opened yet; it is closed at the end of the test."""
        store = open_store(self.url)
        self._closed_at_end.append(store)
        return store

    def reader(self) -> Reader:
        """Return another reader of the same place."""
        reader = open_reader(self.url)
        self._closed_at_end.append(reader)
        return reader

    def close(self) -> None:
        """Close everything."""
        for each in reversed(self._closed_at_end):
            each.close()


@pytest.fixture(params=["sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Every kind of store, in a fresh place."""
    urls = {"sqlite": f"sqlite:///{tmp_path}/knell.db"}
    found = Place(urls[request.param])
    yield found
    found.close()


@pytest.fixture
def store(place: Place) -> Store:
    """An open store."""
    store = place.store()
    store.open()
    return store


@pytest.fixture(scope="session")
def submit() -> Callable[..., Submission]:
    """Return a maker of submissions: `submit("e1", "slack", "email", order_key="job")`."""

    def make(
        event_id: str,
        *channels: str,
        order_key: str = "",
        keys: tuple[str, ...] = (),
        suppressed: dict[str, str] | None = None,
        **fields: Any,
    ) -> Submission:
        given: dict[str, Any] = {"event_type": "job_failed", "source": "s", "title": "t", **fields}
        event = NotificationEvent(event_id=event_id, **given)
        routes = tuple(Route(channel, f"rule of {channel}") for channel in channels)
        return Submission(seal(event), routes, keys or (event_id,), order_key, suppressed or {})

    return make
