"""What comes to the outbox most, gathered: the store takes many at once for a fraction of the price."""

from typing import Any

from knell.deliveries import Settlement

from .mail import Append, Begin, Settled


class Pile:
    """Messages whose order among each other does not matter: no two of them are about the same delivery.

    What is accepted has no rows yet; and whether a delivery may begin, only the store decides.
    """

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self.begins: list[Begin] = []
        self.settlements: list[Settlement] = []
        self._rows: set[int] = set()

    def take(self, message: Any) -> bool:
        """Take a message; False when it has to wait for the others, or is of another kind."""
        match message:
            case Append():
                self.appends.append(message)
            case Begin(attempt):
                if not self._new(attempt.rows):
                    return False
                self.begins.append(message)
            case Settled(settlements):
                if not self._new(tuple(settlement.delivery.row for settlement in settlements)):
                    return False
                self.settlements += settlements
            case _:
                return False
        return True

    def _new(self, rows: tuple[int, ...]) -> bool:
        if not self._rows.isdisjoint(rows):
            return False
        self._rows.update(rows)
        return True
