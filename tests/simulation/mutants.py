"""Bugs that the simulation must find: the four that everybody fears, and those it has found already."""

from collections.abc import Callable, Iterable
from typing import Any

from knell.actors.channel import ChannelActor
from knell.actors.mail import Want
from knell.actors.outbox import Outbox
from knell.actors.policy.breaker import Phase
from knell.actors.policy.core import ChannelCore
from knell.deliveries import Attempt, Route, Settlement, Verdict
from knell.messages import Outcome
from knell.store.contract import Settled, State

from .memory_store import MemoryStore
from .process import Cast


class AcknowledgesBeforeTheCommit(Outbox):
    """Says that an event is durable while it is not."""

    def _later(self, tell: Callable[..., None], *args: Any) -> None:
        if tell == self._accepted:
            tell(*args)
        else:
            super()._later(tell, *args)


class RecoversNothing(Outbox):
    """Leaves what a dead process was sending as it is."""

    def _recover(self) -> None:
        return


class ForgetsWhoAsked(Outbox):
    """Takes a request as answered before the commit that answers it."""

    def _later(self, tell: Callable[..., None], *args: Any) -> None:
        if tell == self._hand_out:
            want, deliver = args
            del self._wants[want.channel]
            super()._later(want.reply_to.tell, deliver)
        else:
            super()._later(tell, *args)


class DropsRequests(Outbox):
    """Keeps the request before when it cannot take in a new one."""

    def _give_up(self, message: Any) -> None:
        if not isinstance(message, Want):
            super()._give_up(message)


class LosesRetries(ChannelActor):
    """Forgets the attempt that opened the breaker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        state = self._core.state
        self._core = _Loser(self._policy, state, self.ctx.clock.dice, self._in_flight)


class _Loser(ChannelCore):
    def _settle(
        self, attempt: Attempt, verdicts: Iterable[Verdict], outcome: Outcome | None, elapsed: float
    ) -> None:
        if self.state.breaker.phase is not Phase.OPEN:
            super()._settle(attempt, verdicts, outcome, elapsed)


class ForgivesDebts(ChannelActor):
    """Starts with a full bucket after every crash."""

    def __init__(self, ctx: Any, **kwargs: Any) -> None:
        ctx.keep.pop("state", None)
        super().__init__(ctx, **kwargs)


class ChecksNoOrder(MemoryStore):
    """Lets every delivery go at once, whatever its order key."""

    def insert(self, seq: int, routes: Iterable[Route], order_key: str) -> None:
        """Add deliveries of an event."""
        super().insert(seq, routes, order_key)
        for row in list(self.disk.tables.rows.values()):
            if row.state is State.WAITING:
                self.disk.change(row, state=State.READY)


class BelievesEverySettlement(MemoryStore):
    """Settles a delivery again that is settled already."""

    def settle_one(self, settlement: Settlement, now: float) -> Settled | None:
        """Write down how an attempt ended."""
        row = self.disk.tables.rows[settlement.delivery.row]
        if row.state is not State.SENDING:
            self.disk.change(row, state=State.SENDING)
        return super().settle_one(settlement, now)


FEARED = {
    "ack before commit": Cast(outbox=AcknowledgesBeforeTheCommit),
    "retry lost when the breaker opens": Cast(channel=LosesRetries),
    "no recovery scan after a crash": Cast(outbox=RecoversNothing),
    "order check removed": Cast(store=ChecksNoOrder),
    "settled twice": Cast(store=BelievesEverySettlement),
    "limiter reset on restart": Cast(channel=ForgivesDebts),
}
"""The bugs that everybody fears."""

FOUND = {
    "a request is lost when the commit fails": Cast(outbox=ForgetsWhoAsked),
    "a request is dropped when it cannot be taken in": Cast(outbox=DropsRequests),
}
"""Bugs that were in knell until the simulation found them."""
