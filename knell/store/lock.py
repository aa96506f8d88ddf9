"""Who owns a store: a lock on a file beside it, with the owner's process number in it."""

import fcntl
import os
import weakref
from pathlib import Path

from knell.errors import StoreError, StoreLocked


class OwnerLock:
    """The lock of one store's file."""

    def __init__(self, path: Path) -> None:
        self._store = path
        self._path = path.with_name(path.name + ".lock")
        self._descriptor: int | None = None
        _locks.add(self)

    def take(self) -> bool:
        """Become the owner; return whether the last owner gave it up in order, which empties the file.

        Raises:
            StoreLocked: another process owns the store, or this one does already.
            StoreError: the file cannot be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"store {self._store}: {error.strerror}") from error
        last = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StoreLocked(f"store {self._store}: process {last or 'unknown'} is using it") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return not last

    def release(self) -> None:
        """Give the store up; a second call does nothing."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            # Unlocked, not only closed: a child forked a moment ago may hold a copy of the descriptor still.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.disown()

    def disown(self) -> None:
        """Close the descriptor and leave the lock to whoever else holds it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


# Weakly: what is registered with the interpreter itself stays for ever.
_locks: weakref.WeakSet[OwnerLock] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child inherits the locks with their descriptors, and would keep them beyond our end."""
    for lock in list(_locks):
        lock.disown()


os.register_at_fork(after_in_child=_after_fork)
