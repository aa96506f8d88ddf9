"""Who gets an event (contract, section 4): global filters, rules by priority, then each channel's gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from knell.deliveries import Route
from knell.events import NotificationEvent
from knell.filters import EVERYTHING, Filter

from .filters import Predicate, compile_filter

ANY = "*"

ABOUT = "knell_channel"
"""Metadata key of knell's own alerts: the channel they are about, which never carries them."""

SELF = "knell"
"""Source of knell's own alerts."""


class Suppressed(StrEnum):
    """Why a channel does not get an event: a closed set, and the metric label `reason`."""

    GLOBAL_FILTER = "global_filter"
    NOT_ROUTED = "not_routed"
    NOT_IN_EVENTS = "not_in_events"
    FILTERED = "filtered"
    DISABLED = "disabled"
    ABOUT_ITSELF = "about_itself"


@dataclass(frozen=True, slots=True)
class Rule:
    """A routing rule."""

    name: str
    event_types: frozenset[str]
    channels: tuple[str, ...]
    filters: Filter = EVERYTHING
    priority: int = 0
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What one channel lets in.

    Attributes:
        events: event types it gets; None: it has no such list.
        defaults: event types it gets when it has no list and no rule matched.
    """

    enabled: bool = True
    events: frozenset[str] | None = None
    defaults: frozenset[str] = frozenset()
    filters: Filter = EVERYTHING


@dataclass(frozen=True, slots=True)
class Decision:
    """Where an event goes, and why not elsewhere.

    Attributes:
        matched: the names of the rules that matched, in the order they were taken.
        suppressed: why not, for every channel it does not go to.
    """

    routes: tuple[Route, ...]
    suppressed: dict[str, Suppressed]
    matched: tuple[str, ...] = ()


class RoutingTable:
    """The compiled routing of one configuration; immutable."""

    def __init__(self, rules: Sequence[Rule], gates: Mapping[str, Gate], global_filter: Filter) -> None:
        ordered = sorted(rules, key=lambda rule: -rule.priority)  # stable: equals stay in file order
        self._rules = [(rule, compile_filter(rule.filters)) for rule in ordered]
        self._gates = {name: (gate, compile_filter(gate.filters)) for name, gate in gates.items()}
        self._passes = compile_filter(global_filter)

    def decide(self, event: NotificationEvent) -> Decision:
        """Route one event."""
        if not self._passes(event):
            return Decision((), dict.fromkeys(self._gates, Suppressed.GLOBAL_FILTER))
        matched, wanted = self._walk(event)
        if not matched:
            wanted = {name: "" for name, (gate, _) in self._gates.items() if _by_default(gate, event)}
        routes: list[Route] = []
        suppressed: dict[str, Suppressed] = {}
        for name, (gate, passes) in self._gates.items():
            reason = _closed(name, gate, passes, event) if name in wanted else Suppressed.NOT_ROUTED
            if reason is None:
                routes.append(Route(name, wanted[name]))
            else:
                suppressed[name] = reason
        return Decision(tuple(routes), suppressed, matched)

    def open_to(self, event: NotificationEvent, channels: Sequence[str]) -> tuple[str, ...]:
        """Return those of the channels whose gate lets a fallback in: `events` does not bind it."""
        return tuple(
            name
            for name in channels
            if name in self._gates and self._gates[name][0].enabled and not _about(name, event)
        )

    def _walk(self, event: NotificationEvent) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the rules that match, and each channel with the first rule that named it."""
        matched: list[str] = []
        wanted: dict[str, str] = {}
        for rule, passes in self._rules:
            if (ANY in rule.event_types or event.event_type in rule.event_types) and passes(event):
                matched.append(rule.name)
                for channel in rule.channels:
                    wanted.setdefault(channel, rule.name)
                if rule.stop:
                    break
        return tuple(matched), wanted


def _by_default(gate: Gate, event: NotificationEvent) -> bool:
    types = gate.defaults if gate.events is None else gate.events
    return ANY in types or event.event_type in types


def _closed(name: str, gate: Gate, passes: Predicate, event: NotificationEvent) -> Suppressed | None:
    if not gate.enabled:
        return Suppressed.DISABLED
    if _about(name, event):
        return Suppressed.ABOUT_ITSELF
    if gate.events is not None and ANY not in gate.events and event.event_type not in gate.events:
        return Suppressed.NOT_IN_EVENTS
    return None if passes(event) else Suppressed.FILTERED


def _about(name: str, event: NotificationEvent) -> bool:
    return event.source == SELF and event.metadata.get(ABOUT) == name
