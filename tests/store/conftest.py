"""Stores to test, whatever keeps their rows: add a kind here and the whole suite runs against it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knell.deliveries import Route
from knell.events import NotificationEvent, seal
from knell.store import open_reader, open_store
from knell.store.contract import REMEMBERED, Reader, Store, Submission
from tests.simulation.memory_disk import Disk, load
from tests.simulation.memory_reader import MemoryReader
from tests.simulation.memory_store import MemoryStore


class Place:
    """Where a store keeps its rows: several stores and readers may be made of it."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.path = path
        self._closed_at_end: list[Store | Reader] = []

    def store(self, remember: float = REMEMBERED) -> Store:
        """Return another store of the same place, not opened yet; it is closed at the end of the test."""
        store = self._store(remember)
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

    def _store(self, remember: float) -> Store:
        return open_store(self.url, remember)

    def _reader(self) -> Reader:
        return open_reader(self.url)


class MemoryPlace(Place):
    """The disk of the simulation: it may stand for the other one as long as it keeps the same contract."""

    _disk: Disk | None = None

    def _found(self) -> Disk:
        self._disk = self._disk or load(self.path)
        return self._disk

    def _store(self, remember: float) -> Store:
        return MemoryStore(self._found(), remember)

    def _reader(self) -> Reader:
        return MemoryReader(self._found())


@pytest.fixture(params=[Place, MemoryPlace], ids=["sqlite", "memory"])
def make_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Place]]:
    """Return a maker of fresh places, for every kind of store."""
    made: list[Place] = []

    def make() -> Place:
        made.append(request.param(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for place in made:
        place.close()


@pytest.fixture
def place(make_place: Callable[[], Place]) -> Place:
    """A fresh place."""
    return make_place()


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
        similar: str = "",
        window: float = 0.0,
        **fields: Any,
    ) -> Submission:
        given: dict[str, Any] = {"event_type": "job_failed", "source": "s", "title": "t", **fields}
        event = NotificationEvent(event_id=event_id, **given)
        routes = tuple(Route(channel, f"rule of {channel}") for channel in channels)
        return Submission(
            seal(event), routes, keys or (event_id,), order_key, suppressed or {}, similar, window
        )

    return make
