"""What a channel remembers: threads, opt-outs, money spent. It outlives the actor and the process."""

import time
from collections.abc import Callable
from typing import Any, Protocol

MONTH = 30 * 86400.0
"""Seconds."""


class Memory(Protocol):
    """One channel's own notes, by key; values are plain JSON data. Used on the I/O thread."""

    async def get(self, key: str) -> Any:
        """Return what was noted last; None when nothing was, or its time is over.

        Raises:
            StoreError: the store cannot be read.
        """
        ...

    def put(self, key: str, value: Any, seconds: float = MONTH) -> None:
        """Note something for so many seconds (infinity: for good); None forgets it.

        It is durable no later than the outcome of the `send` that noted it, and every `get` after it
        sees it.

        Raises:
            TypeError: the value is no plain data.
        """
        ...


class Scratch:
    """A memory for a channel that runs outside of a system: it lasts as long as the object."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._notes: dict[str, tuple[Any, float]] = {}

    async def get(self, key: str) -> Any:
        """Return what was noted last."""
        value, until = self._notes.get(key, (None, 0.0))
        return value if self._now() < until else None

    def put(self, key: str, value: Any, seconds: float = MONTH) -> None:
        """Note something."""
        if value is None:
            self._notes.pop(key, None)
        else:
            self._notes[key] = (value, self._now() + seconds)
