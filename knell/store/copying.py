"""A consistent copy of a store's file, while its owner writes."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from knell.errors import StoreError


def copy(source: sqlite3.Connection, target: Path) -> None:
    """Copy everything that is committed now to a new file, on the disk when this returns.

    Raises:
        StoreError: the file exists, or cannot be written, or the source is damaged.
    """
    try:
        # Made here, so that nobody's file is overwritten and nobody else can read what is in it.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StoreError(f"backup {target}: {error.strerror}") from error
    try:
        with closing(sqlite3.connect(target)) as connection:
            source.backup(connection)  # in one step: a single moment, however much is written meanwhile
            # As one file, without a log that would have to be copied too.
            connection.execute("PRAGMA journal_mode = DELETE")
            _check(connection)
        _sync(target)
        _sync(target.parent)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error | OSError):
            raise StoreError(f"backup {target}: {error}") from error
        raise


def _check(connection: sqlite3.Connection) -> None:
    """Refuse a copy that is as damaged as what it was made of: nobody should rely on it."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the file is damaged; `knell store check` looks at all of it ({found})")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
