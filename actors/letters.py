"""Dead letters of the actor layer: messages nobody will handle, counted exactly and handed back.

No actor: it must work while every actor is down. A dead letter of the outbox (a delivery given up) is
something else: that one is in the store.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from knell.log import log

REASONS = ("mailbox_full", "crashed", "hung", "stopped", "forked")
"""Why a message dies: a closed set, and a metric's label."""

LOG_EVERY = 1.0
"""Seconds between log lines for the same actor and reason; the counters are exact all the same."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that will not be handled.

    Attributes:
        actor: whom it was for.
        message: the message itself.
        reason: one of `REASONS`.
        error: the exception it crashed its actor with.
    """

    actor: str
    message: Any
    reason: str
    error: BaseException | None = None


HandBack = Callable[[DeadLetter], None]
"""Gets every dead letter, on the thread where it died; must not block or raise."""


class DeadLetters:
    """Counts, logs at a bounded rate, and hands each letter to the one who can make good for it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.hand_back: HandBack | None = None
        self._now = now
        # A sender may be a `__del__` or a signal handler, in the middle of this very code on the same thread:
        # so the lock is reentrant, and a count is a box that is added to in one step.
        self._lock = threading.RLock()
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def take(self, letter: DeadLetter) -> None:
        """Take one dead letter; any thread."""
        key = (letter.actor, letter.reason)
        now = self._now()
        with self._lock:
            count = self._counts.setdefault(key, [0])
            count[0] += 1
            total = count[0]
            at, before = self._logged.get(key, (now - LOG_EVERY, 0))
            if report := now - at >= LOG_EVERY:
                self._logged[key] = (now, total)
        if report:
            _log(letter, total - before)
        if self.hand_back is not None:
            try:
                self.hand_back(letter)
            except Exception:  # noqa: BLE001 - whatever it is
                # It would crash whoever buries: a sender, or a supervisor.
                log.exception("actor.hand_back_failed", actor=letter.actor, reason=letter.reason)

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many letters died, by actor and reason."""
        with self._lock:
            return {key: count for key, (count,) in self._counts.items()}

    @property
    def total(self) -> int:
        """How many letters died."""
        with self._lock:
            return sum(count for (count,) in self._counts.values())


def _log(letter: DeadLetter, count: int) -> None:
    log.warning(
        "actor.dead_letter",
        actor=letter.actor,
        reason=letter.reason,
        message_type=type(letter.message).__name__,
        count=count,
        error=repr(letter.error) if letter.error else None,
    )
