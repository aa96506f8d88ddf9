"""A file that only takes up room: given up when the disk is full, so that deliveries can still be settled."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

SIZE = 4 * 1024 * 1024
"""Bytes: room for about a thousand commits of the log, which is used again from its start after that."""

ROOM = 10
"""How many times its size must be free before it is made."""

_BLOCK = 64 * 1024


class Ballast:
    """The file beside one store."""

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(store.name + ".ballast")

    def make(self) -> bool:
        """Make the file where it is missing and there is plenty of room; return whether it is there."""
        try:
            if self._path.exists():
                return True
            if shutil.disk_usage(self._path.parent).free < ROOM * SIZE:
                return False
            self._write()
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Remove the file; return whether there was one."""
        with suppress(OSError):
            self._path.unlink()
            return True
        return False

    def _write(self) -> None:
        # Random: a file system that compresses would keep no room for zeros.
        block = os.urandom(_BLOCK)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for _ in range(SIZE // _BLOCK):
                os.write(descriptor, block)
        finally:
            os.close(descriptor)
