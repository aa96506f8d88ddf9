"""What happened in a history: for its checksum, and for people."""

import hashlib
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import knell.log as log_module

LONGEST = 300
"""Characters of one thing in a line."""

_EVENT = re.compile(r"NotificationEvent\([^|]{0,500}?event_id='([^']*)'\)")
_DELIVERY = re.compile(
    r"Delivery\(row=(\d+), event=(\S+), channel='(\w+)', order_key='([^']*)', "
    r"attempts=(\d+), crashes=(\d+)[^)]*\)"
)


class Trace:
    """One history's.

    Args:
        now: virtual time.
        verbose: whether it has log lines and whole messages; then it is for people only, since the ids of
            knell's own alerts are never the same.
    """

    def __init__(self, now: Callable[[], float], *, verbose: bool) -> None:
        self.verbose = verbose
        self.notes: list[tuple[Any, ...]] = []
        self._now = now

    def note(self, what: str, *about: Any) -> None:
        """Write down that something happened."""
        self.notes.append((self._now(), what, *about))

    def digest(self) -> str:
        """Return the SHA-256 of everything."""
        return hashlib.sha256("\n".join(map(repr, self.notes)).encode()).hexdigest()

    def lines(self) -> list[str]:
        """Return a line for each thing that happened."""
        return [f"{at:12.3f}  {what:14} {' '.join(map(_brief, about))}" for at, what, *about in self.notes]

    @contextmanager
    def instead_of_the_log(self) -> Generator[None]:
        """Take knell's log lines, or drop them."""
        where: Any = log_module
        made, logger = where._make, _Log(self.note if self.verbose else None)
        where._make = lambda: logger
        try:
            yield
        finally:
            where._make = made


class _Log:
    def __init__(self, note: Callable[..., None] | None) -> None:
        self._note = note

    def __getattr__(self, level: str) -> Callable[..., None]:
        note = self._note
        return _drop if note is None else lambda *words, **more: note("log", level, *words, more)


def _drop(*_: Any, **__: Any) -> None:
    return


def _brief(about: object) -> str:
    """Write something for people: an event as its id, a delivery as its row, and nothing too long."""
    text = _EVENT.sub(r"\1", str(about)[: 10 * LONGEST])
    return _DELIVERY.sub(r"<\1 \2 \3 \4 attempts=\5 crashes=\6>", text)[:LONGEST]
