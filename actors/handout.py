"""The part of the outbox that hands deliveries out to the channels, and lets them begin."""

from collections.abc import Sequence

import pykka

from knell.deliveries import Again, Attempt, Settlement
from knell.messages import Reason

from .books import Books, tell
from .mail import Begin, Begun, Diverted, Fallback, Ref, Settled, Want
from .policy.channel import Deliver, Withdrawn

SLICE = 200
"""Deliveries of a diverted channel that are handed to the router in one transaction."""


class Handout(Books):
    """Serves the channels that want deliveries, and commits an attempt before its first byte leaves."""

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
        tell(want.reply_to, found)
        self._wants.pop(want.channel, None)

    def _begin(self, orders: Sequence[Begin]) -> None:
        started = self._store.start([order.attempt for order in orders])
        for order, begun in zip(orders, started, strict=True):
            if begun:
                self._later(self._begun, order.attempt, order.reply_to)
            else:
                self._later(tell, order.reply_to, Withdrawn(order.attempt))

    def _begun(self, attempt: Attempt, reply_to: Ref) -> None:
        """Let a channel send. One that has stopped since then never will: what it began waits again."""
        try:
            reply_to.tell(Begun(attempt))
        except pykka.ActorDeadError:
            again = Again(Reason.CANCELLED, 0.0, counted=False)
            tell(self.ctx.ref, Settled(tuple(Settlement(delivery, again) for delivery in attempt.deliveries)))

    def _divert(self, order: Diverted) -> None:
        if not order.on:
            self._diverted.discard(order.channel)
            return
        self._diverted.add(order.channel)
        rows = self._store.pending(order.channel, order.after, SLICE)
        for _, seq in rows:
            self._later(self._fall_back, Fallback(seq, self._store.event(seq), order.channel))
        if len(rows) == SLICE:
            self._later(tell, self.ctx.ref, Diverted(order.channel, True, rows[-1][1]))
