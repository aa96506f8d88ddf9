"""What is SQLite's own: the file, its lock, its settings."""

import gc
import os
import resource
import select
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knell.errors import StoreError, StoreFull, StoreLocked
from knell.store.ballast import ROOM, SIZE, Ballast
from knell.store.file import has_wal_reset_bug
from knell.store.reader import SqliteReader
from knell.store.schema import VERSION
from knell.store.sqlite import SqliteStore

NOW = 1_700_000_000.0

HOLDER = """
import sys
from knell.store.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
store.open()
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file will be."""
    return tmp_path / "new" / "folder" / "knell.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """An open store."""
    store = SqliteStore(str(path))
    store.open()
    yield store
    store.close()


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# The file


def test_only_its_owner_can_read_it(store: SqliteStore, path: Path, submit: Callable[..., Any]) -> None:
    """The file, its log, its index, its lock and its ballast: events are nobody else's business."""
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    store.commit()
    files = {file.name: _mode(file) for file in path.parent.iterdir()}
    names = ["knell.db", "knell.db-shm", "knell.db-wal", "knell.db.lock", "knell.db.ballast"]
    assert files == dict.fromkeys(names, 0o600)
    assert _mode(path.parent) == 0o700


def test_every_commit_reaches_the_disk(store: SqliteStore) -> None:
    """NORMAL would lose acknowledged events in a power cut."""
    assert store.one("PRAGMA synchronous") == 2
    assert store.one("PRAGMA journal_mode") == "wal"


def test_a_file_that_cannot_be_made_durable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without WAL, for example: the setting is read back."""
    store = SqliteStore(str(tmp_path / "knell.db"))

    def one(sql: str, *_args: Any) -> Any:
        return {"PRAGMA synchronous": 2, "PRAGMA journal_mode": "delete"}[sql]

    monkeypatch.setattr(store, "one", one)
    with pytest.raises(StoreError, match="does not allow WAL with full sync"):
        store.open()
    store.close()


def test_a_newer_file_is_refused(store: SqliteStore, path: Path) -> None:
    """An older knell may not write what it does not understand; nothing in the file is changed."""
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match="upgrade knell"):
        store.open()
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION + 1,)
    connection.close()


def test_an_up_to_date_file_is_left_alone(store: SqliteStore) -> None:
    """Opening it again changes no table."""
    store.close()
    store.open()
    assert store.one("PRAGMA user_version") == VERSION


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """With its name."""
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all" * 100)
    store = SqliteStore(str(path))
    with pytest.raises(StoreError, match=r"knell\.db: file is not a database"):
        store.open()
    store.close()


@pytest.mark.parametrize("name", ["file/knell.db", "folder"])
def test_a_place_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    """A file where a folder should be, and a folder where the file should be."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    store = SqliteStore(str(tmp_path / name))
    with pytest.raises(StoreError, match=name):
        store.open()
    store.close()


def test_an_error_of_the_disk_is_a_store_error(store: SqliteStore, submit: Callable[..., Any]) -> None:
    """A full disk rolls back what was begun, and the next transaction works when there is room again."""
    store.db.execute(f"PRAGMA max_page_count = {store.one('PRAGMA page_count')}")
    store.begin()
    with pytest.raises(StoreError, match="full"):
        store.append([submit("e1", "slack", description="x" * 100_000)], NOW)
    assert not store.db.in_transaction
    store.db.execute("PRAGMA max_page_count = 100000")
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    store.commit()
    assert store.counts() == {"slack": (1, 0)}


# Room


def _fill(store: SqliteStore, submit: Callable[..., Any]) -> None:
    """Accept a large event where there is room for none."""
    store.db.execute(f"PRAGMA max_page_count = {store.one('PRAGMA page_count')}")
    store.begin()
    store.append([submit("large", "slack", description="x" * 100_000)], NOW)


def test_a_full_disk_is_told_apart(store: SqliteStore, path: Path, submit: Callable[..., Any]) -> None:
    """The ballast is given up for what has to be settled, and taken up again when there is room."""
    ballast = path.with_name("knell.db.ballast")
    assert ballast.stat().st_size == SIZE
    with pytest.raises(StoreFull, match="full"):
        _fill(store, submit)
    assert not ballast.exists()
    store.db.execute("PRAGMA max_page_count = 100000")
    store.checkpoint()
    assert ballast.stat().st_size == SIZE


def test_a_ballast_needs_plenty_of_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be what fills the disk; where it cannot be written, nothing of it stays."""
    ballast = Ballast(tmp_path / "knell.db")
    free = shutil.disk_usage(tmp_path)._replace(free=ROOM * SIZE - 1)

    def disk_usage(_path: Path) -> Any:
        return free

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    assert not ballast.make()
    monkeypatch.undo()
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, resource.RLIM_INFINITY))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        assert not ballast.make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
    assert not ballast.give_up()
    assert ballast.make()
    assert ballast.make()


# The log


def _log_bytes(path: Path) -> int:
    return path.with_name("knell.db-wal").stat().st_size


def test_a_checkpoint_empties_the_log(store: SqliteStore, path: Path, submit: Callable[..., Any]) -> None:
    """In an idle moment it is given back to the disk."""
    store.begin()
    store.append([submit("e1", "slack", description="x" * 100_000)], NOW)
    store.commit()
    assert _log_bytes(path) > 100_000
    store.checkpoint()
    assert _log_bytes(path) == 0


def test_a_reader_in_the_way_does_not_hold_up_the_writer(
    store: SqliteStore, path: Path, submit: Callable[..., Any]
) -> None:
    """A checkpoint does what it can and comes back."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM event").fetchall()
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    store.commit()
    store.checkpoint()
    assert _log_bytes(path) > 0
    assert store.one("PRAGMA busy_timeout") == 5000
    other.close()
    store.checkpoint()
    assert _log_bytes(path) == 0


def test_a_log_does_not_grow_without_end(store: SqliteStore, path: Path, submit: Callable[..., Any]) -> None:
    """Past 8 MiB a commit moves it into the file too, and the next one begins at its start."""
    for n in range(40):
        store.begin()
        store.append([submit(f"e{n}", "slack", description="x" * 500_000)], NOW)
        store.commit()
    assert _log_bytes(path) < 10 * 1024 * 1024
    assert path.stat().st_size > 10 * 1024 * 1024


def test_a_reader_reads_when_nobody_owns_the_file(
    store: SqliteStore, path: Path, submit: Callable[..., Any]
) -> None:
    """The log was removed with the last owner; the reader cannot write, whatever it is told."""
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    store.commit()
    store.close()
    reader = SqliteReader(str(path))
    assert reader.status("e1") is not None
    with pytest.raises(StoreError, match="readonly"):
        reader._rows("DELETE FROM event")  # pyright: ignore[reportPrivateUsage]
    reader.close()
    store.open()
    assert store.counts() == {"slack": (1, 0)}


# Damage


def _damage(path: Path) -> None:
    """Overwrite the middle of the file."""
    with path.open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * (path.stat().st_size - 3 * 4096))


@pytest.fixture
def damaged(store: SqliteStore, path: Path, submit: Callable[..., Any]) -> Path:
    """A file whose middle is lost."""
    store.begin()
    for n in range(50):
        store.append([submit(f"e{n}", "slack", description="x" * 2000)], NOW)
    store.commit()
    store.close()
    _damage(path)
    return path


def test_damage_is_found_after_an_unclean_end(damaged: Path) -> None:
    """And the message names who looks closer."""
    damaged.with_name("knell.db.lock").write_text("12345\n")  # what a killed process leaves
    store = SqliteStore(str(damaged))
    with pytest.raises(StoreError, match=r"(?s)knell\.db: .*`knell store check`"):
        store.open()
    store.close()


def test_a_damaged_event_is_named(store: SqliteStore, path: Path, submit: Callable[..., Any]) -> None:
    """A stored event is not checked again, but what is no event any more does not pass for one."""
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    store.commit()
    store.close()
    for body in (b"{", b"\xff", b'{"title": "t"}'):
        with sqlite3.connect(path) as db:
            db.execute("UPDATE event SET body = ?", (body,))
        db.close()
        store.open()
        with pytest.raises(StoreError, match="event number 1 is damaged"):
            store.event(1)
        store.close()


def test_damage_is_named_when_it_is_met(damaged: Path) -> None:
    """A reader finds it too, the check lists it, and no backup is made of it."""
    reader = SqliteReader(str(damaged))
    with pytest.raises(StoreError, match="`knell store check` looks at all of it"):
        reader.status("e1")
    assert reader.check()
    copy = damaged.with_name("copy.db")
    with pytest.raises(StoreError, match="damaged"):
        reader.backup(copy)
    assert not copy.exists()
    reader.close()


def test_an_orderly_end_leaves_nothing_to_look_for(store: SqliteStore, path: Path) -> None:
    """The lock names its owner while there is one."""
    lock = path.with_name("knell.db.lock")
    assert lock.read_text() == f"{os.getpid()}\n"
    store.close()
    assert lock.read_text() == ""


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM event", "delivery 1 has no event"),
        ("DELETE FROM event WHERE seq = 4", "key e3 leads to no event"),
        ("UPDATE delivery SET finished = 1 WHERE id = 2", "delivery 2 has a state that does not fit its end"),
        ("UPDATE delivery SET state = 0 WHERE id = 4", "delivery 4 waits for no one"),
        ("UPDATE delivery SET state = 0", "slack, order key a waits for nothing or is out of order"),
        ("UPDATE delivery SET state = 2", "slack, order key a waits for nothing or is out of order"),
        (
            "UPDATE delivery SET state = 3 WHERE id = 2",
            "slack, order key a has one that may go while another is under way",
        ),
        ("PRAGMA user_version = 1", f"the file has version 1, this knell knows {VERSION}"),
    ],
)
def test_the_check_finds_broken_promises(
    store: SqliteStore, path: Path, submit: Callable[..., Any], damage: str, finding: str
) -> None:
    """Each of them, in words."""
    store.begin()
    for n in range(3):
        store.append([submit(f"e{n}", "slack", order_key="a")], NOW)
    store.append([submit("e3", "slack")], NOW)
    store.commit()
    reader = SqliteReader(str(path))
    assert reader.check() == []
    store.db.execute(damage)
    assert finding in reader.check()
    reader.close()


@pytest.mark.parametrize(
    ("version", "bug"),
    [
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 9), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_versions_with_the_wal_reset_bug_are_known(version: tuple[int, int, int], *, bug: bool) -> None:
    """Fixed in 3.51.3, and in 3.44.6 and 3.50.7 of the older lines."""
    assert has_wal_reset_bug(version) is bug


# The lock


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the store open."""
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
        process.kill()


def test_another_process_is_named(holder: subprocess.Popen[str], path: Path) -> None:
    """Whoever is refused is told who has it."""
    store = SqliteStore(str(path))
    with pytest.raises(StoreLocked, match=f"process {holder.pid} is using it"):
        store.open()


@pytest.mark.parametrize("killed", [False, True])
def test_the_lock_ends_with_its_process(holder: subprocess.Popen[str], path: Path, *, killed: bool) -> None:
    """However it ends."""
    if killed:
        holder.send_signal(signal.SIGKILL)
    assert holder.stdin is not None
    holder.stdin.close()
    holder.wait(30)
    store = SqliteStore(str(path))
    store.open()
    assert store.one("PRAGMA integrity_check") == "ok"
    store.close()


# A test runner may have threads, which newer Pythons warn about; the child calls nothing that needs them.
forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@forks
@pytest.mark.parametrize("orderly", [True, False])
def test_a_forked_child_does_not_keep_the_lock(store: SqliteStore, path: Path, *, orderly: bool) -> None:
    """It inherits the descriptor, and would hold the store of a parent that has closed it or has died."""
    done, finish = os.pipe()
    ready, say_ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(finish)
        os.write(say_ready, b"!")
        select.select([done], [], [], 60)  # until the parent has looked
        os._exit(0)
    try:
        assert orderly or os.read(ready, 1) == b"!"
        if not orderly:  # all that is left of a process that was killed
            store.db.close()
            store.disown()
        store.close()
        successor = SqliteStore(str(path))
        successor.open()
        successor.close()
    finally:
        for end in (finish, done, ready, say_ready):
            os.close(end)
        assert os.waitpid(pid, 0)[1] == 0


@forks
def test_a_fork_does_not_disturb_the_parent(store: SqliteStore, submit: Callable[..., Any]) -> None:
    """The child's copy of the connection writes nothing at its end, and cannot be used."""
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    pid = os.fork()
    if pid == 0:
        try:
            store.begin()
        except StoreError:
            gc.collect()
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    store.commit()
    assert store.counts() == {"slack": (1, 0)}
    assert store.one("PRAGMA integrity_check") == "ok"


def test_a_store_that_is_done_with_is_forgotten(tmp_path: Path) -> None:
    """Every start of the outbox makes one: with its cached events it may not stay for ever."""
    store = SqliteStore(str(tmp_path / "knell.db"))
    store.open()
    store.close()
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
