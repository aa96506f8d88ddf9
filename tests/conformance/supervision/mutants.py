"""Broken promises: each mutant takes one promise out of the product, and the suite has to notice.

A pytest plugin: `pytest -p tests.conformance.supervision.mutants --mutant NAME` with the path of this folder.
`test_mutants.py` runs every one of them against the cases that hold its promise.
"""

# pyright: basic, reportPrivateUsage=false
# A mutant reaches into what is private: that is where promises are kept.

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from knell.actors import children, context, incarnation, mailbox
from knell.actors import supervisor as supervisors
from knell.actors.behaviour import Terminated
from knell.actors.cell import Cell
from knell.actors.policy import restart
from knell.actors.policy.restart import RestartPolicy, Strategy
from knell.actors.seam import Envelope
from knell.actors.spec import check_specs

HASTE = 2.0
"""Seconds a test of a mutant waits in vain."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A promise, how to break it, and the cases of which one has to fail."""

    promise: str
    cases: str
    apply: Callable[[pytest.MonkeyPatch], None]


MUTANTS: dict[str, Mutant] = {}


def _mutant(promise: str, *cases: int) -> Callable[[Callable[[pytest.MonkeyPatch], None]], None]:
    def register(apply: Callable[[pytest.MonkeyPatch], None]) -> None:
        names = " or ".join(f"test_{case:02}_" for case in cases)
        MUTANTS[apply.__name__] = Mutant(promise, names, apply)

    return register


@_mutant("the mailbox outlives a crash", 34)
def mailbox_dies_with_its_actor(patch: pytest.MonkeyPatch) -> None:
    """Drop what waits when an incarnation crashes."""
    settle = Cell.settle

    def dropping(self: Cell, *args: Any) -> None:
        settle(self, *args)
        for envelope in self.mailbox.take_waiting(1_000):
            self.bury(envelope, "crashed")

    patch.setattr(Cell, "settle", dropping)


@_mutant("a message that crashed its actor is a dead letter", 35)
def message_in_hand_vanishes(patch: pytest.MonkeyPatch) -> None:
    """Forget what was in hand."""
    patch.setattr(Cell, "settle", lambda self, hand, _tries, _reason, error: self.answer(hand, error))


@_mutant("a poison message is quarantined after its attempts", 36)
def poison_comes_back_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Hand out again without counting."""
    hand_back = mailbox.Mailbox.hand_back
    patch.setattr(mailbox.Mailbox, "hand_back", lambda self, hand, _tries: hand_back(self, hand, 0))


@_mutant("every ask is answered", 48)
def asks_stay_open(patch: pytest.MonkeyPatch) -> None:
    """Answer nobody whose message failed."""
    patch.setattr(Cell, "answer", lambda _self, _hand, _error: None)


@_mutant("a CancelledError restarts one actor", 47)
def cancellation_reaches_pykka(patch: pytest.MonkeyPatch) -> None:
    """Let what is no Exception through."""
    crashed = incarnation.Incarnation._crashed

    def strict(self: incarnation.Incarnation, error: BaseException) -> Any:
        if isinstance(error, asyncio.CancelledError):
            raise error
        return crashed(self, error)

    patch.setattr(incarnation.Incarnation, "_crashed", strict)


@_mutant("a full mailbox refuses", 40, 41, 60)
def bound_is_no_bound(patch: pytest.MonkeyPatch) -> None:
    """Take everything."""
    put = mailbox.Mailbox.put

    def boundless(self: mailbox.Mailbox, envelope: Any) -> None:
        maxsize, self.maxsize = self.maxsize, None
        put(self, envelope)
        self.maxsize = maxsize

    patch.setattr(mailbox.Mailbox, "put", boundless)


@_mutant("a turn that has ended is never fenced", 59)
def fence_strikes_the_wrong_turn(patch: pytest.MonkeyPatch) -> None:
    """Fence whatever turn is in progress, or none."""
    fence = mailbox.Mailbox.fence

    def blind(self: mailbox.Mailbox, hand: Any) -> bool:
        return hand is not None and (fence(self, hand) or fence(self, self.hand) or self.next_epoch() > 0)

    patch.setattr(mailbox.Mailbox, "fence", blind)


@_mutant("what a fenced handler does counts no more", 54, 64)
def zombies_keep_their_context(patch: pytest.MonkeyPatch) -> None:
    """Let a fenced incarnation use its cell."""
    patch.setattr(context.Context, "_live", lambda self: self._cell)


@_mutant("a hung handler is replaced", 53)
def watchdog_sleeps(patch: pytest.MonkeyPatch) -> None:
    """Never look for hung children."""
    patch.setattr(supervisors.Supervisor, "_look_for_hung", lambda _self: None)


@_mutant("too many hung threads end the process", 55)
def zombies_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Count none."""
    patch.setattr("knell.actors.host.Host.living_zombies", lambda _self: 0)


@_mutant("outcomes under way reach the next incarnation", 51)
def outcomes_die_with_their_starter(patch: pytest.MonkeyPatch) -> None:
    """Drop what arrives while the cell is down, and what another incarnation started."""
    signal = incarnation.Incarnation._signal

    def own_only(self: incarnation.Incarnation, behaviour: Any, what: Any) -> None:
        if getattr(what, "epoch", self._epoch) == self._epoch:
            signal(self, behaviour, what)

    patch.setattr(incarnation.Incarnation, "_signal", own_only)
    patch.setattr(mailbox.Mailbox, "park", lambda _self, _envelope: None)


@_mutant("one_for_all restarts all", 3, 8)
def every_strategy_is_one_for_one(patch: pytest.MonkeyPatch) -> None:
    """Restart the crashed child alone."""
    patch.setattr(RestartPolicy, "_group", lambda _self, id_: [id_])


@_mutant("rest_for_one leaves those before it alone", 4)
def rest_is_all(patch: pytest.MonkeyPatch) -> None:
    """Restart everybody."""
    group = RestartPolicy._group

    def all_of_them(self: RestartPolicy, id_: str) -> list[str]:
        return list(self.children) if self.strategy is Strategy.REST_FOR_ONE else group(self, id_)

    patch.setattr(RestartPolicy, "_group", all_of_them)


@_mutant("too many restarts are the supervisor's own failure", 5, 33)
def nothing_is_too_often(patch: pytest.MonkeyPatch) -> None:
    """Never exceed an intensity."""
    patch.setattr(restart, "_exceeds", lambda *_args: False)


@_mutant("restarts that are long ago are forgiven", 6)
def nothing_is_forgiven(patch: pytest.MonkeyPatch) -> None:
    """Remember every restart for ever."""

    def remembering(recent: Any, intensity: restart.Intensity, now: float) -> bool:
        recent.append(now)
        return len(recent) > intensity.restarts

    patch.setattr(restart, "_exceeds", remembering)


@_mutant("children stop in reverse order", 1)
def stop_is_in_start_order(patch: pytest.MonkeyPatch) -> None:
    """Stop the first one first."""
    halt = children.Children.halt

    def forwards(self: children.Children, ids: Any, **how: Any) -> None:
        halt(self, list(ids)[::-1], **how)

    patch.setattr(children.Children, "halt", forwards)


@_mutant("a temporary child is never restarted", 14, 15)
def temporary_is_permanent(patch: pytest.MonkeyPatch) -> None:
    """Restart whatever ends."""
    patch.setattr(RestartPolicy, "ended", lambda self, id_, _how, now: self._restart(self.children[id_], now))


@_mutant("backoff doubles up to its cap", 38)
def backoff_is_constant(patch: pytest.MonkeyPatch) -> None:
    """Always wait the minimum."""
    patch.setattr(restart.Backoff, "delay", lambda self, _failures, _dice: self.minimum)


@_mutant("backoff begins anew after a good while", 39)
def backoff_never_resets(patch: pytest.MonkeyPatch) -> None:
    """Never forget a failure."""
    patch.setattr(restart.Backoff, "forgets", lambda _self, _uptime: False)


@_mutant("a restart is no end to those who watch", 42)
def watchers_hear_of_restarts(patch: pytest.MonkeyPatch) -> None:
    """Tell the watchers of every crash."""
    report = Cell._report

    def loud(self: Cell, ended: Any, epoch: int) -> None:
        for watch, watcher in list(self._watchers.items()):
            watcher.put_system(Envelope(Terminated(self.spec.id, watch)))
        report(self, ended, epoch)

    patch.setattr(Cell, "_report", loud)


@_mutant("an unchanged child notices nothing of a new topology", 31)
def apply_replaces_everybody(patch: pytest.MonkeyPatch) -> None:
    """Forget all children before a new topology."""
    apply = supervisors.Supervisor._apply

    def rough(self: supervisors.Supervisor, specs: Any, *more: Any) -> None:
        check_specs(specs, self._auto_shutdown)
        for id_ in list(self._specs):
            self._forget(id_)
        apply(self, specs, *more)

    patch.setattr(supervisors.Supervisor, "_apply", rough)


@_mutant("a wrong topology changes nothing", 32)
def apply_checks_nothing(patch: pytest.MonkeyPatch) -> None:
    """Let every spec through."""
    patch.setattr(supervisors, "check_specs", lambda *_args: None)


# The plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the name of a mutant."""
    parser.addoption("--mutant", choices=sorted(MUTANTS), help="the promise to break")


def pytest_configure(config: pytest.Config) -> None:
    """Break the promise for the whole run, and wait less for what will not come."""
    import tests.puppets  # noqa: PLC0415 - not before pytest has: it rewrites the asserts

    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setattr(tests.puppets, "PATIENCE", HASTE)
    if name := config.getoption("--mutant"):
        MUTANTS[name].apply(patch)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the process at the very end, whatever threads a mutant has left behind."""

    def leave() -> None:
        sys.stdout.flush()
        os._exit(exitstatus)

    session.config.add_cleanup(leave)
