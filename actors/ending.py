"""The end of a program that did not stop its systems: they are stopped for it, shortly.

Nothing rests on it, since all threads are daemons and what was accepted is on disk. It gives what was told in
the last moment the time to be accepted, and what is under way the time to end.
"""

import atexit
import weakref
from typing import Protocol

EXIT_SECONDS = 1.0
"""How long a program that ends without `stop` is held up by one system."""


class Stoppable(Protocol):
    """What runs until it is stopped."""

    def stop(self, timeout: float | None = None) -> None:
        """Stop."""


running: "weakref.WeakSet[Stoppable]" = weakref.WeakSet()
"""The systems of this process that nobody has stopped yet."""


def _at_exit() -> None:
    for system in list(running):
        system.stop(EXIT_SECONDS)


atexit.register(_at_exit)
