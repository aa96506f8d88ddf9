"""Which event types can reach which channel, whatever their severity and metadata."""

from collections.abc import Iterable

from knell.channels.base import Channel
from knell.config.schema import ChannelConfig, NotificationConfig, RoutingRule
from knell.filters import EVERYTHING

ANY = "*"


def by_rule(rule: RoutingRule, section: ChannelConfig) -> frozenset[str]:
    """Return the event types that a rule can bring to a channel; the star among them stands for all."""
    return _both(frozenset(rule.event_types), section.events) if section.enabled else frozenset()


def by_default(config: NotificationConfig, section: ChannelConfig, channel: type[Channel]) -> frozenset[str]:
    """Return the event types that a channel can get where no rule matches."""
    wanted = frozenset(channel.default_events if section.events is None else section.events)
    always = frozenset(
        event_type
        for rule in config.event_routing
        if rule.filters == EVERYTHING
        for event_type in rule.event_types
    )
    return frozenset() if ANY in always else wanted - always


def types_of(config: NotificationConfig, name: str, channel: type[Channel]) -> frozenset[str]:
    """Return all event types an enabled channel can get."""
    section = config.channels[name]
    found = by_default(config, section, channel)
    for rule in config.event_routing:
        if name in rule.channels:
            found |= by_rule(rule, section)
    for other in config.channels.values():
        if other.enabled and name in other.fallback:
            found |= {ANY}
    return found


def _both(types: frozenset[str], events: Iterable[str] | None) -> frozenset[str]:
    gate = frozenset([ANY] if events is None else events)
    if ANY in gate:
        return types
    return gate if ANY in types else types & gate
