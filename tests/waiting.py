"""Looking until something holds that nobody tells: what another process or another thread has done."""

import time
from collections.abc import Callable
from threading import Event
from typing import Any

PATIENCE = 30.0
"""Seconds after which a test gives up; nothing is ever waited for that long unless it is broken."""

LOOK = 0.01
"""Seconds between two looks."""


def until(
    condition: Callable[[], Any], seconds: float = PATIENCE, *, story: Callable[[], str] | None = None
) -> Any:
    """Look until a condition holds, and return what it was.

    Args:
        condition: looked at again and again.
        seconds: how long.
        story: what to show of the other side when it never came.
    """
    pause, deadline = Event(), time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it never came: {story()[-3000:] if story else condition}"
        pause.wait(LOOK)
    return found
