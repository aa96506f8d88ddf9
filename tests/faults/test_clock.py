"""A wall clock that jumps by an hour: retries come when they would have, neither never nor all at once."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from knell.actors.clock import Clock
from knell.deliveries import Settlement
from knell.events import NotificationEvent
from knell.manager import NotificationManager
from knell.store.sqlite import SqliteStore
from tests.faults import mutants
from tests.faults.producer import Sender, event
from tests.faults.receiver import Arrival, Receiver, Reply
from tests.faults.service import CAP, Service

HOUR = 3600.0

LIBRARIES = "/usr/lib"
"""Where a system keeps libfaketime, in a folder of its architecture."""


class Wall:
    """A wall clock that can be set; the monotonic one goes on as it does."""

    def __init__(self) -> None:
        self.offset = 0.0

    @property
    def clock(self) -> Clock:
        """What a system is given."""
        return Clock(wall=lambda: time.time() + self.offset)


class Flaky:
    """Answers 503 to the first tries of some events, with a Retry-After or without."""

    def __init__(self, tries: int = 1, *, title: str = "", after: int | None = None) -> None:
        self._tries, self._title = tries, title
        self._headers = {} if after is None else {"Retry-After": str(after)}
        self._seen = Counter[str]()

    def __call__(self, arrival: Arrival) -> Reply:
        """Answer."""
        self._seen[arrival.event_id] += 1
        if self._title in arrival.event_id and self._seen[arrival.event_id] <= self._tries:
            return Reply(503, headers=self._headers)
        return Reply()


def told(event_id: str) -> NotificationEvent:
    """Return an event."""
    return NotificationEvent(event_type="job_failed", source="faults", title="t", event_id=event_id)


@pytest.fixture
def wall() -> Wall:
    """A wall clock."""
    return Wall()


@pytest.fixture
def start(
    tmp_path: Path, receiver: Receiver, wall: Wall, ends: ExitStack
) -> Callable[..., NotificationManager]:
    """Return what starts a system on one store, with one webhook."""

    def run() -> NotificationManager:
        breaker = {"failure_threshold": 1000}
        hook = {"type": "webhook", "url": receiver.url, "events": ["*"], "circuit_breaker": breaker}
        config = {
            "channels": {"hook": hook},
            "store": {"url": f"sqlite:///{tmp_path}/knell.db"},
            "security": {"require_tls": False, "allowed_networks": ["127.0.0.0/8"]},
            "retry_policy": {"max_retries": 150, "initial_delay_ms": 200, "max_delay_ms": 1000},
        }
        manager = NotificationManager(config, clock=wall.clock)
        ends.callback(manager.stop)
        manager.start()
        return manager

    return run


def due(tmp_path: Path) -> list[float]:
    """Return when deferred deliveries of a store that nobody has open may go."""
    store = SqliteStore(str(tmp_path / "knell.db"))
    store.open()
    found = [at for (at,) in store.db.execute("SELECT due FROM delivery WHERE state = 1")]
    store.close()
    return found


def early(start: Callable[..., NotificationManager], receiver: Receiver, wall: Wall) -> bool:
    """Say whether a delivery that is put off for ten minutes goes at once when the clock jumps ahead."""
    receiver.reply = Flaky(title="later", after=600)
    manager = start()
    manager.notify(told("later"))
    receiver.wait_for(lambda it: it.counts()["later"] == 1)
    manager.notify_and_wait(told("before"))
    wall.offset = HOUR
    manager.notify_and_wait(told("after"))
    return receiver.counts()["later"] > 1


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_retry_comes_in_its_time(
    start: Callable[..., NotificationManager], receiver: Receiver, wall: Wall, jump: float
) -> None:
    """Forward or back, a delivery that failed is tried until it succeeds, and not once more."""
    receiver.reply = Flaky(3)
    manager = start()
    receipt = manager.notify(told("e1"))
    receiver.wait_for(lambda it: it.arrivals)
    wall.offset = jump
    assert [result.success for result in receipt.results(30)] == [True]
    assert len(receiver.arrivals) == 4


def test_nothing_comes_early(
    start: Callable[..., NotificationManager], receiver: Receiver, wall: Wall
) -> None:
    """A clock that jumps ahead makes nothing due."""
    assert not early(start, receiver, wall)


def test_the_test_catches_an_outbox_that_asks_the_wall_clock(
    start: Callable[..., NotificationManager],
    receiver: Receiver,
    wall: Wall,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With it everything that was put off comes at once."""
    mutants.wall_clock_in_the_outbox(monkeypatch.setattr)
    assert early(start, receiver, wall)


def test_an_outbox_that_crashes_after_a_jump_keeps_its_time(
    start: Callable[..., NotificationManager],
    receiver: Receiver,
    wall: Wall,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was put off before the clock went back is not put off by another hour."""
    receiver.reply = Flaky(title="later", after=2)
    manager = start()
    settle, crashed = SqliteStore.settle, threading.Event()

    def crash_once(store: SqliteStore, settlements: Sequence[Settlement], now: float) -> Any:
        whose = {settlement.delivery.event.event_id for settlement in settlements}
        if "crash" in whose and not crashed.is_set():
            crashed.set()
            wall.offset = -HOUR
            raise RuntimeError("the outbox crashes")
        return settle(store, settlements, now)

    monkeypatch.setattr(SqliteStore, "settle", crash_once)
    receipt = manager.notify(told("later"))
    receiver.wait_for(lambda it: it.arrivals)
    manager.notify_and_wait(told("before"))
    manager.notify_and_wait(told("crash"))
    assert crashed.is_set()
    assert [result.success for result in receipt.results(30)] == [True]


def test_a_start_after_the_clock_went_back_puts_off_for_an_hour_at_most(
    start: Callable[..., NotificationManager], receiver: Receiver, wall: Wall, tmp_path: Path
) -> None:
    """Whatever an earlier process wrote under another clock."""
    receiver.reply = Flaky(title="later", after=3000)
    manager = start()
    manager.notify(told("later"))
    receiver.wait_for(lambda it: it.arrivals)
    manager.stop()
    assert due(tmp_path)[0] > time.time() + 2900
    wall.offset = -2 * HOUR
    start().stop()
    assert due(tmp_path)[0] <= time.time() + wall.offset + HOUR


def test_a_start_after_the_clock_went_ahead_sends_no_more_at_once_than_ever(
    start: Callable[..., NotificationManager], receiver: Receiver, wall: Wall, tmp_path: Path
) -> None:
    """Hundreds that are due at once wait for each other."""
    receiver.reply = Flaky(title="later", after=3000)
    manager = start()
    ids = [f"later{number}" for number in range(200)]
    for event_id in ids:
        manager.notify(told(event_id))
    receiver.wait_for_events(ids)
    manager.stop()
    assert len(due(tmp_path)) == len(ids)
    most = Most(receiver)
    wall.offset = HOUR
    start()
    receiver.wait_for(lambda it: all(it.counts()[event_id] == 2 for event_id in ids))
    assert 1 < most.found <= CAP


class Most:
    """How many requests were on the wire at once; each takes a moment."""

    def __init__(self, receiver: Receiver) -> None:
        self.found, self._ends = 0, list[float]()
        receiver.reply = self._answer

    def _answer(self, arrival: Arrival) -> Reply:
        self._ends = [end for end in self._ends if end > arrival.at] + [arrival.at + 0.02]
        self.found = max(self.found, len(self._ends))
        return Reply(delay=0.02)


@pytest.fixture
def faked(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is `clock` in the test's folder, by libfaketime."""
    libraries = sorted(Path(LIBRARIES).glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.skip("libfaketime is not installed: apt-get install libfaketime")
    (tmp_path / "clock").write_text("+0")
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # with it every wait of a thread takes seconds
    }


@pytest.mark.parametrize("jump", ["+3600", "-3600"])
def test_a_service_goes_on_when_its_system_changes_the_clock(
    make_service: Callable[..., Service],
    connect: Callable[..., Sender],
    receiver: Receiver,
    faked: dict[str, str],
    tmp_path: Path,
    jump: str,
) -> None:
    """The whole process, under a clock that is set while retries are due; and after its next start."""
    receiver.reply = Flaky(3)
    hook = {"url": receiver.url, "circuit_breaker": {"failure_threshold": 1000}}
    service = make_service({"hook": hook}, environ=faked).start()
    sender = connect(service)
    assert sender.post([event(f"first{number}", 0) for number in range(4)])[0] == 202
    receiver.wait_for(lambda it: len(it.arrivals) >= 4)
    (tmp_path / "clock").write_text(jump)
    assert service.drain()
    assert service.stop() == 0
    service.start()
    assert sender.post([event(f"second{number}", 0) for number in range(4)])[0] == 202
    assert service.drain()
    (moved,) = service.rows("SELECT max(accepted) - min(accepted) FROM event")[0]
    assert moved > HOUR / 2  # the clock of the service is the one that was set
    assert set(receiver.counts().values()) == {4}
