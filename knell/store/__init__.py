"""Where accepted events live: the storage contract and its implementations."""

import math
import shutil
from pathlib import Path

from knell.errors import StoreError
from knell.store.contract import REMEMBERED, Reader, Store

_SQLITE = "sqlite:///"


def open_store(url: str, remember: float = REMEMBERED) -> Store:
    """Return the store a URL names; it is not opened yet.

    `sqlite:///relative/path.db` and `sqlite:////absolute/path.db` name a file.

    Args:
        url: where it is.
        remember: seconds for which the keys of an event count as seen.

    Raises:
        StoreError: there is no such kind of store.
    """
    path = _path(url)
    from knell.store.sqlite import SqliteStore  # noqa: PLC0415 - only what is used is imported

    return SqliteStore(path, remember)


def open_reader(url: str) -> Reader:
    """Return a reader of the same store, for any thread; see `open_store`.

    Raises:
        StoreError: there is no such kind of store.
    """
    path = _path(url)
    from knell.store.reader import SqliteReader  # noqa: PLC0415

    return SqliteReader(path)


def free_bytes(url: str) -> float:
    """Return what is left on the disk of a store; infinity when that cannot be told."""
    if not url.startswith(_SQLITE):
        return math.inf
    try:
        return shutil.disk_usage(Path(url.removeprefix(_SQLITE)).absolute().parent).free
    except OSError:  # whatever is wrong with it, the next commit will find out
        return math.inf


def _path(url: str) -> str:
    if not url.startswith(_SQLITE):
        kind = url.split(":", 1)[0]
        raise StoreError(f"store: {kind!r} is no kind of store this version has; use sqlite:///path")
    return url.removeprefix(_SQLITE)
