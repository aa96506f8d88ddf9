"""Names in the settings that must exist elsewhere in them: channels, actors, rules."""

from collections.abc import Collection, Iterator
from difflib import get_close_matches

from knell.events import EventType

from .problems import Problem, did_you_mean
from .tree import Items, Leaf, Node, Origin, child, entries, shown

ACTORS = ("router", "outbox", "watcher", "channels")
"""The children of the supervision tree besides one per channel (contract, section 4)."""


def reference_problems(root: Node) -> Iterator[Problem]:
    """Return every name that leads nowhere, in settings that are in shape."""
    sections = entries(child(root, "channels"))
    yield from _in_rules(child(root, "event_routing"), sections)
    for name, section in sections.items():
        yield from _in_fallback(name, child(section, "fallback"), sections)
    for name, node in entries(child(child(root, "supervision"), "children")).items():
        if name not in sections and name not in ACTORS:
            yield node.key.problem(f"there is no actor {name!r}", did_you_mean(name, (*ACTORS, *sections)))


def _in_rules(rules: Node | None, channels: Collection[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for rule in rules.items if isinstance(rules, Items) else []:
        for leaf in _texts(child(rule, "channels")):
            yield from _unknown(leaf, channels)
        for leaf in _texts(child(rule, "name")):
            if leaf.value in seen:
                yield leaf.at.problem(f"a rule above is named {shown(leaf)} as well")
            seen.add(leaf.value)


def _in_fallback(name: str, fallback: Node | None, channels: Collection[str]) -> Iterator[Problem]:
    for leaf in _texts(fallback):
        if leaf.value == name:
            yield leaf.at.problem(f"channel {name!r} cannot be its own fallback")
        else:
            yield from _unknown(leaf, channels)


def _unknown(leaf: Leaf, channels: Collection[str]) -> Iterator[Problem]:
    if leaf.value not in channels:
        hint = did_you_mean(leaf.value, channels) if leaf.origin is Origin.WRITTEN else ""
        yield leaf.at.problem(f"unknown channel {shown(leaf)}", hint)


def _texts(node: Node | None) -> Iterator[Leaf]:
    """Return the texts of a list, or the one text that stands for a list."""
    for item in node.items if isinstance(node, Items) else [node]:
        if isinstance(item, Leaf) and isinstance(item.value, str) and item.origin is not Origin.UNSET:
            yield item


def likely_typos(root: Node) -> Iterator[Problem]:
    """Return event types that are no error, because anybody may have types of his own, but look like one."""
    lists = [child(section, "events") for section in entries(child(root, "channels")).values()]
    rules = child(root, "event_routing")
    lists += [child(rule, "event_types") for rule in rules.items] if isinstance(rules, Items) else []
    for leaf in (leaf for node in lists for leaf in _texts(node)):
        written: str = leaf.value
        close = get_close_matches(written, _EVENT_TYPES, n=1, cutoff=0.8)
        if close and written not in _EVENT_TYPES:
            message = f"{shown(leaf)} is no event type of knell's own"
            yield leaf.at.problem(message, f"did you mean {close[0]!r}?")


_EVENT_TYPES = tuple(map(str, EventType))
