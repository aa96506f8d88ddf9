"""A power cut at any moment: what was acknowledged is there, and the file is whole."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from knell.deliveries import Attempt, Done, Route, Settlement
from knell.events import NotificationEvent, seal
from knell.messages import DeliveryState
from knell.store import file
from knell.store.contract import State, Submission
from knell.store.sqlite import SqliteStore
from tests.faults.powercut import Disk, sqlite_on

NOW = 1_700_000_000.0
EVENTS = 3
"""Events of one transaction."""

TRANSACTIONS = 120

WAITING = (DeliveryState.PENDING, 0)

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of ours in it
"""Where the files are looked at: nothing has to last there, and a sync costs nothing."""


def submission(number: int, at: int) -> Submission:
    """Return an event that says which transaction it is of; some fill several pages."""
    event = NotificationEvent(
        event_type="job_failed",
        source="faults",
        title=f"{number}",
        description="x" * (9000 if number % 7 == 0 else 100),
        event_id=f"e{number}.{at}",
    )
    return Submission(seal(event), (Route("slack"), Route("email")), (event.event_id,))


class Work:
    """What an outbox does: settle what was begun, begin what was accepted before (for Slack), accept more."""

    def __init__(self, store: SqliteStore) -> None:
        self._store, self._begun = store, list[Attempt]()

    def do(self, number: int) -> None:
        """Do transaction `number`."""
        self._store.begin()
        ended = [Settlement(attempt.deliveries[0], Done({"n": number})) for attempt in self._begun]
        assert None not in self._store.settle(ended, NOW)
        ready = self._store.fetch("slack", 32, 1, frozenset(), NOW)
        self._begun = [Attempt((delivery,)) for delivery in ready]
        assert all(self._store.start(self._begun))
        self._store.append([submission(number, at) for at in range(EVENTS)], NOW)
        self._store.commit()


class Life:
    """A store that worked on a recorded disk until somebody pulled the plug.

    Attributes:
        acked: how long the disk's history was when each transaction was acknowledged.
    """

    def __init__(self, path: Path, disk: Disk, transactions: int) -> None:
        self.disk, self.acked = disk, list[int]()
        store = SqliteStore(str(path))
        store.open()
        work = Work(store)
        for number in range(transactions):
            work.do(number)
            self.acked.append(len(disk.history))
        store.close()

    def moments(self, count: int, random: Random) -> Iterator[int]:
        """Return moments for a power cut: any, and as often right after an acknowledgement."""
        for turn in range(count):
            after_ack = random.choice(self.acked) + random.choice([0, 0, 1])
            yield after_ack if turn % 2 else random.randint(self.acked[0], self.acked[-1])


def judge(folder: Path, files: dict[str, bytes], acked: int) -> list[str]:
    """Open the files as a service does after the power is back; return what is wrong with them."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    store = SqliteStore(str(folder / "knell.db"))
    try:
        store.open()
        store.begin()
        store.recover(NOW, NOW)
        store.commit()
        found = [f"damaged: {store.one('PRAGMA integrity_check')}"]
        return (found if found != ["damaged: ok"] else []) + _compare(store, acked)
    finally:
        store.close()
        for left in folder.iterdir():
            left.unlink()


def _compare(store: SqliteStore, acked: int) -> list[str]:
    """The store has a prefix of the transactions, each of them whole, and all that were acknowledged."""
    rows = store.db.execute(
        "SELECT e.id, d.channel, d.state, d.crashes FROM delivery d JOIN event e USING (seq)"
    ).fetchall()
    last = len({event_id.partition(".")[0] for event_id, *_ in rows})
    expected = {
        (f"e{number}.{at}", channel, *(_stands(last - number) if channel == "slack" else WAITING))
        for number in range(last)
        for at in range(EVENTS)
        for channel in ("slack", "email")
    }
    found = {(event_id, channel, State(state).public, crashes) for event_id, channel, state, crashes in rows}
    wrong = [] if found == expected else ["a transaction is there in part"]
    if last < acked:
        wrong.append(f"{acked - last} acknowledged transactions are lost")
    return wrong


def _stands(age: int) -> tuple[DeliveryState, int]:
    """Return state and crashes of a delivery accepted so many transactions ago, after the recovery."""
    return {1: WAITING, 2: (DeliveryState.PENDING, 1)}.get(age, (DeliveryState.DONE, 0))


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return what cuts the power at many moments of one life; it returns what was found wrong."""

    def run(points: int, *, seed: int = 1, lies: bool = False) -> list[str]:
        disk, random = Disk(f"{tmp_path.name}-{seed}-{lies}"), Random(seed)  # noqa: S311 - chance, no secret
        with monkeypatch.context() as patch:
            patch.setattr(file, "sqlite3", sqlite_on(disk, lies=lies))
            patch.setattr(file, "WAL_PAGES", 40)  # many checkpoints in a short life
            life = Life(tmp_path / f"life{seed}{lies}" / "knell.db", disk, TRANSACTIONS)
        wrong: list[str] = []
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            for moment in life.moments(points, random):
                acked = sum(1 for at in life.acked if at <= moment)
                files = disk.after(moment, random)
                wrong += [f"at {moment}: {each}" for each in judge(Path(folder), files, acked)]
        return wrong

    return run


def test_a_power_cut_loses_nothing(cut: Callable[..., list[str]]) -> None:
    """600 moments of one life, half of them right after an acknowledgement."""
    assert cut(600) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_more_power_cuts_lose_nothing(cut: Callable[..., list[str]], seed: int) -> None:
    """The same for other lives and other luck."""
    assert cut(1000, seed=seed) == []


def test_the_simulator_catches_a_store_that_syncs_at_checkpoints_only(cut: Callable[..., list[str]]) -> None:
    """`synchronous=NORMAL` keeps the file whole and loses what was acknowledged."""
    wrong = cut(60, lies=True)
    assert len(wrong) > 10
    assert all("acknowledged transactions are lost" in each for each in wrong)
