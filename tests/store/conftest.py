"""Stores to test, whatever keeps their rows: add a kind here and the whole suite runs against it."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from knell.deliveries import Route
from knell.events import NotificationEvent, seal
from knell.store import open_reader, open_store
from knell.store.contract import Reader, Store, Submission
from tests.simulation.memory_store import Disk


class Place:
    """Where a store keeps its rows: several stores and readers may be made of it."""

    def __init__(self, store: Callable[[], Store], reader: Callable[[], Reader]) -> None:
        self._store = store
        self._reader = reader
        self._closed_at_end: list[Store | Reader] = []

    def store(self) -> Store:
        """Return another store of the same place, not opened yet; it is closed at the end of the test."""
        store = self._store()
        self._closed_at_end.append(store)
        return store

    def reader(self) -> Reader:
        """Return another reader of the same place."""
        reader = self._reader()
        self._closed_at_end.append(reader)
        return reader

    def close(self) -> None:
        """Close everything."""
        for each in reversed(self._closed_at_end):
            each.close()


def _sqlite(folder: Path) -> Place:
    url = f"sqlite:///{folder}/knell.db"
    return Place(partial(open_store, url), partial(open_reader, url))


def _memory(_folder: Path) -> Place:
    """The store of the simulation: it may stand for the other one only as long as it keeps the contract."""
    disk = Disk()
    return Place(disk.store, cast("Any", disk.reader))


@pytest.fixture(params=[_sqlite, _memory], ids=["sqlite", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Every kind of store, in a fresh place."""
    found: Place = request.param(tmp_path)
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
