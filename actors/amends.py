"""What follows from a dead letter: whoever waits for it is told, and no delivery hangs in the air."""

from collections.abc import Callable
from contextlib import suppress
from traceback import format_exception
from typing import Any

import pykka

from knell.deliveries import Again, Attempt, Dead, Done, Settlement, Verdict
from knell.events import NotificationEvent
from knell.messages import Delivered, Reason

from .behaviour import IoDone
from .channel import Sending
from .letters import DeadLetter
from .mail import Append, Begun, Settled, Submit
from .telemetry import Telemetry

_RESULTS = {"mailbox_full": "overflow"}


class Amends:
    """Makes good for messages that no actor will handle; called on any thread, never blocks."""

    def __init__(self, telemetry: Telemetry, outbox: Callable[[], pykka.ActorRef[Any] | None]) -> None:
        self._telemetry = telemetry
        self._outbox = outbox

    def make(self, letter: DeadLetter) -> None:
        """Deal with one dead letter."""
        match letter.message:
            case NotificationEvent(event_type=event_type):
                self._refused(event_type, letter)
            case Submit(sealed, receipt):
                self._refused(sealed.event.event_type, letter)
                receipt.refuse(letter.reason)
            case Append(submissions):
                for submission, receipt_or_none in submissions:
                    self._refused(submission.sealed.event.event_type, letter)
                    if receipt_or_none is not None:
                        receipt_or_none.refuse(letter.reason)
            case Begun(attempt):
                self._settle(attempt, self._unsent(letter))
            case IoDone(op=Sending(_, attempt)) as done:
                self._settle(attempt, _known(done))
            case _:
                return  # requests, hints and answers: whoever asked asks again

    def _refused(self, event_type: object, letter: DeadLetter) -> None:
        name = event_type if isinstance(event_type, str) else ""
        self._telemetry.count_event(name, _RESULTS.get(letter.reason, "failed"))

    def _unsent(self, letter: DeadLetter) -> Verdict:
        """Judge an attempt that was begun and not sent: what killed its actor is quarantined."""
        if letter.error is None:
            return Again(Reason.CANCELLED, 0.0, False)
        reason = Reason.HUNG if letter.reason == "hung" else Reason.CRASHED
        return Dead(reason, "".join(format_exception(letter.error)))

    def _settle(self, attempt: Attempt, verdict: Verdict) -> None:
        outbox = self._outbox()
        if outbox is not None:
            with suppress(pykka.ActorDeadError):  # it settles what is left in doubt at its next start
                outbox.tell(Settled(tuple(Settlement(delivery, verdict) for delivery in attempt.deliveries)))


def _known(done: IoDone) -> Verdict:
    """An outcome that arrived too late for its actor is still known."""
    if isinstance(done.result, Delivered):
        return Done(done.result.receipt)
    reason = Reason.CRASHED if done.error is not None else done.result.reason
    return Again(reason, 0.0, done.error is None)
