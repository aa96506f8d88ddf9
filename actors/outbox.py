"""The outbox: the one actor that may block, because a commit is its work.

Started first and stopped last by the root supervisor. It owns the store. Whatever waits in its mailbox goes
into one transaction (group commit): the fsync that one event pays for serves all that came meanwhile. Nobody
is answered before the commit. A crash loses nothing: what it had in hand is handed out again, one by one, and
every step is safe to repeat.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import pykka

from knell.deliveries import Again, Attempt, Done, Settlement
from knell.errors import StoreError, StoreFull
from knell.events import NotificationEvent
from knell.log import log
from knell.messages import DeliveryResult, DeliveryState, Reason
from knell.store import open_store
from knell.store.contract import Accepted, Conflict, State, Store, Submission
from knell.store.contract import Settled as Stands

from .behaviour import Behaviour, Signal, Timer
from .context import Context, signal
from .desk import Desk
from .mail import (
    AddRoutes,
    Append,
    Begin,
    Begun,
    Cancel,
    Confirmed,
    Diverted,
    Fallback,
    Recall,
    Ref,
    Remember,
    Replay,
    Settled,
    Want,
)
from .policy.channel import Deliver, Withdrawn
from .receipt import Receipt
from .room import LOOK, Room
from .telemetry import Telemetry
from .upkeep import PAUSE, Keeping, Upkeep

LONGEST_DELAY = 3600.0
"""Seconds: a stored due time further away than this after a restart comes from a clock that jumped."""

TRY_AGAIN = 1.0
"""Seconds until a store that failed is tried again."""

SLICE = 200
"""Deliveries of a diverted channel that are handed to the router in one transaction."""


Lasting = Begin | Settled | AddRoutes | Diverted | Remember
"""What nobody says again: it is kept until it can be written."""


class Outbox(Behaviour):
    """Accepts events, hands out deliveries, writes down how they ended.

    Owns the store, the receipts somebody holds, and the demand of the channels. Receipts, demand, and
    what could not be written yet and nobody will say again survive a crash in `keep`.
    """

    most = 512
    finishes = True

    def __init__(
        self,
        ctx: Context,
        *,
        url: str,
        telemetry: Telemetry,
        room: Room,
        min_free_mb: int,
        keeping: Keeping,
        find: Callable[[str, float], Store] = open_store,
    ) -> None:
        super().__init__(ctx)
        self._store = find(url, keeping.dedup)
        self._telemetry = telemetry
        self._room, self._url, self._min_free_mb = room, url, min_free_mb
        self._anchor: float = ctx.keep.setdefault("anchor", ctx.clock.wall() - ctx.clock.now())
        self._receipts: WeakValueDictionary[int, Receipt]
        self._receipts = ctx.keep.setdefault("receipts", WeakValueDictionary())
        self._wants: dict[str, Want] = ctx.keep.setdefault("wants", {})
        self._unwritten: list[Lasting] = ctx.keep.setdefault("unwritten", [])
        self._diverted: set[str] = ctx.keep.setdefault("diverted", set())
        self._upkeep = Upkeep(self._store, keeping, self._now())
        self._busy = self._untidy = True
        self._asleep = False
        self._desk = Desk(self._store, telemetry, self._receipts)
        self._stirred: set[str] = set()
        self._after: list[Callable[[], None]] = []

    # Life

    def on_start(self) -> None:
        """Open the store, put back what a dead process was sending, and serve who has asked already."""
        self._store.open()
        if not self.ctx.keep.get("recovered"):  # later incarnations find sends of this very process
            self._transact(self._recover)
            self.ctx.keep["recovered"] = True
        self._desk.show(self._store.counts())
        self._stirred.update(self._wants)
        self._transact(self._serve)
        self._look()
        self._wake_for("upkeep", self._upkeep.interval)

    def _recover(self) -> None:
        recovered = self._store.recover(self._now(), self._now() + LONGEST_DELAY)
        if recovered:
            log.warning("outbox.recovered", deliveries=recovered)

    def on_stop(self) -> None:
        """Close the store; what is left in it is sent after the next start."""
        self._store.close()

    def on_failure(self, error: BaseException) -> None:
        """Close the store, so that the next incarnation can open it."""
        del error
        self._store.close()

    def on_receive(self, message: Any) -> Any:
        """Handle one message in a transaction of its own; answer an operator's order by its count."""
        if isinstance(message, Replay | Cancel):
            return self._answer(message)
        self.on_batch([message])
        return None

    def on_batch(self, messages: list[Any]) -> None:
        """Handle what has gathered in one transaction."""
        self._busy = True
        if self._asleep:
            self._asleep = False
            self._wake_for("upkeep", self._upkeep.interval)
        try:
            self._transact(partial(self._handle_all, messages))
        except StoreError as error:
            log.error("outbox.commit_failed", error=str(error), messages=len(messages))
            self._one_by_one(messages)

    def on_signal(self, signal: Signal) -> None:
        """Look for deliveries that have become due, and write what could not be written."""
        if not isinstance(signal, Timer):
            super().on_signal(signal)
            return
        if signal.key == "room":
            self._look()
            return
        if signal.key == "upkeep":
            self._look_after()
            return
        self._stirred.update(self._wants)
        try:
            self._transact(self._serve)
        except StoreError as error:
            log.error("outbox.commit_failed", error=str(error), messages=0)
            self._wake(TRY_AGAIN)

    # Transactions

    def _transact(self, work: Callable[[], None]) -> None:
        """Do work in a transaction, and tell the others once it is durable."""
        self._after = []
        try:
            self._store.begin()
            for message in self._unwritten:
                self._handle(message)
            work()
            self._store.commit()
        except BaseException as error:
            self._store.rollback()
            self._note_failure(error)
            raise
        self._room.failing = False
        self._unwritten.clear()
        self._tell_all()

    def _tell_all(self) -> None:
        """Tell everybody: what is durable is not found again, so one who cannot be told stops nobody else."""
        failed: Exception | None = None
        for tell in self._after:
            try:
                tell()
            except Exception as error:  # noqa: BLE001 - raised once all have been told
                failed = failed or error
        if failed is not None:
            raise failed

    def _note_failure(self, error: BaseException) -> None:
        if isinstance(error, StoreError):
            self._room.failing = True
        if isinstance(error, StoreFull):  # the disk is full for others than us, or a quota is used up
            self._room.shut("the disk of the store is full")
            self.ctx.wake_at("room", self.ctx.clock.now() + LOOK)

    def _look(self) -> None:
        """Look how much room is left, now and every second."""
        self._room.look(self._url, self._min_free_mb)
        if self._min_free_mb:
            self.ctx.wake_at("room", self.ctx.clock.now() + LOOK)

    def _handle_all(self, messages: list[Any]) -> None:
        for message in messages:
            self._handle(message)
        self._serve()

    def _one_by_one(self, messages: list[Any]) -> None:
        """After a failed commit: let through what can be, and refuse or keep the rest."""
        for message in messages:
            try:
                self._transact(partial(self._handle, message))
            except StoreError:
                self._give_up(message)
        self._wake(TRY_AGAIN)

    def _give_up(self, message: Any) -> None:
        match message:
            case Append(submissions, reply_to):
                for submission, receipt in submissions:
                    self._refuse(submission, receipt, "disk_full" if self._room.full else "store", "failed")
                signal(reply_to, Confirmed(len(submissions)))
            case Recall():
                self._recall_anyway(message)
            case _ if isinstance(message, Lasting):
                # As soon as that works. A `Begin` too: it may repeat one that was committed, so that only
                # the store can say whether it is withdrawn.
                self._unwritten.append(message)
            case Want(channel):  # a channel asks once, and waits for the answer
                self._wants[channel] = message
            case _:
                log.error("outbox.dropped", message_type=type(message).__name__)

    def _handle(self, message: Any) -> None:
        match message:
            case Append():
                self._append_all(message)
            case Want(channel):
                self._wants[channel] = message
                self._stirred.add(channel)
            case Begin():
                self._begin(message)
            case Settled():
                self._settle_all(message)
            case AddRoutes(seq, routes, order_key):
                added = self._store.add_routes(seq, routes, order_key)
                self._stirred.update(route.channel for route in added)
                self._later(self._rerouted, seq, [route.channel for route in added])
            case Diverted():
                self._divert(message)
            case Remember(channel, key, value, seconds):
                self._store.remember(channel, key, value, self._now() + seconds)
            case Recall(channel, key, reply):
                self._later(reply, self._store.recall(channel, key, self._now()))
            case Replay() | Cancel():
                self._carry_out(message)
            case _:
                self.ctx.unhandled(message)

    def _recall_anyway(self, question: Recall) -> None:
        """Answer a channel although nothing can be written: reading needs no room on the disk."""
        for note in reversed(self._unwritten):
            if isinstance(note, Remember) and (note.channel, note.key) == (question.channel, question.key):
                question.reply(note.value)
                return
        try:
            question.reply(self._store.recall(question.channel, question.key, self._now()))
        except StoreError as error:
            question.reply(error)

    def _later(self, tell: Callable[..., None], *args: Any) -> None:
        """Tell somebody once the transaction is durable."""
        self._after.append(partial(tell, *args))

    # Accepting

    def _append_all(self, order: Append) -> None:
        for submission, receipt in order.submissions:
            self._append(submission, receipt)
        self._later(signal, order.reply_to, Confirmed(len(order.submissions)))

    def _append(self, submission: Submission, receipt: Receipt | None) -> None:
        if self._room.full:
            self._later(self._refuse, submission, receipt, "disk_full", "failed")
            return
        match self._store.append(submission, self._now()):
            case Conflict():
                self._later(self._refuse, submission, receipt, "conflict", "conflict")
            case Accepted(seq, True):
                self._later(self._repeated, submission.sealed.event, seq, receipt)
            case Accepted(seq):
                channels = [route.channel for route in submission.routes]
                self._stirred.update(channels)
                self._later(self._accepted, submission.sealed.event, seq, channels, receipt)
                event = submission.sealed.event
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

    # Handing out

    def _serve(self) -> None:
        """Give deliveries to the channels that want some and may have got some."""
        hungry = set(self._wants)
        for channel, want in list(self._wants.items()):  # the order of a set is not the same in every run
            if channel not in self._stirred:
                continue
            fetch = want.fetch
            found = self._store.fetch(channel, fetch.limit, fetch.chain, fetch.held, self._now())
            if found:
                hungry.discard(channel)
                self._later(self._hand_out, want, Deliver(found, fetch.held))
        self._stirred.clear()
        due = [at for channel in hungry if (at := self._store.next_due(channel)) is not None]
        if due:
            self._wake(max(0.0, min(due) - self._now()))

    def _hand_out(self, want: Want, found: Deliver) -> None:
        """Answer a channel. Its demand is met only then: else it would wait for ever for what nobody told."""
        _tell(want.reply_to, found)
        self._wants.pop(want.channel, None)

    def _begin(self, order: Begin) -> None:
        if self._store.start(order.attempt):
            self._later(self._begun, order.attempt, order.reply_to)
        else:
            self._later(_tell, order.reply_to, Withdrawn(order.attempt))

    def _begun(self, attempt: Attempt, reply_to: Ref) -> None:
        """Let a channel send. One that has stopped since then never will: what it began waits again."""
        try:
            reply_to.tell(Begun(attempt))
        except pykka.ActorDeadError:
            again = Again(Reason.CANCELLED, 0.0, counted=False)
            _tell(
                self.ctx.ref, Settled(tuple(Settlement(delivery, again) for delivery in attempt.deliveries))
            )

    def _divert(self, order: Diverted) -> None:
        if not order.on:
            self._diverted.discard(order.channel)
            return
        self._diverted.add(order.channel)
        rows = self._store.pending(order.channel, order.after, SLICE)
        for _, seq in rows:
            self._later(self._fall_back, Fallback(seq, self._store.event(seq), order.channel))
        if len(rows) == SLICE:
            self._later(_tell, self.ctx.ref, Diverted(order.channel, True, rows[-1][1]))

    def _fall_back(self, fallback: Fallback) -> None:
        if router := self.ctx.lookup("router"):
            _tell(router, fallback)

    # Settling

    def _settle_all(self, report: Settled) -> None:
        for settlement in report.settlements:
            self._settle(settlement)

    def _settle(self, settlement: Settlement) -> None:
        stands = self._store.settle(settlement, self._now())
        if stands is not None:
            self._stirred.add(settlement.delivery.channel)
            self._later(self._settled, settlement, stands, self._now())

    def _settled(self, settlement: Settlement, stands: Stands, now: float) -> None:
        delivery, verdict = settlement.delivery, settlement.verdict
        metrics = self._telemetry.channel(delivery.channel)
        fields = {
            "event_id": delivery.event.event_id,
            "delivery_id": delivery.id,
            "channel": delivery.channel,
            "attempt": stands.attempts,
        }
        if stands.state < State.DONE:
            reason = Reason.CRASHED if not isinstance(verdict, Again) else verdict.reason
            metrics.retries[reason].inc()
            delay = verdict.delay if isinstance(verdict, Again) else 0.0
            detail = "" if isinstance(verdict, Done) else verdict.detail
            log.warning(
                "delivery.retry", **fields, reason=reason, delay_seconds=round(delay, 3), error=detail
            )
            return
        metrics.pending.dec()
        metrics.deliveries[stands.state.public].inc()
        result = _result(settlement, stands, now)
        if (receipt := self._receipts.get(stands.seq)) is not None:
            receipt.settle(result)
        if isinstance(verdict, Done):
            metrics.delivery_seconds.observe(max(0.0, now - delivery.accepted))
            log.info("delivery.delivered", **fields, milliseconds=result.delivery_time_ms)
        else:
            metrics.dead.inc()
            log.error("delivery.dead", **fields, reason=result.reason, error=result.error)
            self._fall_back(Fallback(stands.seq, delivery.event, delivery.channel))

    # Operators

    def _answer(self, order: Replay | Cancel) -> int | StoreError:
        """Carry out an order that is asked for; an error of the store is the asker's, and no crash."""
        count = 0

        def work() -> None:
            nonlocal count
            count = self._carry_out(order)
            self._serve()

        try:
            self._transact(work)
        except StoreError as error:
            log.error("outbox.commit_failed", error=str(error), messages=1)
            self._wake(TRY_AGAIN)
            return error
        return count

    def _carry_out(self, order: Replay | Cancel) -> int:
        carried = self._desk.carry_out(order, self._now())
        self._stirred.update(carried.channels)
        self._later(carried.tell)
        return carried.count

    # Upkeep

    def _look_after(self) -> None:
        """End what has expired, forget what is old, and move the log into the file when all is quiet."""
        busy, self._busy, again = self._busy, False, self._upkeep.interval
        self._untidy |= busy
        try:
            self._transact(self._expire)
            if self._upkeep.due(self._now()):
                self._transact(self._prune)
                again = PAUSE
            elif self._untidy and not busy:
                self._store.checkpoint()
                self._untidy = False
        except StoreError as error:
            log.error("outbox.upkeep_failed", error=str(error))
        if not (self._untidy or self._upkeep.expires or self._upkeep.due(self._now())):
            self._asleep, again = True, self._upkeep.until_prune(self._now())  # idle: do nothing at all
        self._wake_for("upkeep", again)

    def _prune(self) -> None:
        if self._upkeep.prune(self._now()):  # dead letters may be among what is gone
            self._later(self._desk.show_all, self._store.counts())

    def _expire(self) -> None:
        ended = self._upkeep.expire(self._now())
        for each in ended:
            self._stirred.add(each.channel)
            self._later(self._desk.ended, each, DeliveryState.EXPIRED)
        if ended:
            channels = dict(Counter(each.channel for each in ended))
            self._later(partial(log.warning, "deliveries.expired", channels=channels))
            self._serve()

    # Time

    def _now(self) -> float:
        """Return Unix seconds that never go back: the wall clock is read once per process."""
        return self._anchor + self.ctx.clock.now()

    def _wake(self, seconds: float) -> None:
        self._wake_for("serve", seconds)

    def _wake_for(self, key: str, seconds: float) -> None:
        self.ctx.wake_at(key, self.ctx.clock.now() + seconds)


def _result(settlement: Settlement, stands: Stands, now: float) -> DeliveryResult:
    delivery, verdict = settlement.delivery, settlement.verdict
    done = isinstance(verdict, Done)
    return DeliveryResult(
        notification_id=delivery.event.event_id,
        channel=delivery.channel,
        success=done,
        error=None if isinstance(verdict, Done) else f"{verdict.reason}: {verdict.detail}".removesuffix(": "),
        retry_count=max(0, stands.attempts - 1),
        delivery_time_ms=round(max(0.0, now - delivery.accepted) * 1000),
        reason=Reason.DELIVERED if isinstance(verdict, Done) else verdict.reason,
        receipt=verdict.receipt if isinstance(verdict, Done) else None,
    )


def _tell(ref: Ref, message: object) -> None:
    """Tell an actor that may have stopped; then its work is found in the store at the next start."""
    with suppress(pykka.ActorDeadError):
        ref.tell(message)
