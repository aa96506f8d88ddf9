"""The outbox: the one actor that may block, because a commit is its work.

Started first and stopped last by the root supervisor. It owns the store. Whatever waits in its mailbox goes
into one transaction (group commit): the fsync that one event pays for serves all that came meanwhile. Nobody
is answered before the commit. A crash loses nothing: what it had in hand is handed out again, one by one, and
every step is safe to repeat.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from knell.errors import StoreError, StoreFull
from knell.log import log
from knell.messages import DeliveryState
from knell.store import open_store
from knell.store.contract import Store

from .acceptance import Acceptance
from .behaviour import Signal, Timer
from .books import Lasting
from .context import Context, signal
from .desk import Desk
from .handout import Handout
from .mail import AddRoutes, Append, Cancel, Confirmed, Diverted, Recall, Remember, Replay, Want
from .pile import Pile
from .room import LOOK, Room
from .settling import Settling
from .telemetry import Telemetry
from .upkeep import PAUSE, Keeping, Upkeep

TRY_AGAIN = 1.0
"""Seconds until a store that failed is tried again."""


class Outbox(Acceptance, Handout, Settling):
    """Accepts events, hands out deliveries, writes down how they ended.

    Owns the store, the receipts somebody holds, and the demand of the channels.
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
        super().__init__(ctx, find(url, keeping.dedup), telemetry)
        self._room, self._url, self._min_free_mb = room, url, min_free_mb
        self._longest_delay = keeping.longest_delay
        self._upkeep = Upkeep(self._store, keeping, self._now())
        self._busy = self._untidy = True
        self._asleep = False
        self._desk = Desk(self._store, telemetry, self._receipts)

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
        recovered = self._store.recover(self._now(), self._now() + self._longest_delay)
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
            self._transact(partial(self._handle_and_serve, messages))
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
            self._handle_all(self._unwritten)
            work()
            self._store.commit()
        except BaseException as error:
            self._store.rollback()
            self._note_failure(error)
            raise
        self._room.failing = False
        self._unwritten.clear()
        self._tell_all()

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

    def _handle_and_serve(self, messages: list[Any]) -> None:
        self._handle_all(messages)
        self._serve()

    def _handle_all(self, messages: Iterable[Any]) -> None:
        """Handle messages; those of which there are many together, where their order does not matter."""
        pile = Pile()
        for message in messages:
            if isinstance(message, Want):
                self._want(message)
            elif not pile.take(message):
                self._write(pile)
                pile = Pile()
                if not pile.take(message):
                    self._handle(message)
        self._write(pile)

    def _want(self, want: Want) -> None:
        self._wants[want.channel] = want
        self._stirred.add(want.channel)

    def _write(self, pile: Pile) -> None:
        if pile.appends:
            self._append(pile.appends)
        if pile.settlements:
            self._settle(pile.settlements)
        if pile.begins:
            self._begin(pile.begins)

    def _one_by_one(self, messages: list[Any]) -> None:
        """After a failed commit: let through what can be, and refuse or keep the rest."""
        for message in messages:
            try:
                self._transact(partial(self._handle_all, [message]))
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
