"""The mailbox of a cell: it outlives its actor, never blocks a sender, and loses nothing in silence.

Two lanes. Users tell and ask on one; the system lane (verdicts, outcomes of I/O, reports of children) is
always seen first. Timers are read here too: the owner waits no longer than until the next one is due.

Ownership. One thread at a time owns the mailbox, under an epoch. Whoever fences the owner in the middle of a
turn takes the messages in its hand and bumps the epoch; the old thread finds out when its turn ends, and
leaves. A thread that waits in `take` is never fenced, so a fenced thread never takes again.
"""

import math
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from .seam import Envelope, StopRequest

WAKE: Envelope[Any] = Envelope(None)
"""Put on the user lane beside every system message, so that one blocking get serves both lanes."""

DeadSink = Callable[[Envelope[Any], str], None]
"""Takes a message that will not be handled, and the reason."""

NEW_PLACES = 64
"""How many places are made at once, when a mailbox is fuller than it ever was."""

Hand = list[Envelope[Any]]
"""The messages of the turn in progress. A new list each turn: its identity names the turn."""


class Mailbox:
    """A cell's mailbox.

    Args:
        maxsize: most user messages waiting; None for no bound. One more is a dead letter, never a wait.
        dead: takes what is refused or left over.

    Attributes:
        closed: why it takes nothing any more; None while it does.
        refusing: why it takes no more user messages, while its owner handles the last ones.
        epoch: number of the incarnation that owns it.
        hand: the messages of the turn in progress.
        since: when that turn began, monotonic seconds.
        tries: how often the first message in hand was handed out before.
    """

    def __init__(self, maxsize: int | None, dead: DeadSink) -> None:
        self.dead = dead
        self.closed: str | None = None
        self.refusing: str | None = None
        self.epoch = 0
        self.hand: Hand | None = None
        self.since = 0.0
        self.tries = 0
        self._users: SimpleQueue[Envelope[Any]] = SimpleQueue()
        self._system: SimpleQueue[Envelope[Any]] = SimpleQueue()
        self._again: deque[tuple[Envelope[Any], int]] = deque()
        self._own = threading.RLock()
        self._places = 0
        self._free: list[None] = []
        self.maxsize = maxsize

    # Senders, any thread

    def put(self, envelope: Envelope[Any]) -> None:
        """Take a message; never blocks, never raises. pykka's `tell` and `ask` end here."""
        if type(envelope.message) is StopRequest:
            self.put_system(envelope)
            return
        if self.refusing is not None:
            self.dead(envelope, self.refusing)
            return
        try:
            self._free.pop()  # atomic: senders need no lock to share the places (docs/decisions/0006)
        except IndexError:
            if not self._make_places():
                self.dead(envelope, "mailbox_full")
                return
        self._users.put(envelope)
        if self.closed is not None:  # closed between pykka's is_alive and our put
            self.drain(self.closed)

    def _make_places(self) -> bool:
        """Make a place for one message, and some more to have; False when there are as many as may be."""
        with self._own:
            for more in range(NEW_PLACES):
                if self._places >= self._bound:
                    return more > 0
                self._places += 1
                if more:
                    self._free.append(None)
            return True

    def put_system(self, envelope: Envelope[Any]) -> None:
        """Take a message for the system lane."""
        self._system.put(envelope)
        self._users.put(WAKE)
        if self.closed is not None:
            self.drain(self.closed)

    # The owner

    def take(self, timeout: float | None) -> Envelope[Any] | None:
        """Wait for the next message: system first, then what is handed out again, then users in order.

        None: nothing came for `timeout` seconds. Sets `tries`.
        """
        self.tries = 0
        while True:
            if not self._system.empty():
                return self._system.get()
            if self._again:
                envelope, self.tries = self._again.popleft()
                return envelope
            try:
                envelope = self._users.get(timeout=timeout)
            except Empty:
                return None
            if envelope is not WAKE:
                self._leave_place()
                return envelope

    def take_more(self, most: int) -> Hand:
        """Take up to `most` user messages that wait already, unless something more urgent does.

        None beside a message that was blamed for a crash: they would share the blame.
        """
        urgent = self.tries or self._again or not self._system.empty()
        return [] if urgent else self._take_users(most)

    def take_waiting(self, most: int) -> Hand:
        """Take what waits for the users' turn, without waiting and past the system lane."""
        self.tries = 0
        if self._again:
            envelope, self.tries = self._again.popleft()
            return [envelope]
        return self._take_users(most)

    def _take_users(self, most: int) -> Hand:
        taken: Hand = []
        while len(taken) < most:
            try:
                envelope = self._users.get_nowait()
            except Empty:
                break
            if envelope is not WAKE:
                self._leave_place()
                taken.append(envelope)
        return taken

    def _leave_place(self) -> None:
        """Give back the place of a message that was taken; it goes where the bound was lowered."""
        self._free.append(None)
        if self._places > self._bound:
            self._drop_places()

    def take_system(self, timeout: float | None) -> Envelope[Any] | None:
        """Wait for the next system message, leaving the users where they are. Sets `tries`."""
        self.tries = 0
        try:
            return self._system.get(timeout=timeout)
        except Empty:
            return None

    def hand_back(self, envelopes: Hand, tries: int) -> None:
        """Put messages before all user messages, in this order, to be handed out again."""
        self._again.extendleft((envelope, tries) for envelope in reversed(envelopes))

    def park(self, envelope: Envelope[Any]) -> None:
        """Keep a system message for the next incarnation, behind what is already handed back."""
        self._again.append((envelope, 0))

    def begin(self, hand: Hand, now: float) -> None:
        """Note that a turn begins with these messages in hand."""
        self.since = now
        self.hand = hand

    def end(self, epoch: int) -> bool:
        """Note that the turn ended. False: fenced meanwhile; drop its reply and its state."""
        self._own.acquire()  # `with` takes twice as long, and this is done for every message
        try:
            if epoch != self.epoch:
                return False
            self.hand = None
            return True
        finally:
            self._own.release()

    def next_epoch(self) -> int:
        """Begin a new incarnation on the owner's thread."""
        with self._own:
            self.epoch += 1
            return self.epoch

    # The supervisor

    def fence(self, hand: Hand | None) -> bool:
        """Disown the thread that is inside the turn `hand`. False: that turn is over, nothing changed."""
        with self._own:
            if hand is None or hand is not self.hand:
                return False
            self.epoch += 1
            self.hand = None
            return True

    @property
    def maxsize(self) -> int | None:
        """The bound; it may be changed. What waits stays, and counts whatever the bound was when it came."""
        return self._maxsize

    @maxsize.setter
    def maxsize(self, maxsize: int | None) -> None:
        self._maxsize = maxsize
        self._bound = math.inf if maxsize is None else maxsize
        if self._places > self._bound:
            self._drop_places()

    def _drop_places(self) -> None:
        """Take away free places until there are no more than there may be."""
        with self._own, suppress(IndexError):  # none is free just now: the next message taken leaves one
            while self._places > self._bound:
                self._free.pop()
                self._places -= 1

    def close(self, reason: str) -> None:
        """Refuse everything from now on; what waits becomes dead letters."""
        self.closed = reason
        self.drain(reason)

    def reopen(self) -> None:
        """Take messages again."""
        with self._own:
            self.closed = self.refusing = None

    def forked(self) -> None:
        """Refuse everything: this process is a fork, and no thread is left that could give back the lock."""
        self._own = threading.RLock()
        self.closed = "forked"

    def drain(self, reason: str) -> None:
        """Turn everything that waits into dead letters; any thread, also several at once."""
        while (envelope := self._left_over()) is not None:
            self.dead(envelope, reason)

    def _left_over(self) -> Envelope[Any] | None:
        """Take what nobody will take; nothing once it is open again: that is the next owner's."""
        with self._own:
            if self.closed is None:
                return None
            if self._again:
                return self._again.popleft()[0]
            for lane in (self._system, self._users):
                with suppress(Empty):
                    while (envelope := lane.get_nowait()) is WAKE:
                        continue
                    if lane is self._users:
                        self._leave_place()
                    return envelope
            return None

    # Anyone

    @property
    def depth(self) -> int:
        """User messages that wait, roughly: other threads go on."""
        return max(0, self._places - len(self._free)) + len(self._again)
