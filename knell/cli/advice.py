"""What is allowed in a configuration and still not what anybody wants."""

from collections.abc import Iterable, Iterator

from knell.actors import translate
from knell.assembly import Classes, advice
from knell.cli.reach import by_rule, types_of
from knell.config.load import Loaded
from knell.config.problems import Problem
from knell.config.schema import ChannelConfig, NotificationConfig
from knell.config.tree import Items, Node, Table, child, entries, find

HORIZON = 24 * 3600.0
"""Seconds an outage of a provider may last without loss (reliability: a day)."""

_UNREAD = (
    ("sources",),
    ("dedup",),
    ("security", "redact"),
    ("store", "retention_days"),
    ("store", "dedup_days"),
)
"""Settings that are checked and kept, and that nothing in this version acts upon."""

_UNREAD_BY_CHANNELS = ("expire_after_seconds",)


def warnings(loaded: Loaded, found: Classes) -> Iterator[Problem]:
    """Return what is worth a second look, each with its place."""
    yield from loaded.warnings
    yield from _nobody_told(loaded)
    yield from _idle_rules(loaded)
    yield from _unreached_channels(loaded, found)
    yield from _short_horizons(loaded)
    yield from _unread(loaded.tree)
    for text in advice(loaded.config, found):
        place, _, message = text.partition(": ")
        yield _at(loaded, *place.split(".")).key.problem(message)


def _nobody_told(loaded: Loaded) -> Iterator[Problem]:
    if not any(True for _ in loaded.config.enabled_channels()):
        yield _at(loaded, "channels").key.problem(
            "no channel is enabled: events are accepted, and nobody is told"
        )


def _idle_rules(loaded: Loaded) -> Iterator[Problem]:
    channels = loaded.config.channels
    for number, rule in enumerate(loaded.config.event_routing):
        if any(by_rule(rule, channels[name]) for name in rule.channels):
            continue
        why = "; ".join(_why_not(name, channels[name]) for name in rule.channels) or "it names no channel"
        place = _at(loaded, "event_routing", number)
        yield place.at.problem(f"rule {rule.name!r} can never deliver anything: {why}")


def _why_not(name: str, section: ChannelConfig) -> str:
    return f"{name} takes none of its event types" if section.enabled else f"{name} is disabled"


def _unreached_channels(loaded: Loaded, found: Classes) -> Iterator[Problem]:
    for name, channel in found.items():
        if not types_of(loaded.config, name, channel):
            message = (
                f"no event can reach {name}: no rule brings it one that it takes, and it has no defaults"
            )
            yield _at(loaded, "channels", name).key.problem(
                message, "list its 'events', or name it in a rule"
            )


def _short_horizons(loaded: Loaded) -> Iterator[Problem]:
    config = loaded.config
    common = [name for name, section in config.enabled_channels() if section.retry_config is None]
    for name, section in config.enabled_channels():
        if name in common[1:]:
            continue  # told with the first of them
        seconds = _horizon(section, config)
        if seconds < HORIZON:
            names = ", ".join(common if name in common else [name])
            lasts = f"after about {_spoken(seconds)} of tries" if seconds else "at its first failure"
            yield _retry_place(loaded, name, section).key.problem(
                f"{names}: a delivery is given up {lasts}; a longer outage loses messages",
                "max_retries: 150 with max_delay_ms: 3600000 outlasts a day",
            )


def _horizon(section: ChannelConfig, config: NotificationConfig) -> float:
    """Return for how long a delivery is tried on average: each wait is random below its bound."""
    policy = translate.channel_policy(section, config).retry
    return sum(policy.bound(attempt) / 2 for attempt in range(1, policy.max_retries + 1))


def _retry_place(loaded: Loaded, name: str, section: ChannelConfig) -> Node:
    if section.retry_config is None:
        return child(loaded.tree, "retry_policy") or _at(loaded, "channels", name)
    own = _at(loaded, "channels", name)
    return child(own, "retry_config") or child(own, "retry") or own


def _unread(tree: Table) -> Iterator[Problem]:
    sections = entries(child(tree, "channels"))
    paths = [*_UNREAD, *(("channels", name, key) for name in sections for key in _UNREAD_BY_CHANNELS)]
    for path in paths:
        node = _step(tree, path)
        if node is not None and not (isinstance(node, Items) and not node.items):
            yield node.key.problem(f"{'.'.join(path)} has no effect in this version")


def _step(tree: Node, path: Iterable[str]) -> Node | None:
    node: Node | None = tree
    for key in path:
        node = child(node, key)
    return node


def _at(loaded: Loaded, *path: str | int) -> Node:
    """Return the node at a path, or the nearest above it."""
    return find(loaded.tree, path)[0]


def _spoken(seconds: float) -> str:
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
