"""What all cells of one system share."""

from dataclasses import dataclass, field

from .clock import Clock
from .io import IoLoop
from .letters import DeadLetters


@dataclass(frozen=True)
class Host:
    """The surroundings of a tree of actors.

    Attributes:
        io: the one I/O loop.
        clock: time and dice.
        letters: where dead messages go.
    """

    io: IoLoop
    clock: Clock = field(default_factory=Clock)
    letters: DeadLetters = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "letters", DeadLetters(self.clock.now))
