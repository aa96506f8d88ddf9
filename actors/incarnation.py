"""One life of an actor: from the start of its behaviour to its crash, its stop, or its fencing.

    on_start ──► turns ──┬── a crash ───► on_failure ───────────────────────► Ended(crash)
                         ├── Shutdown ──► on_stop ──────────────────────────► Ended(shutdown)
                         ├── ref.stop() ► on_drain, I/O ends, on_stop ──────► Ended(normal)
                         ├── Halt ──────► last messages, on_drain, on_stop ─► Halt
                         └── fenced ────► nothing it does counts any more ──► None

Every message it takes ends as exactly one of: handled, handed out again, dead letter; every ask is answered.
"""

from contextlib import suppress
from queue import Full
from typing import TYPE_CHECKING, Any

import pykka

from knell.log import log

from .behaviour import Behaviour, HandledError, IoDone, Shutdown, Signal, Terminated
from .context import Context
from .mailbox import Hand, Mailbox
from .orders import Ended, Halt, Resume
from .policy.restart import Exit
from .seam import Envelope, StopRequest

if TYPE_CHECKING:
    from .cell import Cell

IO_SHARE = 0.8
"""Share of the shutdown time in which outcomes of I/O under way are waited for; the rest is for `on_stop`."""

Replies = list[tuple[Any, Any]]
"""Futures and what to answer them, once the turn has counted."""


class Incarnation:
    """Runs one behaviour of a cell, on the cell's thread.

    Args:
        cell: what outlives it: mailbox, ref, `keep`, I/O under way.
        epoch: its number; when the mailbox has another one, it was fenced.
    """

    def __init__(self, cell: "Cell", epoch: int) -> None:
        self._cell = cell
        self._mailbox: Mailbox = cell.mailbox
        self._now = cell.host.clock.now
        self._epoch = epoch
        self._context = Context(cell, epoch, cell.host.clock)
        self._behaviour: Behaviour | None = None
        self._stops: Hand = []  # who asked it to stop: in hand to the end, so that a fence answers them too

    def run(self) -> Ended | Halt | None:
        """Live until something ends it; None when it was fenced or closed and has nothing more to say."""
        self._mailbox.begin([], self._now())
        try:
            behaviour = self._cell.spec.behaviour(self._context, **self._cell.spec.args)
            self._behaviour = behaviour
            behaviour.on_start()
            if not self._mailbox.end(self._epoch):
                return None
            self._cell.came_up()
            return self._serve(behaviour)
        except BaseException as error:  # noqa: BLE001 - a CancelledError that reached pykka would stop every actor
            return self._crashed(error)

    # Turns

    def _serve(self, behaviour: Behaviour) -> Ended | Halt | None:
        while True:
            envelope = self._next()
            message: object = envelope.message
            hand = [envelope]
            if isinstance(message, Signal):
                if isinstance(message, Halt):
                    if message.done.is_set():  # carried out by giving up the thread that was to obey it
                        continue
                    return self._halted(behaviour, message)
            elif isinstance(message, StopRequest):
                return self._asked_to_stop(behaviour, envelope)
            elif behaviour.most > 1:
                hand += self._mailbox.take_more(behaviour.most - 1)
            self._mailbox.begin(hand, self._now())
            replies = self._turn(behaviour, hand)
            if not self._mailbox.end(self._epoch):
                return None
            self._done(hand, replies)

    def _next(self) -> Envelope[Any]:
        """Wait for a message or for the next timer, whatever comes first."""
        while True:
            timeout = None
            if (at := self._context.next_timer()) is not None:
                now = self._now()
                if timer := self._context.due_timer(now):
                    return Envelope(timer)
                timeout = at - now
            take = self._mailbox.take_system if self._context.holding else self._mailbox.take
            if envelope := take(timeout):
                return envelope

    def _turn(self, behaviour: Behaviour, hand: Hand) -> Replies:
        """Handle the messages in hand; return what to answer."""
        first = hand[0]
        if isinstance(first.message, Signal):
            self._signal(behaviour, first.message)
            return []
        if len(hand) > 1:
            return _batch(behaviour, hand)
        reply = behaviour.on_receive(first.message)
        return [] if first.reply_to is None else [(first.reply_to, reply)]

    def _signal(self, behaviour: Behaviour, signal: Signal) -> None:
        if type(signal) is IoDone:
            self._cell.pending.pop(signal.op, None)
            behaviour.on_io(signal)
        elif isinstance(signal, Terminated):
            if self._context.watches.pop(signal.watch, None):
                behaviour.on_signal(signal)
        elif type(signal) is not Resume:  # a verdict that crossed a fence
            behaviour.on_signal(signal)

    def _done(self, hand: Hand, replies: Replies) -> None:
        self._cell.handled += len(hand)
        for reply_to, reply in replies:
            with suppress(Full):  # somebody else answered it
                reply_to.set(reply)

    # Ends

    def _crashed(self, error: BaseException) -> Ended | None:
        hand, tries = self._mailbox.hand or [], self._mailbox.tries
        if not self._mailbox.end(self._epoch):
            return None
        self._cell.up = False
        if isinstance(error, HandledError):
            hand, error = self._handled(hand, error), error.cause
        if isinstance(error, Shutdown):
            self._shut_down(hand, tries)
            self._hook("on_stop")
            ended = Ended(Exit.SHUTDOWN)
        else:
            self._cell.cause = error
            self._cell.settle(hand, tries, "crashed", error)
            self._hook("on_failure", error)
            ended = Ended(Exit.CRASH, error)
        return None if self._fenced else ended

    def _handled(self, hand: Hand, error: HandledError) -> Hand:
        """Count messages that were dealt with before the crash; nothing is left to settle."""
        self._cell.answer(hand, error.cause)
        self._done(hand, [])
        return []

    def _shut_down(self, hand: Hand, tries: int) -> None:
        """Settle what was in hand at an orderly end: of several messages, nobody knows which one ended it."""
        stopped = pykka.ActorDeadError(f"{self._cell.spec.id} stopped")
        if len(hand) > 1:
            self._cell.settle(hand, tries, "stopped", stopped)
        else:
            self._cell.answer(hand, stopped)
            self._done(hand, [])

    def _halted(self, behaviour: Behaviour, halt: Halt) -> Halt | None:
        """Stop on the supervisor's order."""
        self._context.leaving = halt.final
        if not halt.brutal:
            if halt.final and behaviour.finishes:
                self._finish(behaviour, halt.until)
            self._wind_down(behaviour, halt.until)
        if self._fenced:
            return None
        self._cell.obey(halt)
        self._cell.answer(self._stops, None)
        return None if halt.final else halt

    def _asked_to_stop(self, behaviour: Behaviour, envelope: Envelope[Any]) -> Ended | None:
        """Stop because somebody called `ref.stop()`; the parent of a permanent child restarts it."""
        self._stops.append(envelope)
        seconds = self._cell.spec.seconds
        self._context.leaving = self._cell.parent is None
        self._wind_down(behaviour, None if seconds is None else self._now() + seconds)
        if self._fenced:
            return None
        if self._cell.parent is None:
            self._cell.close("stopped")
        self._cell.answer(self._stops, None)
        return Ended(Exit.NORMAL)

    def _finish(self, behaviour: Behaviour, until: float | None) -> None:
        """Handle the messages that wait already, and refuse new ones."""
        self._mailbox.refusing = "stopped"
        while not self._fenced and (until is None or self._now() < until):
            hand = self._mailbox.take_waiting(behaviour.most)
            if not hand:
                return
            self._last_turn(behaviour, hand)

    def _wind_down(self, behaviour: Behaviour, until: float | None) -> None:
        """Begin nothing more, let the I/O under way end, clean up."""
        self._cell.up = False
        self._hook("on_drain")
        deadline = None if until is None else self._now() + (until - self._now()) * IO_SHARE
        orders: Hand = []
        while self._cell.pending and not self._fenced:
            timeout = None if deadline is None else deadline - self._now()
            envelope = self._mailbox.take_system(timeout) if timeout is None or timeout > 0 else None
            if envelope is None:
                break
            if type(envelope.message) is IoDone:
                self._last_turn(behaviour, [envelope])
            elif type(envelope.message) is StopRequest:
                self._stops.append(envelope)
            elif type(envelope.message) is Halt:
                orders.append(envelope)
            else:
                self._mailbox.park(envelope)
        for order in orders:  # it came while the actor stopped by itself: obeyed when it is down
            self._mailbox.put_system(order)
        self._hook("on_stop")

    def _last_turn(self, behaviour: Behaviour, hand: Hand) -> None:
        """Handle messages when the end is decided: a crash in it changes nothing more."""
        tries = self._mailbox.tries
        self._mailbox.begin([*hand, *self._stops], self._now())
        try:
            replies = self._turn(behaviour, hand)
        except BaseException as error:  # noqa: BLE001 - the incarnation is over already
            log.error("actor.crashed_stopping", actor=self._cell.path, exc_info=error)
            if not self._mailbox.end(self._epoch):
                return
            if isinstance(error, HandledError):
                self._handled(hand, error)
            else:
                self._cell.settle(hand, tries, "crashed", error)
        else:
            if self._mailbox.end(self._epoch):
                self._done(hand, replies)

    def _hook(self, name: str, *args: Any) -> None:
        """Run one hook as a turn of its own, so that it can be fenced; a crash in it changes nothing more."""
        if self._behaviour is None or self._fenced:
            return
        self._mailbox.begin([*self._stops], self._now())
        try:
            getattr(self._behaviour, name)(*args)
        except BaseException as error:  # noqa: BLE001 - the incarnation is over already
            log.error("actor.hook_failed", actor=self._cell.path, hook=name, exc_info=error)
        self._mailbox.end(self._epoch)

    @property
    def _fenced(self) -> bool:
        return self._mailbox.epoch != self._epoch


def _batch(behaviour: Behaviour, hand: Hand) -> Replies:
    """Handle told messages together and asked ones alone, all in their order."""
    replies: Replies = []
    told: list[Any] = []
    for envelope in hand:
        if envelope.reply_to is None:
            told.append(envelope.message)
            continue
        if told:
            behaviour.on_batch(told)
            told = []
        replies.append((envelope.reply_to, behaviour.on_receive(envelope.message)))
    if told:
        behaviour.on_batch(told)
    return replies
