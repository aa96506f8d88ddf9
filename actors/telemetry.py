"""The metrics of one system: the whole table of the contract, section 6, in one place.

Children of labelled metrics are made once, when a channel is known, so that every series exists at 0 and the
hot path looks nothing up. What actors know about themselves is read at scrape time, not sent.
"""

from collections import Counter as Counts
from collections.abc import Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from knell.errors import KnellError
from knell.events import EventType
from knell.messages import DeliveryState, Reason, Usage

from .cell import Cell
from .gauges import actor_metrics
from .orders import ActorEvent
from .policy.breaker import Phase
from .policy.routing import Suppressed

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
"""Seconds; up to an hour, so that deliveries which waited for a provider are told apart."""

SIZES = (1, 2, 5, 10, 20, 50, 100)

RESULTS = ("accepted", "suppressed", "duplicate", "conflict", "invalid", "overflow", "failed")
"""What became of an event that was told: `suppressed` is accepted with no channel to go to, `failed` was
refused because it could not be made durable."""

_FINAL = (DeliveryState.DONE, DeliveryState.DEAD, DeliveryState.EXPIRED, DeliveryState.CANCELLED)
_OTHER = "other"
_TYPES = frozenset(EventType)


class Families:
    """The metrics of the channels: the label `channel` is the first of each.

    Args:
        registry: where they are registered until `clear`.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made: list[Collector] = []
        counter, histogram, gauge = self._counter, self._histogram, self._gauge
        self.deliveries = counter("knell_deliveries_total", "Deliveries that ended, by outcome.", "outcome")
        self.attempts = counter("knell_attempts_total", "Attempts that ended, by reason.", "reason")
        self.retries = counter("knell_retries_total", "Deliveries put back for another attempt.", "reason")
        self.suppressed = counter(
            "knell_suppressed_total", "Events a channel did not get, by reason.", "reason"
        )
        self.transitions = counter("knell_circuit_transitions_total", "Changes of a circuit breaker.", "to")
        self.limited = counter(
            "knell_rate_limit_wait_seconds_total", "Time messages waited for a rate limit."
        )
        self.segments = counter("knell_sms_segments_total", "SMS segments sent.")
        self.cost = counter("knell_sms_cost_total", "Cost of SMS sent.", "currency")
        self.undelivered = counter(
            "knell_sms_undelivered_total", "SMS lost after the provider had accepted them."
        )
        self.delivery_seconds = histogram("knell_delivery_seconds", "From acceptance to delivery.", BUCKETS)
        self.attempt_seconds = histogram("knell_attempt_seconds", "Duration of one attempt.", BUCKETS)
        self.batch_size = histogram("knell_batch_size", "Deliveries in one message.", SIZES)
        self.pending = gauge("knell_pending", "Deliveries accepted and not finished.")
        self.dead = gauge("knell_dead_letters", "Deliveries given up and kept.")
        self.circuit = gauge("knell_circuit_state", "1 for the breaker's state.", "state")

    def clear(self) -> None:
        """Take them out of the registry."""
        for family in self._made:
            self._registry.unregister(family)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        made = Counter(name, text, ("channel", *labels), registry=self._registry)
        self._made.append(made)
        return made

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        made = Gauge(name, text, ("channel", *labels), registry=self._registry)
        self._made.append(made)
        return made

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        made = Histogram(name, text, ["channel"], buckets=buckets, registry=self._registry)
        self._made.append(made)
        return made


class ChannelMetrics:
    """The series of one channel."""

    def __init__(self, families: Families, name: str) -> None:
        self.deliveries = {
            state: families.deliveries.labels(name, "delivered" if state is DeliveryState.DONE else state)
            for state in _FINAL
        }
        self.attempts = {reason: families.attempts.labels(name, reason) for reason in Reason}
        self.retries = {reason: families.retries.labels(name, reason) for reason in Reason}
        self.suppressed = {reason: families.suppressed.labels(name, reason) for reason in Suppressed}
        self.transitions = {phase: families.transitions.labels(name, phase) for phase in Phase}
        self.delivery_seconds = families.delivery_seconds.labels(name)
        self.attempt_seconds = families.attempt_seconds.labels(name)
        self.limited = families.limited.labels(name)
        self.batch_size = families.batch_size.labels(name)
        self._segments = families.segments.labels(name)
        self.undelivered = families.undelivered.labels(name)
        self._cost, self._name = families.cost, name
        self.pending = families.pending.labels(name)
        self.dead = families.dead.labels(name)
        self._circuit = {phase: families.circuit.labels(name, phase) for phase in Phase}
        self.circuit(Phase.CLOSED)

    def priced_in(self, currency: object) -> None:
        """Show that a channel costs nothing yet, if it costs money at all."""
        if isinstance(currency, str) and currency:
            self._cost.labels(self._name, currency)

    def used(self, usage: Usage | None) -> None:
        """Count what an attempt used up at a provider that charges."""
        if usage is None:
            return
        self._segments.inc(max(0, usage.segments))
        if usage.currency:
            self._cost.labels(self._name, usage.currency).inc(max(0.0, usage.cost))

    def circuit(self, phase: Phase) -> None:
        """Show the breaker's state."""
        for other, gauge in self._circuit.items():
            gauge.set(other is phase)


class Telemetry(Collector):
    """All metrics of one system, in a registry of the host's choice.

    Raises:
        KnellError: the registry holds the metrics of another system.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        if registry.get_sample_value("knell_zombie_threads") is not None:
            raise KnellError("the registry holds the metrics of another system; give each one of its own")
        self.registry = registry
        self.root: Cell | None = None
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.events = counter("knell_events_total", "Events told, by result.", ("event_type", "result"))
        self.reload_ok = gauge(
            "knell_config_last_reload_successful", "Whether the last configuration was taken over."
        )
        self.reloaded_at = gauge(
            "knell_config_last_reload_success_timestamp_seconds", "When a configuration was last taken over."
        )
        self.build = Info("knell_build", "Version of knell.", registry=registry)
        self.build.info({"version": _version()})
        self._events: dict[tuple[str, str], Counter] = {
            told: self.events.labels(*told) for told in product((*EventType, _OTHER), RESULTS)
        }
        self._families = Families(registry)
        self._channels: dict[str, ChannelMetrics] = {}
        self._restarts: Counts[str] = Counts()
        registry.register(self)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that have series."""
        return tuple(self._channels)

    def channel(self, name: str) -> ChannelMetrics:
        """Return the series of a channel; they exist from the first call on."""
        if name not in self._channels:
            self._channels[name] = ChannelMetrics(self._families, name)
        return self._channels[name]

    def count_event(self, event_type: str, result: str) -> None:
        """Count an event that was told; a type that is not the specification's counts as `other`."""
        self._events[event_type if event_type in _TYPES else _OTHER, result].inc()

    def reloaded(self, at: float) -> None:
        """Note that a configuration was taken over, at a Unix time."""
        self.reload_ok.set(1)
        self.reloaded_at.set(at)

    def observe(self, event: ActorEvent) -> None:
        """Count restarts; each actor's are counted by its one supervisor."""
        if event.kind == "restarted":
            self._restarts[event.actor] += 1

    def collect(self) -> Iterable[Metric]:
        """Read the actors; nothing is sent to them for it. The label `actor` is an actor's path."""
        return [] if self.root is None else actor_metrics(self.root, self._restarts)

    def close(self) -> None:
        """Leave the registry as it was before."""
        self._families.clear()
        for collector in (self.events, self.reload_ok, self.reloaded_at, self.build, self):
            self.registry.unregister(collector)


def _version() -> str:
    try:
        return version("knell")
    except PackageNotFoundError:  # run from a checkout without being installed
        return "unknown"
