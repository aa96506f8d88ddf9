"""What is SQLite's own: the file, its lock, its settings."""

import gc
import os
import select
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

from knell.errors import StoreError, StoreLocked
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
    store.append(submit("e1", "slack"), NOW)
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
        store.append(submit("e1", "slack", description="x" * 100_000), NOW)
    assert not store.db.in_transaction
    store.db.execute("PRAGMA max_page_count = 100000")
    store.begin()
    store.append(submit("e1", "slack"), NOW)
    store.commit()
    assert store.counts() == {"slack": (1, 0)}


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
    store.append(submit("e1", "slack"), NOW)
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
