"""No room on the disk: events are refused with a reason, what was accepted stays, all goes on by itself."""

import json
import resource
import subprocess
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from knell.errors import StoreError
from knell.store.sqlite import SqliteStore
from tests.faults.audit import audit
from tests.faults.producer import Producer, Sender, event
from tests.faults.receiver import Receiver, Reply
from tests.faults.service import Service

ENOUGH = 200
"""Events accepted before the disk is full, and how many more a careless product takes then."""

SMALL_DISK = 256
"""MiB of the file system that is filled."""


class Limit:
    """The system lets the process write no file beyond the size of its log (`RLIMIT_FSIZE`)."""

    def __init__(self, service: Service) -> None:
        self._service, self._full = service, False

    def fill(self) -> None:
        """Leave no room."""
        if not self._full:  # later the log has room up to the limit, and no more
            log = self._service.store.with_name("knell.db-wal")
            self._service.limit(resource.RLIMIT_FSIZE, log.stat().st_size)
        self._full = True

    def free(self) -> None:
        """Give the room back."""
        self._service.limit(resource.RLIMIT_FSIZE, None)


class Disk:
    """A small file system of its own for the store, and a file that takes all that is left of it."""

    def __init__(self, service: Service, ends: ExitStack) -> None:
        self._folder = service.store.parent
        self._folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}m", "tmpfs", str(self._folder)]
        done = subprocess.run(mount, check=False, capture_output=True, text=True)  # noqa: S603 - our own
        if done.returncode:
            pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
        ends.callback(subprocess.run, ["umount", "-l", str(self._folder)], check=False)
        ends.callback(service.end)

    def fill(self) -> None:
        """Leave no room."""
        with (self._folder / "filler").open("ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def free(self) -> None:
        """Give the room back."""
        (self._folder / "filler").unlink()


@pytest.fixture(params=["limit", "disk"])
def starving(
    request: pytest.FixtureRequest, make_service: Callable[..., Service], ends: ExitStack, receiver: Receiver
) -> Callable[..., tuple[Service, Any]]:
    """Return what starts a service, and how to take its room away and give it back."""

    def start(mutant: str = "") -> tuple[Service, Any]:
        hook = {"url": receiver.url, "circuit_breaker": {"failure_threshold": 1_000}}
        service = make_service({"hook": hook}, mutant=mutant)
        room = Limit(service) if request.param == "limit" else Disk(service, ends)
        return service.start(), room

    return start


def accepted(producers: list[Producer]) -> list[str]:
    """Return what was accepted of all of them."""
    return [event_id for producer in producers for event_id in producer.acked]


def famine(service: Service, room: Any, producers: list[Producer], sender: Sender) -> str:
    """Fill the disk under load, and whatever becomes free of it, until an event is refused; say why it is."""
    service.until(lambda: len(accepted(producers)) > ENOUGH)
    answers = [(202, "")]

    def refused() -> bool:
        room.fill()
        answers.append(sender.post(event("probe", len(answers))))
        return answers[-1][0] != 202

    service.until(refused)
    status, body = answers[-1]
    assert status == 503
    return str(json.loads(body)["detail"])


def relief(service: Service, room: Any, producers: list[Producer], sender: Sender) -> None:
    """Make room again, and wait until all goes on as before."""
    room.free()
    service.until(lambda: sender.post(event("after", 0))[0] == 202)
    before = len(accepted(producers))
    service.until(lambda: len(accepted(producers)) > before)
    for producer in producers:
        producer.stop()
    service.drain(5)


def test_a_full_disk_loses_nothing(
    starving: Callable[..., Any], produce: Callable[..., Any], connect: Callable[..., Any], receiver: Receiver
) -> None:
    """Events are refused with a reason; then all that was accepted arrives, once; the process lives."""
    service, room = starving()
    producers, prober = produce(service, pause=0.05), connect(service)
    assert "not known to be accepted: " in famine(service, room, producers, prober)
    relief(service, room, producers, prober)
    assert audit(service, accepted(producers), receiver.arrivals, []) == []
    assert service.stop() == 0


@pytest.mark.parametrize("starving", ["limit"], indirect=True)
def test_the_audit_catches_a_commit_that_failed_unseen(
    starving: Callable[..., Any], produce: Callable[..., Any], connect: Callable[..., Any], receiver: Receiver
) -> None:
    """A product that goes on as if it had committed loses what it accepted."""
    service, room = starving("ignore_failed_commits")
    producers, prober = produce(service, pause=0.05), connect(service)
    service.until(lambda: len(accepted(producers)) > ENOUGH)
    room.fill()
    service.until(lambda: len(accepted(producers)) > 2 * ENOUGH)
    relief(service, room, producers, prober)
    broken = audit(service, accepted(producers), receiver.arrivals, [])
    assert any("accepted events are lost" in each for each in broken), broken


@pytest.mark.parametrize("starving", ["disk"], indirect=True)
def test_on_a_full_disk_deliveries_go_on_and_readiness_tells(
    starving: Callable[..., Any], connect: Callable[..., Any], receiver: Receiver
) -> None:
    """What is accepted is delivered without room for more; `/readyz` fails until there is some."""
    service, room = starving()
    prober = connect(service)
    receiver.reply = lambda _: Reply(503)
    waiting = [event(f"job{number}", 0) for number in range(20)]
    assert prober.post(waiting)[0] == 202
    receiver.wait_for(lambda it: it.arrivals)
    room.fill()
    service.until(lambda: prober.post(event("late", 0))[0] == 503, 10)
    receiver.reply = lambda _: Reply()
    service.until(lambda: service.unfinished() == 0, 10)
    assert service.get("/readyz")[0] == 503
    room.free()
    service.until(lambda: service.get("/readyz")[0] == 200)
    service.until(lambda: prober.post(event("late", 0))[0] == 202)


def test_a_store_at_its_limit_refuses_and_goes_on(tmp_path: Path, submission: Callable[..., Any]) -> None:
    """SQLite itself has no page left: the transaction is undone, later ones work, nothing is half there."""
    store = SqliteStore(str(tmp_path / "knell.db"))
    store.open()
    limit = store.one("PRAGMA page_count") + 8
    store.db.execute(f"PRAGMA max_page_count = {limit}")
    kept: list[str] = []

    def accept(event_id: str) -> None:
        store.begin()
        store.append([submission(event_id)], 0.0)
        store.commit()
        kept.append(event_id)

    with pytest.raises(StoreError, match="full"):
        deque(map(accept, map(str, range(10_000))))
    store.db.execute(f"PRAGMA max_page_count = {limit * 2}")
    accept("after")
    assert [event_id for (event_id,) in store.db.execute("SELECT id FROM event ORDER BY seq")] == kept
    assert store.counts() == {"slack": (len(kept), 0)}
    assert store.one("PRAGMA integrity_check") == "ok"
    store.close()
