"""kill -9 again and again under load: nothing is lost, what comes twice was under way, order holds."""

import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.audit import Kill, audit
from tests.faults.receiver import Arrival, Receiver, Reply
from tests.faults.service import Service

WHILE_STARTING = 0.15
"""Share of kills that come at any moment of the start; the others hit a process at work."""


class Killer:
    """Kills a service and starts it again, on a thread of its own: so often at least, for so many seconds."""

    def __init__(self, service: Service, seed: int, *, least: int, seconds: float = 0.0) -> None:
        self.kills: list[Kill] = []
        self._service = service
        self._random = Random(seed)  # noqa: S311 - chance, not a secret
        self._until, self._least = time.monotonic() + seconds, least
        self._thread = threading.Thread(target=self._run, name=f"killer of {service.folder.name}")
        self._thread.start()

    def _run(self) -> None:
        while time.monotonic() < self._until or len(self.kills) < self._least:
            self._service.spawn()
            if self._random.random() < WHILE_STARTING:
                threading.Event().wait(self._random.uniform(0, 0.6))
            else:
                self._service.wait_until_up()
                threading.Event().wait(self._random.uniform(0, 0.5))
            self._service.kill()
            self.kills.append(Kill.of(self._service))
        self._service.start()

    def join(self) -> list[Kill]:
        """Wait for the last start; return what was cut off by each kill."""
        self._thread.join(240)
        assert not self._thread.is_alive()
        return self.kills


def jittery(seed: int) -> Callable[[Arrival], Reply]:
    """Return what answers after up to 20 ms, so that there is always something under way."""
    random = Random(seed)  # noqa: S311 - chance, not a secret
    return lambda _: Reply(delay=random.uniform(0, 0.02))


@pytest.fixture
def tortured(
    make_service: Callable[..., Service],
    make_receiver: Callable[[], Receiver],
    produce: Callable[..., Any],
    tmp_path: Path,
) -> Callable[..., tuple[int, int, int, list[str]]]:
    """Return what kills services side by side under load and audits each of them.

    It answers with how many kills, accepted events and repetitions there were, and with what was broken.
    """

    def run(count: int = 2, *, mutant: str = "", patience: float = 30.0, **bounds: Any) -> Any:
        receivers = [make_receiver() for _ in range(count)]
        services = [
            make_service({"hook": each.url}, folder=tmp_path / f"s{at}", mutant=mutant)
            for at, each in enumerate(receivers)
        ]
        for at, each in enumerate(receivers):
            each.reply = jittery(at)
        producers = [produce(service, pause=0.04) for service in services]
        killers = [Killer(service, at, **bounds) for at, service in enumerate(services)]
        broken: list[str] = []
        kills = [killer.join() for killer in killers]
        for producer in chain(*producers):
            producer.stop()
        acked = 0
        for at, service in enumerate(services):
            service.drain(patience)
            ids = [event_id for producer in producers[at] for event_id in producer.acked]
            broken += audit(service, ids, receivers[at].arrivals, kills[at])
            acked += len(ids)
        repeated = sum(sum(each.counts().values()) - len(each.counts()) for each in receivers)
        return sum(map(len, kills)), acked, repeated, broken

    return run


def test_kills_lose_nothing(tortured: Callable[..., Any]) -> None:
    """A few kills of one service: no accepted event is lost, no repetition is unexplained, order holds."""
    kills, acked, _, broken = tortured(1, least=8)
    assert broken == []
    assert kills == 8
    assert acked > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_minute_of_kills_loses_nothing(
    tortured: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same for 60 seconds, on two services side by side: 60 kills at least."""
    kills, acked, repeated, broken = tortured(2, least=30, seconds=60)
    with capsys.disabled():
        print(f"\n{kills} kills, {acked} accepted events, {repeated} repetitions")  # noqa: T201
    assert broken == []
    assert kills >= 60
    assert 0 < repeated <= kills * 32


@pytest.mark.parametrize(
    ("mutant", "words"),
    [("ack_before_commit", "accepted events are lost"), ("no_recovery_scan", "deliveries are stuck")],
)
def test_the_audit_catches(tortured: Callable[..., Any], mutant: str, words: str) -> None:
    """A product that breaks its promise does not get through the same kills."""
    _, _, _, broken = tortured(1, mutant=mutant, patience=2.0, least=4)
    assert any(words in each for each in broken), broken
