"""One SQLite file, owned by one process and written by one connection, with a full sync per commit.

Every promise rests on `synchronous=FULL`: NORMAL loses acknowledged rows in a power cut, so the setting is
read back at the start and anything else is refused. The log is moved into the file by this connection alone:
a bug of SQLite that can damage a file needs two that do (https://www.sqlite.org/wal.html, "WAL-reset bug").
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from knell.errors import StoreError, StoreFull
from knell.log import log
from knell.store.ballast import Ballast
from knell.store.handle import Handle
from knell.store.lock import OwnerLock
from knell.store.schema import migrate
from knell.store.words import in_words

FULL = 2
"""`PRAGMA synchronous`: fsync at every commit."""

WAL_PAGES = 2000
"""Pages of log (8 MiB) after which a commit also moves it into the file, as far as readers allow."""

CACHE_KIB = 16 * 1024
"""Pages kept in memory: the inner pages of all indexes of a million deliveries."""

BUSY_SECONDS = 5.0
"""How long to wait for a reader that holds the file for a moment."""

LOOK_BYTES = 64 * 1024 * 1024
"""Size up to which a file is looked through after an unclean end: a tenth of a second. The log has checksums,
so what a crash leaves behind is no damage; `knell store check` looks at a file of any size."""

_S = TypeVar("_S", bound="SqliteFile")
_P = ParamSpec("_P")
_R = TypeVar("_R")


def guarded(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Turn SQLite's errors into `StoreError`, leave no half transaction behind, and hold off forks."""

    @wraps(method)
    def call(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self.calling:
            try:
                return method(self, *args, **kwargs)
            except sqlite3.Error as error:
                self.rollback()
                raise self.failed(error) from error

    return cast("Callable[Concatenate[_S, _P], _R]", call)


class SqliteFile(Handle):
    """The file, its lock and its transactions."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._lock = OwnerLock(self.path)
        self._ballast = Ballast(self.path)

    @guarded
    def acquire(self) -> None:
        """Take the lock, open the file and bring it up to date.

        Raises:
            StoreLocked: another process has it.
            StoreError: it cannot be opened, is damaged, or cannot be made durable.
        """
        clean = self._lock.take()
        _warn_of_old_sqlite()
        self._db = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        self.path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA fullfsync = 1")  # macOS: only this one reaches the disk
        self._db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        self._db.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * 4096}")
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.execute("PRAGMA mmap_size = 0")
        if self.one("PRAGMA synchronous") != FULL or self.one("PRAGMA journal_mode") != "wal":
            raise StoreError(f"store {self.path}: the file system does not allow WAL with full sync")
        if not clean:
            self._look_through()
        migrate(self._db)
        self._ballast.make()

    def close(self) -> None:
        """Give up ownership; a second call does nothing."""
        with self.calling:
            if self._db is not None:
                self._db.close()
                self._db = None
        self._lock.release()

    @property
    def db(self) -> sqlite3.Connection:
        """The one writing connection.

        Raises:
            StoreError: the store is not open.
        """
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
        with self.calling:
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @guarded
    def checkpoint(self) -> None:
        """Empty the log into the file unless a reader is in the way, and take up the ballast again."""
        self.db.execute("PRAGMA busy_timeout = 0")  # a reader that stays must not hold up whoever writes
        try:
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            self.db.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        self._ballast.make()

    def failed(self, error: sqlite3.Error) -> StoreError:
        """Return what to raise for an error of SQLite; make room first when the disk is full."""
        words = f"store {self.path}: {in_words(error)}"
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
            return StoreError(words)
        if self._ballast.give_up():
            log.warning("store.ballast_given_up", path=str(self.path))
        if self._db is not None:
            with suppress(sqlite3.Error):  # the next commit writes at the start of the log, if that works
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return StoreFull(words)

    def _look_through(self) -> None:
        """Look for damage in a file that is not too large.

        Raises:
            StoreError: there is some.
        """
        if self.path.stat().st_size <= LOOK_BYTES and (found := self.one("PRAGMA quick_check(1)")) != "ok":
            raise sqlite3.DatabaseError(f"it is damaged: {found}")


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Say whether a version of SQLite has the bug that this module's first lines name."""
    major, minor, patch = version
    mended = {(3, 44): 6, (3, 50): 7}.get((major, minor))
    return version < (3, 51, 3) and (mended is None or patch < mended)


@cache
def _warn_of_old_sqlite() -> None:
    """Log a warning, once a process."""
    if has_wal_reset_bug(sqlite3.sqlite_version_info[:3]):
        log.warning(
            "store.old_sqlite",
            version=sqlite3.sqlite_version,
            advice="its WAL-reset bug can damage a file that another program writes too; 3.51.3 is mended",
        )
