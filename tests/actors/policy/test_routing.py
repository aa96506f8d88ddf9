from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.policy.routing import ABOUT, SELF, Gate, RoutingTable, Rule, Suppressed
from knell.deliveries import Route
from knell.events import NotificationEvent, Severity
from knell.filters import EVERYTHING, Filter, parse

MakeEvent = Callable[..., NotificationEvent]

EVERY = frozenset({"*"})


def _table(rules: list[Rule], gates: dict[str, Gate], global_filter: Filter = EVERYTHING) -> RoutingTable:
    return RoutingTable(rules, gates, global_filter)


def _rule(name: str, *channels: str, types: frozenset[str] = EVERY, **fields: Any) -> Rule:
    return Rule(name, types, channels, **fields)


def _open(*names: str) -> dict[str, Gate]:
    return {name: Gate() for name in names}


# 1. Global filters


def test_global_filters_come_first(make_event: MakeEvent) -> None:
    """What they do not let pass goes nowhere, whatever rules and channels say."""
    table = _table([_rule("all", "a")], _open("a", "b"), parse({"source": {"ne": "noise"}}))
    decision = table.decide(make_event(source="noise"))
    assert decision.routes == ()
    assert decision.suppressed == {"a": Suppressed.GLOBAL_FILTER, "b": Suppressed.GLOBAL_FILTER}
    assert table.decide(make_event()).routes == (Route("a", "all"),)


# 2. Rules


def test_rules_are_taken_by_descending_priority(make_event: MakeEvent) -> None:
    """And those of one priority in the order of the file."""
    rules = [_rule("low", "a"), _rule("first", "a", priority=5), _rule("second", "a", priority=5)]
    decision = _table(rules, _open("a")).decide(make_event())
    assert decision.matched == ("first", "second", "low")
    assert decision.routes == (Route("a", "first"),)


def test_every_matching_rule_adds_its_channels(make_event: MakeEvent) -> None:
    """A channel is added once and credited to the first rule that named it."""
    rules = [_rule("one", "a", "b", priority=2), _rule("two", "b", "c", priority=1)]
    decision = _table(rules, _open("a", "b", "c")).decide(make_event())
    assert decision.routes == (Route("a", "one"), Route("b", "one"), Route("c", "two"))


def test_a_rule_matches_its_types_only(make_event: MakeEvent) -> None:
    """A listed type or `*`."""
    rules = [_rule("jobs", "a", types=frozenset({"job_failed"})), _rule("all", "b")]
    table = _table(rules, _open("a", "b"))
    assert table.decide(make_event("job_failed")).routes == (Route("a", "jobs"), Route("b", "all"))
    assert table.decide(make_event("my.own")).routes == (Route("b", "all"),)


def test_a_rule_matches_only_if_its_filters_pass(make_event: MakeEvent) -> None:
    """All of them."""
    rules = [_rule("r", "a", filters=parse([{"source": "tests"}, {"severity": "error"}]))]
    table = _table(rules, _open("a"))
    assert table.decide(make_event(severity=Severity.ERROR)).matched == ("r",)
    assert table.decide(make_event(severity=Severity.INFO)).matched == ()


def test_stop_ends_the_walk(make_event: MakeEvent) -> None:
    """Rules of lower priority are not looked at; one that did not match stops nothing."""
    silent = _rule("silent", "b", priority=9, stop=True, types=frozenset({"other"}))
    rules = [silent, _rule("last", "a", priority=5, stop=True), _rule("never", "b")]
    decision = _table(rules, _open("a", "b")).decide(make_event())
    assert decision.matched == ("last",)
    assert decision.routes == (Route("a", "last"),)
    assert decision.suppressed == {"b": Suppressed.NOT_ROUTED}


# 3. No rule matched


@pytest.mark.parametrize(
    ("gate", "event_type", "gets_it"),
    [
        (Gate(events=frozenset({"job_failed"})), "job_failed", True),
        (Gate(events=frozenset({"job_failed"})), "job_started", False),
        (Gate(events=EVERY), "anything", True),
        (Gate(events=frozenset()), "job_failed", False),
        (Gate(defaults=frozenset({"job_failed"})), "job_failed", True),
        (Gate(defaults=frozenset({"job_failed"})), "job_started", False),
        (Gate(defaults=EVERY), "anything", True),
        (Gate(events=frozenset({"x"}), defaults=frozenset({"job_failed"})), "job_failed", False),
    ],
)
def test_without_a_matching_rule_the_channels_lists_decide(
    make_event: MakeEvent, gate: Gate, event_type: str, *, gets_it: bool
) -> None:
    """Its `events`; the defaults of its type only where it has no such list."""
    table = _table([_rule("other", "a", types=frozenset({"other"}))], {"a": gate})
    decision = table.decide(make_event(event_type))
    assert decision.routes == ((Route("a", ""),) if gets_it else ())
    assert decision.suppressed == ({} if gets_it else {"a": Suppressed.NOT_ROUTED})


def test_a_rule_that_matched_switches_the_defaults_off(make_event: MakeEvent) -> None:
    """Also when its own channels get nothing in the end."""
    gates = {"a": Gate(enabled=False), "b": Gate(events=EVERY)}
    decision = _table([_rule("r", "a")], gates).decide(make_event())
    assert decision.routes == ()
    assert decision.suppressed == {"a": Suppressed.DISABLED, "b": Suppressed.NOT_ROUTED}


# 4. The gate


def test_a_channel_with_events_gets_only_these(make_event: MakeEvent) -> None:
    """Even if a rule names it."""
    gates = {"a": Gate(events=frozenset({"job_started"})), "b": Gate(events=EVERY)}
    decision = _table([_rule("r", "a", "b")], gates).decide(make_event())
    assert decision.routes == (Route("b", "r"),)
    assert decision.suppressed == {"a": Suppressed.NOT_IN_EVENTS}


def test_a_channels_defaults_do_not_bind_a_rule(make_event: MakeEvent) -> None:
    """They say what it gets when nobody else does."""
    gates = {"a": Gate(defaults=frozenset({"job_started"}))}
    assert _table([_rule("r", "a")], gates).decide(make_event()).routes == (Route("a", "r"),)


@pytest.mark.parametrize("rules", [[], [_rule("r", "a")]], ids=["by default", "by a rule"])
def test_a_channels_filters_must_pass(make_event: MakeEvent, rules: list[Rule]) -> None:
    """Whoever routed the event to it."""
    table = _table(rules, {"a": Gate(events=EVERY, filters=parse({"severity": "critical"}))})
    assert table.decide(make_event()).suppressed == {"a": Suppressed.FILTERED}
    assert table.decide(make_event(severity=Severity.CRITICAL)).suppressed == {}


def test_a_disabled_channel_gets_nothing(make_event: MakeEvent) -> None:
    """And the reason says so, whatever else would keep the event away."""
    gates = {"a": Gate(enabled=False, events=frozenset(), filters=parse({"source": "else"}))}
    assert _table([_rule("r", "a")], gates).decide(make_event()).suppressed == {"a": Suppressed.DISABLED}


def test_an_alert_about_a_channel_does_not_go_through_it(make_event: MakeEvent) -> None:
    """Only knell's own word counts: an event of somebody else may hold the same key."""
    table = _table([_rule("r", "a", "b")], _open("a", "b"))
    own = table.decide(make_event("system_alert", source=SELF, metadata={ABOUT: "a"}))
    assert (own.routes, own.suppressed) == ((Route("b", "r"),), {"a": Suppressed.ABOUT_ITSELF})
    other = table.decide(make_event("system_alert", metadata={ABOUT: "a"}))
    assert other.suppressed == {}


def test_every_channel_is_accounted_for(make_event: MakeEvent) -> None:
    """Routed or suppressed with a reason, never neither and never both."""
    gates = {"a": Gate(), "b": Gate(enabled=False), "c": Gate(events=EVERY), "d": Gate()}
    decision = _table([_rule("r", "a", "b")], gates).decide(make_event())
    routed = {route.channel for route in decision.routes}
    assert routed.isdisjoint(decision.suppressed)
    assert routed | set(decision.suppressed) == set(gates)


# The specification's example

SPEC_RULES = [
    Rule(
        "Critical Failures",
        frozenset({"job_failed", "agent_error"}),
        ("slack", "email", "sms"),
        parse([{"severity": "critical"}]),
        100,
    ),
    Rule(
        "Success Notifications",
        frozenset({"job_completed", "pr_merged"}),
        ("slack", "discord"),
        priority=50,
    ),
    Rule(
        "PR Activity",
        frozenset({"pr_created", "pr_merged", "pr_closed"}),
        ("slack",),
        parse([{"metadata.repo": "necrocode-main"}]),
        75,
    ),
]
SPEC_GATES = {
    "slack": Gate(defaults=frozenset({"job_failed", "pr_created"})),
    "email": Gate(events=frozenset({"job_failed", "task_failed"})),
    "discord": Gate(defaults=frozenset({"job_failed", "pr_created"})),
    "sms": Gate(events=frozenset({"job_failed"}), filters=parse([{"severity": ["critical"]}])),
}


@pytest.mark.parametrize(
    ("event_type", "severity", "metadata", "expected"),
    [
        (
            "job_failed",
            "critical",
            {},
            {"slack": "Critical Failures", "email": "Critical Failures", "sms": "Critical Failures"},
        ),
        ("agent_error", "critical", {}, {"slack": "Critical Failures"}),
        ("job_failed", "error", {}, {"slack": "", "email": "", "discord": ""}),
        (
            "pr_merged",
            "info",
            {"repo": "necrocode-main"},
            {"slack": "PR Activity", "discord": "Success Notifications"},
        ),
        (
            "pr_merged",
            "info",
            {"repo": "else"},
            {"slack": "Success Notifications", "discord": "Success Notifications"},
        ),
        ("pr_created", "info", {"repo": "necrocode-main"}, {"slack": "PR Activity"}),
        ("pr_created", "info", {}, {"slack": "", "discord": ""}),
        ("task_started", "info", {}, {}),
    ],
)
def test_the_specifications_example(
    make_event: MakeEvent,
    event_type: str,
    severity: str,
    metadata: dict[str, Any],
    expected: dict[str, str],
) -> None:
    """Its three rules, with its channels."""
    event = make_event(event_type, severity=Severity(severity), metadata=metadata)
    decision = RoutingTable(SPEC_RULES, SPEC_GATES, EVERYTHING).decide(event)
    assert {route.channel: route.rule for route in decision.routes} == expected


# Fallbacks


def test_a_fallback_passes_by_events_and_filters(make_event: MakeEvent) -> None:
    """A channel named as a fallback is wanted for what it would not get otherwise."""
    gates = {"a": Gate(events=frozenset(), filters=parse({"source": "else"})), "b": Gate()}
    assert _table([], gates).open_to(make_event(), ("b", "a")) == ("b", "a")


def test_a_fallback_does_not_go_where_it_cannot(make_event: MakeEvent) -> None:
    """Not to a disabled or unknown channel, and an alert not to the channel it is about."""
    table = _table([], {"off": Gate(enabled=False), "about": Gate(), "on": Gate()})
    alert = make_event("system_alert", source=SELF, metadata={ABOUT: "about"})
    assert table.open_to(alert, ("off", "about", "unknown", "on")) == ("on",)
