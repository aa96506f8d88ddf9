"""What an operator of a running system does: look at deliveries, try dead ones again, give them up."""

from typing import TYPE_CHECKING, Any

import msgspec
import pykka

from knell.actors.lifetime import ForkedError
from knell.actors.mail import Cancel, Replay
from knell.actors.system import System
from knell.errors import DeliveryError, StoreError, SystemStopped
from knell.messages import DeliveryState
from knell.store.records import AuditRecord, DeliveryDetail, DeliveryRecord, Selection

if TYPE_CHECKING:
    from knell.store.contract import Reader

ANSWER_SECONDS = 60.0
"""How long a commit may take: a replay of a million deliveries is one."""

EVERYTHING = Selection()


class Operations:
    """The part of the manager that is about deliveries. Its methods may be called from any thread.

    Raises:
        SystemStopped: every method, in a process that is a fork of the system's.
        StoreError: every method: the store cannot be read or written.
    """

    _system: System
    _reader: "Reader"

    def deliveries(
        self, selection: Selection = EVERYTHING, cursor: str = "", limit: int = 100
    ) -> list[DeliveryRecord]:
        """Return deliveries, youngest first, after the one whose `cursor` is given.

        Raises:
            ValueError: there is no such cursor.
        """
        self._system.life.check()
        return self._reader.deliveries(selection, cursor, limit)

    def count(self, selection: Selection = EVERYTHING) -> int:
        """Return how many deliveries are selected; every one of them is looked at."""
        self._system.life.check()
        return self._reader.count(selection)

    def delivery(self, id_: str) -> DeliveryDetail:
        """Return a delivery with its event and every attempt.

        Raises:
            DeliveryError: there is no such delivery.
        """
        self._system.life.check()
        found = self._reader.delivery(id_)
        if found is None:
            raise DeliveryError(f"there is no delivery {id_!r}")
        return found

    def audit(self, limit: int = 100) -> list[AuditRecord]:
        """Return what operators did, latest first."""
        self._system.life.check()
        return self._reader.audit(limit)

    def replay(self, selection: Selection, by: str) -> int:
        """Try dead letters again, under their old ids, with all their attempts, 20 a second and channel.

        Args:
            selection: which; only dead ones, unless its `state` says `DONE`.
            by: who wants it, for the audit record.

        Returns:
            how many were brought back; each of them is in the outbox by then.

        Raises:
            SystemStopped: the system does not run.
        """
        return self._order(Replay(_dead(selection), by))

    def cancel(self, selection: Selection, by: str) -> int:
        """Give up deliveries for good; arguments and answer as `replay` has them, `state` may be `PENDING`.

        Raises:
            SystemStopped: the system does not run.
        """
        return self._order(Cancel(_dead(selection), by))

    def _order(self, order: Replay | Cancel) -> int:
        self._system.life.check()
        outbox = self._system.outbox
        if outbox is None:
            raise SystemStopped("the system does not run yet")
        try:
            answer: Any = outbox.ask(order, timeout=ANSWER_SECONDS)
        except ForkedError:
            raise
        except pykka.ActorDeadError:
            raise SystemStopped("the system has stopped") from None
        except pykka.Timeout:
            why = f"the outbox has not answered in {ANSWER_SECONDS:g} seconds; the order may be carried out"
            raise StoreError(why) from None
        if isinstance(answer, Exception):
            raise answer
        return int(answer)


def _dead(selection: Selection) -> Selection:
    """Mean dead letters where no state is said: nobody sends everything again by a slip."""
    return selection if selection.state else msgspec.structs.replace(selection, state=DeliveryState.DEAD)
