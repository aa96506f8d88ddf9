"""What the system says about itself, read from its metrics (contract, section 6)."""

from collections import defaultdict

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from knell.actors.policy.breaker import Phase

_OF_ACTORS = {
    "knell_actor_up": "up",
    "knell_mailbox_depth": "mailbox",
    "knell_actor_restarts_total": "restarts",
}


class Actor(msgspec.Struct):
    """One actor: whether it serves (1) or not, how many messages wait for it, and its restarts."""

    up: int = 0
    mailbox: int = 0
    restarts: int = 0


class Channel(msgspec.Struct):
    """One channel: its breaker, deliveries that wait, deliveries that are done, attempts made again."""

    breaker: str = Phase.CLOSED
    pending: int = 0
    delivered: int = 0
    retries: int = 0


class Figures(msgspec.Struct):
    """One look at the whole system: actors by their paths, channels by their names."""

    actors: dict[str, Actor]
    channels: dict[str, Channel]

    def retries(self, channel: str) -> int:
        """Return how many attempts of a channel were made again."""
        return self.channels[channel].retries if channel in self.channels else 0

    def restarts(self, channel: str) -> int:
        """Return how often a channel's actor was restarted."""
        path = f"channels/{channel}"
        return self.actors[path].restarts if path in self.actors else 0


def figures(registry: CollectorRegistry) -> Figures:
    """Read the metrics."""
    actors: defaultdict[str, Actor] = defaultdict(Actor)
    channels: defaultdict[str, Channel] = defaultdict(Channel)
    for sample in (sample for metric in registry.collect() for sample in metric.samples):
        if field := _OF_ACTORS.get(sample.name):
            setattr(actors[sample.labels["actor"]], field, int(sample.value))
        elif "channel" in sample.labels:
            _note(channels[sample.labels["channel"]], sample)
    return Figures(dict(actors), dict(channels))


def _note(channel: Channel, sample: Sample) -> None:
    value = int(sample.value)
    match sample.name:
        case "knell_circuit_state" if value:
            channel.breaker = sample.labels["state"]
        case "knell_pending":
            channel.pending = value
        case "knell_deliveries_total" if sample.labels["outcome"] == "delivered":
            channel.delivered = value
        case "knell_retries_total":
            channel.retries += value
        case _:
            return
