"""The desk of the outbox: what operators do to deliveries, in one transaction and with an exact count."""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass

from knell.log import log
from knell.messages import DeliveryState
from knell.store.contract import REPLAY_INTERVAL, Ended, State, Store

from .mail import Cancel, Replay
from .receipt import Receipt
from .telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Carried:
    """An order as it was carried out.

    Attributes:
        count: how many deliveries it concerned.
        channels: whose they were.
        tell: to be called once it is durable.
    """

    count: int
    channels: frozenset[str]
    tell: Callable[[], None]


class Desk:
    """Carries out orders of operators; see `Outbox`, whose parts these are."""

    def __init__(self, store: Store, telemetry: Telemetry, receipts: MutableMapping[int, Receipt]) -> None:
        self._store = store
        self._telemetry = telemetry
        self._receipts = receipts

    def carry_out(self, order: Replay | Cancel, now: float) -> Carried:
        """Carry out an order within the transaction that is open."""
        return self._replay(order, now) if isinstance(order, Replay) else self._cancel(order, now)

    def show(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Show how many deliveries of each channel are pending and dead."""
        for channel, (pending, dead) in counts.items():
            metrics = self._telemetry.channel(channel)
            metrics.pending.set(pending)
            metrics.dead.set(dead)

    def show_all(self, counts: Mapping[str, tuple[int, int]]) -> None:
        """Show it of every channel there is; what is not counted has none."""
        self.show({**dict.fromkeys(self._telemetry.channels, (0, 0)), **counts})

    def _replay(self, order: Replay, now: float) -> Carried:
        found = self._store.replay(order.selection, order.by, now, REPLAY_INTERVAL)
        count = sum(found.values())
        # Counted, since the answer does not tell what was dead from what was done; and counted now, since
        # what follows in the same transaction is told of by itself.
        counts = self._store.counts() if found else {}

        def tell() -> None:
            self.show({channel: counts[channel] for channel in found})
            log.warning("deliveries.replayed", by=order.by, deliveries=count, channels=sorted(found))

        return Carried(count, frozenset(found), tell)

    def _cancel(self, order: Cancel, now: float) -> Carried:
        found = self._store.cancel(order.selection, order.by, now)
        channels = frozenset(ended.channel for ended in found)

        def tell() -> None:
            for ended in found:
                self.ended(ended, DeliveryState.CANCELLED)
            log.warning("deliveries.cancelled", by=order.by, deliveries=len(found), channels=sorted(channels))

        return Carried(len(found), channels, tell)

    def ended(self, ended: Ended, state: DeliveryState) -> None:
        """Tell of a delivery that ended without an attempt, cancelled or expired."""
        metrics = self._telemetry.channel(ended.channel)
        metrics.deliveries[state].inc()
        if ended.was is State.DEAD:
            metrics.dead.dec()
            return
        metrics.pending.dec()
        receipt = self._receipts.get(ended.seq)
        if receipt is not None and (result := self._store.results(ended.seq)[ended.channel]) is not None:
            receipt.settle(result)
