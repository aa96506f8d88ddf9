"""Bugs that the simulation must find: the four that everybody fears, and those it has found already."""

from collections.abc import Callable, Iterable
from typing import Any

from knell.actors.channel import ChannelActor
from knell.actors.mail import Want
from knell.actors.outbox import Outbox, _tell
from knell.actors.policy.breaker import Phase
from knell.actors.policy.channel import Withdrawn
from knell.actors.policy.core import ChannelCore
from knell.deliveries import Attempt, Route
from knell.store.contract import State

from .memory_store import Disk, MemoryStore


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
        if tell == self._deliver:
            want, deliver = args
            del self._wants[want.channel]
            super()._later(_tell, want.reply_to, deliver)
        else:
            super()._later(tell, *args)


class DropsRequests(Outbox):
    """Keeps the request before when it cannot take in a new one."""

    def _give_up(self, message: Any) -> None:
        if not isinstance(message, Want):
            super()._give_up(message)


class TellsUntilOneFails(Outbox):
    """Tells nobody after the first who cannot be told."""

    def _tell_all(self) -> None:
        for tell in self._after:
            tell()


class LosesRetries(ChannelActor):
    """Forgets the attempt that opened the breaker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        state = self._core.state
        self._core = _Loser(self._policy, state, self.ctx.clock.dice, self._in_flight)


class _Loser(ChannelCore):
    def _settle(self, attempt: Attempt, verdicts: Iterable[Any], *rest: Any) -> None:
        if self.state.breaker.phase is not Phase.OPEN:
            super()._settle(attempt, verdicts, *rest)


class ForgivesDebts(ChannelActor):
    """Starts with a full bucket after every crash."""

    def __init__(self, ctx: Any, **kwargs: Any) -> None:
        ctx.keep.pop("state", None)
        super().__init__(ctx, **kwargs)


class KeepsWhatNobodyWants(ChannelActor):
    """Leaves an attempt as begun that was withdrawn before it was begun."""

    def _give_back(self, attempt: Attempt) -> None:
        return


class BelievesEveryWithdrawal(ChannelActor):
    """Takes an attempt that is on the wire for one that does not begin."""

    def on_receive(self, message: Any) -> Any:
        """Take what the outbox answers."""
        if isinstance(message, Withdrawn):
            return self._handle(message)
        return super().on_receive(message)


class _Orderless(MemoryStore):
    def _insert(self, seq: int, routes: Iterable[Route], order_key: str) -> None:
        before = len(self._disk.rows)
        super()._insert(seq, routes, order_key)
        for number in range(before + 1, len(self._disk.rows) + 1):
            self._disk.change(number, state=State.READY)


class _SettlesTwice(MemoryStore):
    """Believes a settlement whatever the delivery's state."""

    def settle(self, settlement: Any, now: float) -> Any:
        """Write down how an attempt ended, again and again."""
        row = self._disk.rows[settlement.delivery.row]
        if row.state is not State.SENDING:
            self._disk.change(row.id, state=State.SENDING)
        return super().settle(settlement, now)


class Unordered(Disk):
    """A disk whose store checks no order."""

    kind = _Orderless


class Gullible(Disk):
    """A disk whose store takes every settlement."""

    kind = _SettlesTwice


FEARED: dict[str, dict[str, Any]] = {
    "ack before commit": {"outbox": AcknowledgesBeforeTheCommit},
    "retry lost when the breaker opens": {"channel": LosesRetries},
    "no recovery scan after a crash": {"outbox": RecoversNothing},
    "order check removed": {"make_disk": Unordered},
    "settled twice": {"make_disk": Gullible},
    "limiter reset on restart": {"channel": ForgivesDebts},
}

FOUND: dict[str, tuple[int, dict[str, Any]]] = {
    "a request is lost when the commit fails": (12, {"outbox": ForgetsWhoAsked}),
    "a request is dropped when it cannot be taken in": (1390, {"outbox": DropsRequests}),
    "a receipt is not told": (708, {"outbox": TellsUntilOneFails}),
    "begun for nobody": (710, {"channel": KeepsWhatNobodyWants}),
    "withdrawn on the wire": (4485, {"channel": BelievesEveryWithdrawal}),
}
"""Bugs that were in knell until the simulation found them, each with a seed that does."""
