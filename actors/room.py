"""Room for more events: what the outbox last saw of its store's disk, and whether it takes any.

Looked at on the outbox's thread, read from any. It belongs to the system, so that it outlives a crash.
"""

from collections.abc import Callable

from knell.log import log

LOOK = 1.0
"""Seconds between two looks."""

ENOUGH = 1.125
"""Times the least free space there must be before events are taken again: the store's own log takes and
gives back 8 MiB, and must not open and shut the door by that."""

MIB = 1024 * 1024


class Room:
    """Whether there is any.

    Args:
        free: returns the bytes that are free on the disk of a store, by its URL.

    Attributes:
        full: why no event is taken; empty while they are.
        failing: whether the last commit failed.
    """

    def __init__(self, free: Callable[[str], float]) -> None:
        self._free = free
        self.full = ""
        self.failing = False

    @property
    def lack(self) -> str:
        """Why an event that comes now would be refused, for anybody to read; empty when it would not."""
        return self.full or ("the store cannot be written" if self.failing else "")

    def look(self, url: str, least: int) -> None:
        """Look at the disk of a store, of which `least` MiB have to stay free; 0: it does not matter."""
        free = self._free(url) / MIB if least else 0.0
        if free < least * (ENOUGH if self.full else 1):
            self.shut(f"the disk of the store has {free:.0f} MiB left, store.min_free_mb is {least}")
        elif self.full:
            self.full = ""
            log.warning("outbox.disk_has_room", url=url)

    def shut(self, why: str) -> None:
        """Take no more events until the next look finds room."""
        if not self.full:
            log.error("outbox.disk_full", reason=why)
        self.full = why
