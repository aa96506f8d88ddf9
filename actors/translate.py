"""From the words of the configuration to the values of the policies."""

from collections.abc import Mapping

from knell.messages import Reason

from ..channels.base import Channel
from ..config.schema import Backoff as BackoffConfig
from ..config.schema import ChannelConfig, ChildConfig, NotificationConfig, RoutingRule
from .policy.batcher import BatchPolicy
from .policy.breaker import BreakerPolicy
from .policy.channel import CRASH_LIMIT, ChannelPolicy
from .policy.restart import Backoff, Intensity
from .policy.retry import RetryPolicy
from .policy.routing import Gate, Rule
from .policy.similar import Dedup
from .upkeep import LONGEST_DELAY, Keeping

DAY = 86400.0
"""Seconds."""


def channel_policy(section: ChannelConfig, config: NotificationConfig) -> ChannelPolicy:
    """Return the rules of one channel; what its section leaves out comes from the whole."""
    retry = section.retry_config or config.retry_policy
    breaker, batch, limit = section.circuit_breaker, section.batch, section.rate_limit
    return ChannelPolicy(
        retry=RetryPolicy(
            retry.max_retries,
            retry.initial_delay_ms / 1000,
            retry.max_delay_ms / 1000,
            retry.backoff_multiplier,
            frozenset(Reason(name) for name in retry.retry_on_errors),
        ),
        breaker=BreakerPolicy(breaker.failure_threshold, breaker.timeout_seconds, breaker.success_threshold),
        batch=BatchPolicy(batch.max_batch_size, batch.max_wait_seconds, batch.batch_by == "event_type")
        if batch.enabled
        else BatchPolicy(),
        rate=(limit.window_seconds / limit.max_requests, limit.burst) if limit else None,
        concurrency=section.concurrency,
        divert_after=section.fallback_after_seconds if section.fallback else None,
        crash_limit=child(config, section.name).attempts or CRASH_LIMIT,
    )


def rules(config: NotificationConfig) -> tuple[Rule, ...]:
    """Return the routing rules."""
    return tuple(_rule(rule) for rule in config.event_routing)


def gates(config: NotificationConfig, classes: Mapping[str, type[Channel]]) -> dict[str, Gate]:
    """Return what each channel lets in; disabled ones let nothing in."""
    return {name: _gate(section, classes.get(name)) for name, section in config.channels.items()}


def dedup(config: NotificationConfig) -> Dedup:
    """Return which events mean the same."""
    given = config.dedup
    return Dedup(tuple(given.key), given.window_seconds) if given else Dedup()


def keeping(config: NotificationConfig) -> Keeping:
    """Return how long what is kept."""
    sections = config.channels.items()
    retries = [config.retry_policy, *(s.retry_config for s in config.channels.values() if s.retry_config)]
    return Keeping(
        retention=config.store.retention_days * DAY,
        dead_retention=config.store.dead_retention_days * DAY,
        dedup=config.store.dedup_days * DAY,
        expiry={n: s.expire_after_seconds for n, s in sections if s.expire_after_seconds is not None},
        longest_delay=max(LONGEST_DELAY, *(retry.max_delay_ms / 1000 for retry in retries)),
    )


def fallbacks(config: NotificationConfig) -> dict[str, tuple[str, ...]]:
    """Return the channels to try when one cannot deliver."""
    return {name: tuple(section.fallback) for name, section in config.channels.items() if section.fallback}


_PLAIN = ChildConfig()


def child(config: NotificationConfig, name: str) -> ChildConfig:
    """Return what the configuration says about supervising one actor."""
    return config.supervision.children.get(name, _PLAIN)


def backoff(config: NotificationConfig, name: str) -> Backoff:
    """Return the backoff of one actor."""
    given: BackoffConfig = child(config, name).backoff or config.supervision.backoff
    return Backoff(given.min_seconds, given.max_seconds, given.jitter)


def intensity(config: NotificationConfig, name: str | None = None) -> Intensity:
    """Return how many restarts are too many: of one actor, or of the root's children together."""
    own = child(config, name) if name else ChildConfig()
    whole = config.supervision
    return Intensity(
        whole.max_restarts if own.max_restarts is None else own.max_restarts,
        whole.within_seconds if own.within_seconds is None else own.within_seconds,
    )


def own_intensity(config: NotificationConfig, name: str) -> Intensity | None:
    """Return how many restarts of a child of the root are too many; None: they count with its siblings'."""
    own = child(config, name)
    given = own.max_restarts is not None or own.within_seconds is not None
    return intensity(config, name) if given else None


def _rule(rule: RoutingRule) -> Rule:
    return Rule(
        rule.name,
        frozenset(rule.event_types),
        tuple(rule.channels),
        rule.filters,
        rule.priority,
        rule.stop,
    )


def _gate(section: ChannelConfig, channel: type[Channel] | None) -> Gate:
    return Gate(
        enabled=section.enabled and channel is not None,
        events=None if section.events is None else frozenset(section.events),
        defaults=channel.default_events if channel is not None else frozenset(),
        filters=section.filters,
    )
