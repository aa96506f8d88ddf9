"""What happens when the disk of the store is nearly full: no more events, and deliveries go on."""

import logging
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knell.actors import outbox as module
from knell.actors.room import MIB
from knell.errors import StoreFull
from knell.manager import NotificationManager
from knell.store import free_bytes
from knell.store.sqlite import SqliteStore
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event


class Disk:
    """A disk that is as full as a test says.

    Attributes:
        asked: how often anybody looked.
    """

    def __init__(self) -> None:
        self.mib = 1000.0
        self.asked = 0
        self._seen: queue.Queue[float] = queue.Queue()

    def free(self, url: str) -> float:
        """Say how much is left."""
        assert url.startswith("sqlite:///")
        self.asked += 1
        self._seen.put(self.mib)
        return self.mib * MIB

    def has(self, mib: float) -> None:
        """Let so much be left, and wait until that was seen."""
        self.mib = mib
        while self._seen.get(timeout=PATIENCE) != mib:
            continue


@pytest.fixture
def disk() -> Disk:
    """A disk with room."""
    return Disk()


@pytest.fixture
def run(tmp_path: Path, disk: Disk, stage: Stage) -> Iterator[Callable[..., Watched]]:
    """Return what starts a system on that disk, with one channel; it is stopped at the end."""
    running: list[Watched] = []

    def start(**store: Any) -> Watched:
        settings = {
            "channels": {"a": stage.section()},
            "store": {"url": f"sqlite:///{tmp_path}/knell.db", **store},
        }
        manager = NotificationManager(settings, free=disk.free)
        running.append(Watched(manager))
        manager.start()
        return running[-1]

    yield start
    stage.release()
    for watched in running:
        watched.manager.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look all the time, so that no test waits for a second."""
    monkeypatch.setattr(module, "LOOK", 0.005)


@pytest.mark.usefixtures("quick")
def test_below_the_mark_no_event_is_taken_and_deliveries_go_on(
    run: Callable[..., Watched], disk: Disk, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Receipts say so, it is counted, what was accepted is delivered, it ends by itself; two log lines."""
    stage.holding.set()
    watched = run()
    before = watched.manager.notify(event("before"))
    assert before.accepted(PATIENCE)
    assert stage.next_tried() == "before"
    disk.has(127.9)
    refused = [watched.manager.notify(event(f"refused {number}")) for number in range(3)]
    assert [(receipt.accepted(PATIENCE), receipt.refused) for receipt in refused] == [
        (False, "disk_full")
    ] * 3
    watched.tell("told")
    stage.release()
    assert before.results(PATIENCE)[0].success
    disk.has(1000.0)
    after = watched.manager.notify(event("after"))
    assert after.results(PATIENCE)[0].success
    assert watched.metric("knell_events_total", event_type="job_failed", result="failed") == 4
    said = [(record.message, record.levelno) for record in caplog.records if "disk" in record.message]
    assert said == [("outbox.disk_full", logging.ERROR), ("outbox.disk_has_room", logging.WARNING)]
    assert not [record for record in caplog.records if record.message == "event.refused"]


@pytest.mark.usefixtures("quick")
def test_the_door_does_not_flap(run: Callable[..., Watched], disk: Disk) -> None:
    """Once shut, it opens an eighth above the mark; open, it stays so down to the mark itself."""
    watched = run(min_free_mb=80)
    for mib, accepted in ((80.0, True), (79.9, False), (89.9, False), (90.0, True), (80.1, True)):
        disk.has(mib)
        assert watched.manager.notify(event("x")).accepted(PATIENCE) is accepted, mib


def test_events_do_not_ask_the_disk(
    run: Callable[..., Watched], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start does, and then the clock does; hundreds of events cost nothing of it."""
    monkeypatch.setattr(module, "LOOK", 3600.0)
    watched = run()
    receipts = [watched.manager.notify(event(str(number))) for number in range(300)]
    assert all(receipt.accepted(PATIENCE) for receipt in receipts)
    assert disk.asked == 1


def test_zero_turns_it_off(run: Callable[..., Watched], disk: Disk) -> None:
    """Then nobody asks, and only a commit can find the disk full."""
    disk.mib = 0.0
    watched = run(min_free_mb=0)
    assert watched.manager.notify(event("x")).accepted(PATIENCE)
    assert disk.asked == 0


@pytest.mark.usefixtures("quick")
def test_a_start_on_a_full_disk_takes_nothing_until_there_is_room(
    run: Callable[..., Watched], disk: Disk
) -> None:
    """What is stored can be delivered, so the system starts."""
    disk.mib = 1.0
    watched = run()
    assert watched.manager.notify(event("x")).accepted(PATIENCE) is False
    disk.has(1000.0)
    assert watched.manager.notify(event("x")).accepted(PATIENCE)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("min_free_mb", [0, 128])
def test_a_commit_that_finds_the_disk_full_is_said_to_be_that(
    run: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch, min_free_mb: int
) -> None:
    """A quota does not show in the free space; the next look opens the door again."""
    watched = run(min_free_mb=min_free_mb)
    full = [True]
    commit = SqliteStore.commit

    def fail(store: SqliteStore) -> None:
        if full[0] and store.one("SELECT count(*) FROM event"):
            store.rollback()
            raise StoreFull("disk full")
        commit(store)

    monkeypatch.setattr(SqliteStore, "commit", fail)
    receipt = watched.manager.notify(event("x"))
    assert (receipt.accepted(PATIENCE), receipt.refused) == (False, "disk_full")
    full[0] = False
    while not watched.manager.notify(event("y")).accepted(PATIENCE):
        continue
    assert watched.manager.system.room.lack == ""


def test_the_free_space_of_a_store_is_that_of_its_folder(tmp_path: Path) -> None:
    """Also before the file is there; where nothing can be told, nothing is refused."""
    assert 0 < free_bytes(f"sqlite:///{tmp_path}/knell.db") < float("inf")
    assert free_bytes(f"sqlite:///{tmp_path}/nowhere/knell.db") == float("inf")
    assert free_bytes("postgresql://knell@db/knell") == float("inf")
