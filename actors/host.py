"""What all cells of one system share."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .clock import Clock
from .io import IoLoop
from .letters import DeadLetters
from .orders import ActorEvent


@dataclass(frozen=True)
class Host:
    """The surroundings of a tree of actors.

    Attributes:
        io: the one I/O loop.
        clock: time and dice.
        letters: where dead messages go.
        observers: told of every actor event, on the thread where it happens; must not block or raise.
        max_zombies: hung threads beyond which the root gives up.
        zombies: threads given up while they hung; ended ones are forgotten when they are counted.
    """

    io: IoLoop
    clock: Clock = field(default_factory=Clock)
    letters: DeadLetters = field(init=False)
    observers: list[Callable[[ActorEvent], None]] = field(default_factory=list)
    max_zombies: int = 16
    zombies: set[threading.Thread] = field(default_factory=set)

    def __post_init__(self) -> None:
        object.__setattr__(self, "letters", DeadLetters(self.clock.now))

    def living_zombies(self) -> int:
        """Return how many given-up threads have not ended yet."""
        for thread in [thread for thread in tuple(self.zombies) if not thread.is_alive()]:
            self.zombies.discard(thread)
        return len(self.zombies)

    def tell(self, event: ActorEvent) -> None:
        """Tell the observers."""
        for observer in self.observers:
            observer(event)
