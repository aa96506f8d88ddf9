"""The cell: a pykka actor whose ref, mailbox and thread outlive a crash of the behaviour inside.

Stock pykka drops a crashed actor's mailbox, and its ref dies (docs/decisions/0002). A cell overrides three
private seams of `pykka.ThreadingActor` (the inbox, the loop, the start of the thread) and leaves everything a
host touches stock: `ActorRef.tell`, `ask`, `stop`, `is_alive`, `ActorRegistry`.

    begin ──► incarnation ──ended──► down ──verdict: resume──► incarnation (next epoch, same thread)
                   │                   └────verdict: halt────► down, or closed
                   └──fenced──► this thread leaves, silently; `begin` goes on with another one

A cell never restarts itself: it reports to its parent and waits for the verdict, on the system lane alone, so
that the messages of users stay where they are.
"""

import copy
import os
import threading
import weakref
from contextlib import suppress
from queue import Full
from typing import Any

import pykka

from .behaviour import IoDone, Signal, Terminated
from .host import Host
from .incarnation import Incarnation
from .io import IoFunction
from .letters import DeadLetter
from .lifetime import ForkedError
from .mailbox import Hand, Mailbox
from .orders import ChildEnded, Ended, Halt, Launch, Resume
from .policy.restart import Child, Exit
from .seam import Envelope, StopRequest
from .spec import Spec


class Cell(pykka.ThreadingActor):
    """One supervised actor.

    Args:
        spec: what it is made from; a changed spec takes effect at the next start.
        host: what all cells share.
        parent: the supervisor's cell; None for a root, which closes when it crashes.

    Attributes:
        path: its name in the tree, as in "channels/slack".
        children: the cells it supervises, in start order; its own thread changes them, anyone may read.
        keep: what its behaviour wants to survive a crash.
        pending: I/O under way, by its name, with the epoch that started it.
        handled: messages handled so far.
        up: whether an incarnation serves messages.
        cause: what it crashed with last, or that it hung.
        record: what its supervisor's policy knows of it: status and restarts.
        threadless: whether it needs a new thread to start: never started, closed, or fenced.
    """

    def __init__(self, spec: Spec, host: Host, parent: "Cell | None" = None) -> None:
        self.spec = spec
        self.host = host
        self.parent = parent
        self.path: str = f"{parent.path}/{spec.id}" if parent and parent.path else spec.id if parent else ""
        self.children: dict[str, Cell] = {}
        self.keep: dict[str, Any] = {}
        self.pending: dict[Any, int] = {}
        self.handled = 0
        self.up = False
        self.cause: BaseException | None = None
        self.record: Child | None = None
        self.threadless = True
        self.thread: threading.Thread | None = None
        self.closed = threading.Event()
        self._launch: Launch | None = None
        self._watchers: dict[int, Mailbox] = {}
        self._closing = threading.RLock()
        self.mailbox: Mailbox = Mailbox(spec.mailbox, self.bury)
        super().__init__()
        _cells[self.actor_urn] = self

    @property
    def root(self) -> "Cell":
        """The cell at the top of the tree."""
        return self.parent.root if self.parent else self

    @property
    def busy(self) -> float | None:
        """Age of the message in hand, in seconds; None when it is idle. For those who look on."""
        if self.mailbox.hand is None:
            return None
        return max(0.0, self.host.clock.now() - self.mailbox.since)

    # The seams of pykka

    def _create_actor_inbox(self) -> Mailbox:  # type: ignore[override]  # static upstream, called on self
        return self.mailbox

    def _start_actor_loop(self, epoch: int = 0) -> None:
        self.threadless = False
        name = f"knell-{self.spec.id}"
        self.thread = threading.Thread(target=self._actor_loop, args=(epoch,), name=name, daemon=True)
        self.thread.start()

    def _actor_loop(self, epoch: int = 0) -> None:
        following: int | None = epoch
        while following is not None:
            ended = Incarnation(self, following).run()
            if isinstance(ended, Ended):
                self._report(ended, following)
            following = None if ended is None else self._await_verdict(following)

    def came_up(self) -> None:
        """Note that an incarnation serves messages now."""
        self.up = True
        launch, self._launch = self._launch, None
        if launch is not None:
            launch.done.set()

    # Down, until the verdict

    def _report(self, ended: Ended, epoch: int) -> None:
        launch, self._launch = self._launch, None
        if self.parent is None:
            self.close("crashed" if ended.how is Exit.CRASH else "stopped")
        if launch is not None:
            launch.failed = ended
            launch.done.set()
        elif self.parent is not None:
            self.parent.mailbox.put_system(Envelope(ChildEnded(self, epoch, ended)))

    def _await_verdict(self, epoch: int) -> int | None:
        """Wait on the system lane alone, users stay where they are; return the next epoch, None to leave."""
        outcomes: Hand = []
        while not self.closed.is_set() and epoch == self.mailbox.epoch:
            envelope = self.mailbox.take_system(None)
            if envelope is None:
                continue
            match envelope.message:
                case Resume():
                    self._put_back(outcomes)
                    return self.mailbox.next_epoch()
                case Halt() as halt if halt.done.is_set():
                    continue  # carried out by giving up the thread that was to obey it
                case Halt() as halt:
                    self._put_back(outcomes)
                    self.obey(halt)
                    if halt.final:  # never look again: it may be open once more by now, for another thread
                        break
                case StopRequest():  # it is down already
                    self.answer([envelope], None)
                case IoDone():
                    outcomes.append(envelope)
                case _:
                    continue  # timers and reports to a behaviour that is gone
        return None

    def _put_back(self, outcomes: Hand) -> None:
        """Leave outcomes that came while it was down to the next incarnation, or to those who bury them."""
        while outcomes:
            self.mailbox.put_system(outcomes.pop(0))

    def obey(self, halt: Halt) -> None:
        """Be down, or closed, as ordered."""
        if halt.final:
            self.close("stopped")
        halt.done.set()

    # For the supervisor, on its thread

    def begin(self) -> Launch:
        """Start the next incarnation; the caller waits on what is returned."""
        launch = self._launch = Launch()
        if self.closed.is_set():
            self._reopen()
        if self.threadless:
            self._start_actor_loop(self.mailbox.next_epoch())
        else:
            self.mailbox.put_system(Envelope(Resume()))
        return launch

    def fence(self, hand: Hand | None, reason: str) -> bool:
        """Give up the thread that is inside the turn `hand`; False when that turn is over.

        A thread cannot be killed. It may end its call one day; nothing it does then counts.
        """
        if hand is None:
            return False
        # Before the fence: what the thread writes after it must not be in the copy.
        keep = {key: _detached(value) for key, value in list(self.keep.items())}
        tries, thread = self.mailbox.tries, self.thread
        if not self.mailbox.fence(hand):
            return False
        self.up, self.threadless, self._launch, self.keep = False, True, None, keep
        if thread is not None:
            self.host.zombies.add(thread)
        self.cause = TimeoutError(f"{self.spec.id} {reason}: outcome unknown")
        self.settle(hand, tries, reason, self.cause)
        return True

    def close(self, reason: str) -> None:
        """Refuse everything from now on, bury what waits, and tell the watchers."""
        with self._closing:
            if self.closed.is_set():
                return
            self.up, self.threadless = False, True
            self.mailbox.close(reason)
            self.actor_stopped.set()
            pykka.ActorRegistry.unregister(self.actor_ref)
            self.mailbox.drain(reason)
            self.closed.set()
            watchers, self._watchers = self._watchers, {}
        for watch, mailbox in watchers.items():
            mailbox.put_system(Envelope(Terminated(self.spec.id, watch)))

    def _reopen(self) -> None:
        with self._closing:
            self.closed.clear()
            self.actor_stopped.clear()
            self.mailbox.reopen()
            pykka.ActorRegistry.register(self.actor_ref)

    # For behaviours

    @staticmethod
    def behind(ref: pykka.ActorRef[Any]) -> "Cell":
        """Return the cell behind an address.

        Raises:
            TypeError: the address is that of an ordinary pykka actor.
        """
        cell = _cells.get(ref.actor_urn)
        if cell is None:
            raise TypeError(f"{ref} is no actor of knell")
        return cell

    def watch(self, watch: int, watcher: Mailbox) -> None:
        """Post one `Terminated` to the watcher when this cell is closed; at once if it is already."""
        with self._closing:
            if not self.closed.is_set():
                self._watchers[watch] = watcher
                return
        watcher.put_system(Envelope(Terminated(self.spec.id, watch)))

    def unwatch(self, watch: int) -> None:
        """Forget a watch."""
        with self._closing:
            self._watchers.pop(watch, None)

    def spawn_io(self, function: IoFunction, args: tuple[Any, ...], op: Any, epoch: int) -> None:
        """Run a coroutine; its outcome is a message to the cell, whoever lives in it by then."""
        self.pending[op] = epoch

        def finished(result: Any, error: BaseException | None, elapsed: float) -> None:
            self.mailbox.put_system(Envelope(IoDone(op, result, error, elapsed, epoch)))

        self.host.io.submit(function, args, finished)

    # Messages nobody handles

    def settle(self, hand: Hand, tries: int, reason: str, error: BaseException | None) -> None:
        """Decide about the messages that were in hand when their turn failed."""
        self.answer(hand, error)
        told = [e for e in hand if e.reply_to is None and _matters(e.message)]
        if len(told) > 1:  # nobody knows which one did it: hand them out one by one; none is blamed yet
            self.mailbox.hand_back(told, tries)
        elif told and tries + 1 < self.spec.attempts:
            self.mailbox.hand_back(told, tries + 1)
        else:
            for envelope in told:
                self.bury(envelope, reason, error)

    def bury(self, envelope: Envelope[Any], reason: str, error: BaseException | None = None) -> None:
        """Account for a message that will not be handled."""
        message = envelope.message
        if type(message) is Halt:  # closed already: that was what it wanted
            message.done.set()
        elif type(message) is StopRequest:
            self.answer([envelope], None)
        elif _matters(message):
            if type(message) is IoDone and self.pending.get(message.op) == message.epoch:
                self.pending.pop(message.op, None)
            refused = pykka.ActorDeadError(f"{self.spec.id}: {reason}")
            self.answer([envelope], error or refused)
            self.host.letters.take(DeadLetter(self.path or self.spec.id, message, reason, error))

    def answer(self, hand: Hand, error: BaseException | None) -> None:
        """Answer the asks among these: with the error, or with None."""
        for envelope in hand:
            if envelope.reply_to is None:
                continue
            with suppress(Full):  # somebody else answered it
                if error is None:
                    envelope.reply_to.set(None)
                else:
                    envelope.reply_to.set_exception((type(error), error, error.__traceback__))


def _detached(value: Any) -> Any:
    """Copy what a given-up incarnation may still write to, as deeply as it can be copied."""
    for copied in (copy.deepcopy, copy.copy):  # addresses and locks stay shared, their holders do not
        with suppress(Exception):  # it may be anything, and its thread may be writing to it
            return copied(value)
    return value


def _matters(message: object) -> bool:
    """Say whether a message is anybody's loss: all but the layer's own signals; a known outcome is one."""
    return not isinstance(message, Signal) or type(message) is IoDone


class _Forked(threading.Event):
    """Stands for `actor_stopped` in a forked child: pykka asks it before every tell and ask."""

    def is_set(self) -> bool:
        raise ForkedError


_cells: "weakref.WeakValueDictionary[str, Cell]" = weakref.WeakValueDictionary()


def _after_fork() -> None:
    """Refuse everything in a forked child at once, where it would otherwise wait for ever."""
    for cell in list(_cells.values()):
        cell.up = False
        cell.mailbox.forked()
        cell.actor_stopped = cell.actor_ref.actor_stopped = _Forked()


os.register_at_fork(after_in_child=_after_fork)
