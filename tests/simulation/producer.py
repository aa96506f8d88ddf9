"""Those who tell events, each until it is accepted, and what they are told in turn."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import pykka

from knell.actors.mail import Submit
from knell.actors.receipt import Receipt

from .audit import Auditor
from .clockwork import Clockwork
from .plan import Told
from .process import Process
from .trace import Trace

PATIENCE = 60.0
"""Virtual seconds after which somebody who tells an event and hears nothing tells it again."""

AGAIN = 5.0
"""Virtual seconds after which somebody who finds no process looks again."""


class Ack(Receipt):
    """A receipt that says when it changes."""

    def __init__(self, event_id: str, decided: Callable[["Ack", list[str]], None]) -> None:
        super().__init__(event_id)
        self._decided_by = decided

    def accept(self, channels: list[str], *, duplicate: bool = False) -> None:
        """Note that the event is durable, and where it goes."""
        super().accept(channels, duplicate=duplicate)
        self._decided_by(self, channels)

    def refuse(self, reason: str) -> None:
        """Note that it was not accepted."""
        super().refuse(reason)
        self._decided_by(self, [])

    @property
    def settled(self) -> bool:
        """Whether nobody who waits with it waits any more."""
        return (self.refused is not None or self.accepted(0)) and not self.open


class Producers:
    """All of them.

    Args:
        events: what they have to tell.
        process: the one that runs now and takes events, if any.
        accepted: told after each event that is accepted.

    Attributes:
        open: what was not accepted yet, by its number.
    """

    def __init__(
        self,
        clockwork: Clockwork,
        trace: Trace,
        audit: Auditor,
        events: Sequence[Told],
        process: Callable[[], Process | None],
        accepted: Callable[[], None],
    ) -> None:
        self._clockwork = clockwork
        self._trace = trace
        self._audit = audit
        self._process = process
        self._accepted = accepted
        self._acks: list[Ack] = []
        self.open: dict[int, Told] = dict(enumerate(events))
        for number, told in self.open.items():
            clockwork.at(told.at, partial(self._tell, number))

    def forget(self) -> None:
        """Wait for nothing that a dead process promised."""
        self._acks.clear()

    def finish(self) -> None:
        """Everything should have come to its end."""
        self._audit.hold(not self.open, "I2: told and never accepted", list(self.open.values()))
        waiting = [ack.id for ack in self._acks if not ack.settled]
        self._audit.hold(not waiting, "I2: somebody waits for ever", waiting)

    def _tell(self, number: int) -> None:
        if number not in self.open:
            return
        told, process = self.open[number], self._process()
        again = partial(self._tell, number)
        if process is None:
            self._clockwork.at(self._clockwork.now + AGAIN, again)
            return
        ack = Ack(told.sealed.event.event_id, partial(self._decided, number))
        self._acks.append(ack)
        with suppress(pykka.ActorDeadError):
            process.router.tell(Submit(told.sealed, ack, told.key))
        self._clockwork.at(self._clockwork.now + PATIENCE, again)

    def _decided(self, number: int, ack: Ack, channels: list[str]) -> None:
        if ack not in self._acks:
            return  # its process is dead
        if ack.refused is not None:
            self._trace.note("refused", ack.id, ack.refused)
            return
        self._trace.note("accepted", ack.id, *channels)
        self.open.pop(number, None)
        self._audit.acknowledge(ack.id, channels)
        self._accepted()
