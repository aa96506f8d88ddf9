"""The part of the outbox that writes down how attempts ended."""

from collections.abc import Mapping, Sequence

from knell.deliveries import Again, Done, Settlement, Verdict
from knell.log import log
from knell.messages import DeliveryResult, Reason
from knell.store.contract import Settled as Stands
from knell.store.contract import State

from .books import Books
from .mail import Fallback
from .telemetry import ChannelMetrics


class Settling(Books):
    """Settles attempts, and tells whoever waits for the delivery."""

    def _settle(self, settlements: Sequence[Settlement]) -> None:
        now = self._now()
        for settlement, stands in zip(settlements, self._store.settle(settlements, now), strict=True):
            if stands is not None:
                self._stirred.add(settlement.delivery.channel)
                self._later(self._settled, settlement, stands, now)

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
            _put_back(verdict, metrics, fields)
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


def _put_back(verdict: Verdict, metrics: ChannelMetrics, fields: Mapping[str, object]) -> None:
    """Count and log that a delivery is to be tried again."""
    reason = verdict.reason if isinstance(verdict, Again) else Reason.CRASHED
    metrics.retries[reason].inc()
    delay = verdict.delay if isinstance(verdict, Again) else 0.0
    detail = "" if isinstance(verdict, Done) else verdict.detail
    log.warning("delivery.retry", **fields, reason=reason, delay_seconds=round(delay, 3), error=detail)


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
