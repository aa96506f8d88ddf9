"""The part of the outbox that accepts events."""

from collections.abc import Sequence

from knell.events import NotificationEvent
from knell.log import log
from knell.store.contract import Accepted, Conflict, Submission

from .books import Books
from .context import signal
from .mail import Append, Confirmed, Fallback
from .receipt import Receipt
from .room import Room


class Acceptance(Books):
    """Takes events in, each with all its deliveries, and says so to whoever told them."""

    _room: Room

    def _append(self, orders: Sequence[Append]) -> None:
        told = [each for order in orders for each in order.submissions]
        if self._room.full:
            for submission, receipt in told:
                self._later(self._refuse, submission, receipt, "disk_full", "failed")
        else:
            answers = self._store.append([submission for submission, _ in told], self._now())
            for (submission, receipt), answer in zip(told, answers, strict=True):
                self._appended(submission, receipt, answer)
        for order in orders:
            self._later(signal, order.reply_to, Confirmed(len(order.submissions)))

    def _appended(self, submission: Submission, receipt: Receipt | None, answer: Accepted | Conflict) -> None:
        event = submission.sealed.event
        match answer:
            case Conflict():
                self._later(self._refuse, submission, receipt, "conflict", "conflict")
            case Accepted(seq, True):
                self._later(self._repeated, event, seq, receipt)
            case Accepted(seq):
                channels = [route.channel for route in submission.routes]
                self._stirred.update(channels)
                self._later(self._accepted, event, seq, channels, receipt)
                for channel in channels:
                    if channel in self._diverted:
                        self._later(self._fall_back, Fallback(seq, event, channel))

    def _accepted(
        self, event: NotificationEvent, seq: int, channels: list[str], receipt: Receipt | None
    ) -> None:
        self._telemetry.count_event(event.event_type, "accepted" if channels else "suppressed")
        log.info("event.accepted", event_id=event.event_id, event_type=event.event_type, channels=channels)
        if receipt is not None:
            self._receipts[seq] = receipt
        self._rerouted(seq, channels, receipt)

    def _rerouted(self, seq: int, channels: list[str], receipt: Receipt | None = None) -> None:
        for channel in channels:
            self._telemetry.channel(channel).pending.inc()
        receipt = receipt or self._receipts.get(seq)
        if receipt is not None:
            receipt.accept(channels)

    def _repeated(self, event: NotificationEvent, seq: int, receipt: Receipt | None) -> None:
        self._telemetry.count_event(event.event_type, "duplicate")
        if receipt is None:
            return
        results = self._store.results(seq)
        receipt.accept(list(results), duplicate=True)
        for result in results.values():
            if result is not None:
                receipt.settle(result)
        if receipt.open:
            leader = self._receipts.setdefault(seq, receipt)
            if leader is not receipt:
                receipt.follow(leader)

    def _refuse(self, submission: Submission, receipt: Receipt | None, reason: str, result: str) -> None:
        event = submission.sealed.event
        self._telemetry.count_event(event.event_type, result)
        if reason != "disk_full":  # said once, when it began
            log.error("event.refused", event_id=event.event_id, event_type=event.event_type, reason=reason)
        if receipt is not None:
            receipt.refuse(reason)
