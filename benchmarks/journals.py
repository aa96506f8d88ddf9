"""What is measured about the journal, each in a process of its own: `journals.py NAME SUBJECT SETTINGS`."""

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from knell.actors import outbox
from knell.actors.receipt import Receipt
from knell.channels.base import Channel, Delivered, FormattedMessage, Outcome
from knell.deliveries import Attempt, Delivery, Done, Route, Settlement
from knell.events import NotificationEvent, Sealed, seal
from knell.manager import NotificationManager
from knell.store import open_store
from knell.store.contract import Accepted, Settled, State, Store, Submission
from knell.store.sqlite import SqliteStore

FULL, NORMAL, NONE = "FULL", "NORMAL", "none"
"""The subjects: a sync per commit, none until the log is moved into the file, and no journal at all."""

UNDER_WAY = 2000
"""Events told and not delivered: enough that nobody ever waits for work."""

CONCURRENCY = 256
"""Of the null channel: as many as eight channels have by default."""

HERE = Path(__file__).parent

STORES = "KNELL_BENCHMARK_STORES"
"""The environment's variable with the folder for stores. On the disk of this repository by default: where
temporary files are kept, a sync may cost nothing."""

Figures = dict[str, float]

TEXT = "The nightly build of necrocode-main failed in step 7 of 12. " * 12
"""Makes an event of about 1 KB."""


class Null(Channel):
    """Delivers to nobody, at once."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Say that it was delivered."""
        del message
        return Delivered()


class NoStore:
    """Keeps deliveries in lists for as long as the process lives: what an outbox costs without a journal."""

    def __init__(self) -> None:
        self._ready: dict[str, deque[Delivery]] = {}
        self._sending: dict[int, Delivery] = {}
        self._seq = self._row = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Do nothing: open, begin, commit, ..."""
        del name
        return lambda *_: None

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return how many there are at the start."""
        return {}

    def append(self, submissions: Sequence[Submission], now: float) -> list[Accepted]:
        """Take in events."""
        return [self._append(submission, now) for submission in submissions]

    def _append(self, submission: Submission, now: float) -> Accepted:
        self._seq += 1
        for route in submission.routes:
            self._row += 1
            delivery = Delivery(
                row=self._row,
                event=submission.sealed.event,
                channel=route.channel,
                order_key=f"#{self._row}",
                accepted=now,
            )
            self._ready.setdefault(route.channel, deque()).append(delivery)
        return Accepted(self._seq)

    def fetch(
        self, channel: str, limit: int, chain: int, held: frozenset[int], now: float
    ) -> tuple[Delivery, ...]:
        """Return deliveries that may go; they come once, so that none is in `held`."""
        del chain, held, now
        ready = self._ready.get(channel, deque())
        return tuple(ready.popleft() for _ in range(min(limit, len(ready))))

    def start(self, attempts: Sequence[Attempt]) -> list[bool]:
        """Note that attempts begin."""
        for attempt in attempts:
            self._sending.update((delivery.row, delivery) for delivery in attempt.deliveries)
        return [True] * len(attempts)

    def settle(self, settlements: Sequence[Settlement], now: float) -> list[Settled]:
        """Note that they ended."""
        del now
        ended = [self._sending.pop(settlement.delivery.row) for settlement in settlements]
        return [Settled(delivery.row, State.DONE, 1) for delivery in ended]


@contextmanager
def place(backlog: int = 0) -> Generator[Path]:
    """Return where a store goes: a new one, or one with so many deliveries that wait for another channel."""
    folder = Path(os.environ.get(STORES, HERE))
    if backlog:
        yield _waiting(folder / f"backlog-{backlog}.db", backlog)
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix=".store-") as new:
        yield Path(new) / "knell.db"


def _waiting(path: Path, backlog: int) -> Path:
    """Return the store with a backlog; the first trial that needs it makes it, for all that follow."""
    if not path.exists():
        half = path.with_suffix(".half.db")
        store = sqlite(NORMAL, half)
        some = _submissions(min(backlog, 1000), 1, text="")
        for at in range(0, backlog, len(some)):
            store.begin()
            store.append(
                [
                    msgspec.structs.replace(submission, keys=(f"{at} {submission.keys[0]}",))
                    for submission in some[: backlog - at]
                ],
                time.time(),
            )
            store.commit()
        store.close()
        half.rename(path)
    return path


def sqlite(subject: str, path: Path) -> SqliteStore:
    """Open a store with the durability of a subject."""
    store = cast("SqliteStore", open_store(f"sqlite:///{path}"))
    store.open()
    store.db.execute(f"PRAGMA synchronous = {subject}")
    return store


@contextmanager
def system(subject: str, path: Path) -> Generator[NotificationManager]:
    """Run a whole system with a null channel on the journal of a subject."""

    def find(url: str, remember: float) -> Store:
        if subject == NONE:
            return cast("Store", NoStore())
        store = cast("SqliteStore", open_store(url, remember))
        open_file = store.open

        def opened() -> None:
            open_file()
            store.db.execute(f"PRAGMA synchronous = {subject}")

        store.open = opened  # type: ignore[method-assign]
        return store

    cast("Any", outbox.Outbox.__init__).__kwdefaults__["find"] = find
    settings = {
        "channels": {"null": {"type": "journals:Null", "events": ["*"], "concurrency": CONCURRENCY}},
        "store": {"url": f"sqlite:///{path}"},
    }
    manager = NotificationManager(settings)
    manager.start()
    try:
        yield manager
    finally:
        manager.stop()


def made(count: int, text: str = TEXT) -> list[Sealed]:
    """Return so many events, of about 1 KB by default."""
    metadata = {"repo": "necrocode-main", "branch": "main", "step": 7, "duration_seconds": 123.4}
    return [
        seal(
            NotificationEvent(
                event_type="job_failed",
                source="benchmark",
                title=f"job {number} failed",
                description=text,
                metadata=metadata,
            )
        )
        for number in range(count)
    ]


def _submissions(count: int, rows: int, text: str = TEXT) -> list[Submission]:
    routes = tuple(Route(f"channel-{number}") for number in range(rows))
    return [Submission(sealed, routes, (sealed.event.event_id,)) for sealed in made(count, text)]


def _settle_down() -> None:
    """Keep the garbage collector from looking at the workload, which is none of the product's."""
    gc.collect()
    gc.freeze()


def _grouped(items: list[Any], size: int) -> Iterable[list[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def append(subject: str, *, events: int, rows: int, group: int) -> Figures:
    """Append events with so many deliveries, so many in a transaction; us CPU and wall per event."""
    with place() as path:
        store = sqlite(subject, path)
        submissions = _submissions(events, rows)
        _settle_down()
        cpu, wall = time.process_time(), time.perf_counter()
        for some in _grouped(submissions, group):
            store.begin()
            store.append(some, time.time())
            store.commit()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert store.one("SELECT count(*) FROM delivery") == events * rows
        store.close()
    return {"CPU": cpu / events * 1e6, "wall": wall / events * 1e6}


def deliver(subject: str, *, events: int, group: int) -> Figures:
    """Fetch, start and settle, so many in each transaction; us CPU and wall per delivery."""
    with place() as path:
        store = sqlite(subject, path)
        for some in _grouped(_submissions(events, 1), 1000):
            store.begin()
            store.append(some, time.time())
            store.commit()
        done = 0
        _settle_down()
        cpu, wall = time.process_time(), time.perf_counter()
        while found := _fetched(store, group):
            store.begin()
            assert all(store.start([Attempt((delivery,)) for delivery in found]))
            store.commit()
            store.begin()
            settled = store.settle(
                [Settlement(delivery, Done(), Delivered()) for delivery in found], time.time()
            )
            done += len(settled) - settled.count(None)
            store.commit()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert done == events
        store.close()
    return {"CPU": cpu / events * 1e6, "wall": wall / events * 1e6}


def _fetched(store: Store, group: int) -> tuple[Delivery, ...]:
    store.begin()
    found = store.fetch("channel-0", group, 1, frozenset(), time.time())
    store.commit()
    return found


def load(subject: str, *, events: int, backlog: int = 0) -> Figures:
    """Tell a burst through the whole system; us CPU and wall per event, until each is delivered."""
    told = made(events)
    with place(backlog) as path, system(subject, path) as manager:
        _settle_down()
        cpu, wall = time.process_time(), time.perf_counter()
        delivered, waiting = 0, deque[Receipt]()
        for sealed in told:
            waiting.append(manager.submit(sealed))
            if len(waiting) >= UNDER_WAY:
                delivered += _delivered(waiting.popleft())
        delivered += sum(map(_delivered, waiting))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert delivered == events
    return {"CPU": cpu / events * 1e6, "wall": wall / events * 1e6}


def _delivered(receipt: Receipt) -> int:
    return sum(result.success for result in receipt.results())


def acknowledge(subject: str, *, events: int, producers: int, backlog: int = 0) -> Figures:
    """Let producers each tell one event after the other when it is acknowledged; acknowledged per second."""
    told, receipts = iter(made(events)), list[Receipt]()
    with place(backlog) as path, system(subject, path) as manager:

        async def produce() -> None:
            for sealed in told:
                receipt = manager.submit(sealed)
                assert await receipt.wait()
                receipts.append(receipt)

        async def all_of_them() -> None:
            await asyncio.gather(*(produce() for _ in range(producers)))

        _settle_down()
        wall = time.perf_counter()
        asyncio.run(all_of_them())
        wall = time.perf_counter() - wall
        assert sum(map(_delivered, receipts)) == events
    return {"acks": events / wall}


def latency(subject: str, *, events: int, backlog: int = 0) -> Figures:
    """Tell an idle system one event after the other; us from `submit` until it is known to be accepted."""
    taken: list[float] = []
    with place(backlog) as path, system(subject, path) as manager:
        for sealed in made(events):
            begun = time.perf_counter()
            receipt: Receipt = manager.submit(sealed)
            assert receipt.accepted(10)
            taken.append(time.perf_counter() - begun)
            receipt.results(10)
            time.sleep(0.005)
    return {"p50": sorted(taken)[len(taken) // 2] * 1e6}


if __name__ == "__main__":
    sys.modules.setdefault("journals", sys.modules["__main__"])
    TRIALS = {trial.__name__: trial for trial in (append, deliver, load, acknowledge, latency)}
    print(json.dumps(TRIALS[sys.argv[1]](sys.argv[2], **json.loads(sys.argv[3]))))
