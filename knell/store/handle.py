"""A process's handle on a store's file, and what a fork must not meet there.

During a call SQLite holds mutexes of the whole process. A child forked at that moment would wait for ever for
a thread it does not have, even with a store of its own. So whoever forks waits until no call is under way.
"""

import ctypes
import os
import sqlite3
import threading
import time
import weakref
from pathlib import Path

PATIENCE_SECONDS = 2.0
"""How long a fork waits for calls under way: a sync on a busy disk, not a backup of minutes."""


class Handle:
    """One connection to a store's file, or none yet.

    Attributes:
        path: the file.
        calling: held during each call of SQLite.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.calling = threading.RLock()
        self._db: sqlite3.Connection | None = None
        with _forking:
            _handles.add(self)

    def disown(self) -> None:
        """Let go of the connection in a forked child: it is the parent's."""
        self.calling = threading.RLock()
        if self._db is not None:
            _abandon(self._db)
            self._db = None


def _abandon(connection: sqlite3.Connection) -> None:
    """Never close a connection that a fork inherited, as the garbage collector would.

    SQLite's "How To Corrupt", section 2.6: not even sqlite3_close() is safe in the child.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


# Weakly: what is registered with the interpreter itself stays for ever, and a store holds cached events.
_handles: weakref.WeakSet[Handle] = weakref.WeakSet()
_forking = threading.RLock()
"""Held from before a fork until after it: one thread forks at a time, and no handle is made meanwhile."""
_quiet: list[Handle] = []
"""The handles that the thread which forks has found, or waited to be, outside of SQLite."""


def _before_fork() -> None:
    _forking.acquire()
    latest = time.monotonic() + PATIENCE_SECONDS
    _quiet.extend(
        handle
        for handle in list(_handles)
        if handle.calling.acquire(timeout=max(0.0, latest - time.monotonic()))
    )


def _after_fork_in_parent() -> None:
    while _quiet:
        _quiet.pop().calling.release()
    _forking.release()


def _after_fork_in_child() -> None:
    _quiet.clear()
    for handle in list(_handles):
        handle.disown()
    _forking.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
