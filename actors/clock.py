"""Time and chance, passed in wherever they are needed, so that tests can hold them still."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where an actor gets its time and its random numbers from.

    Attributes:
        now: monotonic seconds, for every wait and timeout.
        wall: Unix seconds, only for what people read.
        dice: uniform numbers in [0, 1).
    """

    now: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    dice: Callable[[], float] = random.random
