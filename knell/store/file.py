"""One SQLite file, owned by one process and written by one connection, with a full sync per commit.

Every promise rests on `synchronous=FULL`: NORMAL loses acknowledged rows in a power cut, so the setting is
read back at the start and anything else is refused. Ownership is a lock on a file beside it.
"""

import ctypes
import fcntl
import os
import sqlite3
import weakref
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from knell.errors import StoreError, StoreLocked
from knell.store.schema import migrate

FULL = 2
"""`PRAGMA synchronous`: fsync at every commit."""

WAL_PAGES = 2000
"""Pages of WAL (8 MiB) after which a commit also checkpoints."""

BUSY_SECONDS = 5.0
"""How long to wait for a reader that holds the file for a moment."""

_S = TypeVar("_S", bound="SqliteFile")
_P = ParamSpec("_P")
_R = TypeVar("_R")


def guarded(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Turn SQLite's errors into `StoreError` and leave no half transaction behind."""

    @wraps(method)
    def call(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except sqlite3.Error as error:
            self.rollback()
            raise StoreError(f"store {self.path}: {error}") from error

    return cast("Callable[Concatenate[_S, _P], _R]", call)


class SqliteFile:
    """The file, its lock and its transactions."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._db: sqlite3.Connection | None = None
        self._lock: int | None = None
        _files.add(self)

    @guarded
    def acquire(self) -> None:
        """Take the lock, open the file and bring it up to date.

        Raises:
            StoreLocked: another process has it.
            StoreError: it cannot be opened, or cannot be made durable.
        """
        self._take_lock()
        self._db = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        self.path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA fullfsync = 1")  # macOS: only this one reaches the disk
        self._db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        if self.one("PRAGMA synchronous") != FULL or self.one("PRAGMA journal_mode") != "wal":
            raise StoreError(f"store {self.path}: the file system does not allow WAL with full sync")
        migrate(self._db)

    def close(self) -> None:
        """Give up ownership; a second call does nothing."""
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock is not None:
            # Unlocked, not only closed: a child forked a moment ago may hold a copy of the descriptor still.
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            os.close(self._lock)
            self._lock = None

    @property
    def db(self) -> sqlite3.Connection:
        """The one writing connection."""
        if self._db is None:
            raise StoreError(f"store {self.path}: it is not open")
        return self._db

    def one(self, sql: str, *args: Any) -> Any:
        """Return the first value of the first row; None when there is none."""
        row = self.db.execute(sql, args).fetchone()
        return None if row is None else row[0]

    @guarded
    def begin(self) -> None:
        """Begin a transaction."""
        self.db.execute("BEGIN IMMEDIATE")

    @guarded
    def commit(self) -> None:
        """Make everything since `begin` durable."""
        self.db.execute("COMMIT")

    def rollback(self) -> None:
        """Undo everything since `begin`; without a transaction it does nothing."""
        if self._db is not None and self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _take_lock(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            name = self.path.with_name(self.path.name + ".lock")
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"store {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreLocked(f"store {self.path}: process {owner} is using it") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def disown(self) -> None:
        """Let go of lock and connection in a forked child: both are the parent's."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._db is not None:
            abandon(self._db)
            self._db = None


def abandon(connection: sqlite3.Connection) -> None:
    """Never close a connection that a fork inherited, as the garbage collector would.

    SQLite's "How To Corrupt", section 2.6: not even sqlite3_close() is safe in the child.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


# Weakly: what is registered with the interpreter itself stays for ever, and a store holds cached events.
_files: weakref.WeakSet[SqliteFile] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child inherits the locks with their descriptors, and would keep them beyond our end."""
    for file in list(_files):
        file.disown()


os.register_at_fork(after_in_child=_after_fork)
