from collections.abc import Callable

import pytest

from knell.config.load import Loaded, check
from knell.config.problems import Problem
from knell.config.schema import ChannelConfig, ChildConfig, NotificationConfig, RoutingRule, Supervision
from knell.errors import ConfigError

Examine = Callable[..., Loaded]
Complaints = Callable[..., list[Problem]]

CASES = [
    ("event_routing: [{name: a, channels: [console, consle]}]", 47, "unknown channel 'consle'", "console"),
    ("event_routing: [{name: a, channels: consle}]", 37, "unknown channel 'consle'", "console"),
    ("event_routing: [{name: a, channels: zzz}]", 37, "unknown channel 'zzz'", ""),
    (
        "event_routing: [{name: a, channels: []}, {name: a, channels: []}]",
        49,
        "a rule above is named 'a' as well",
        "",
    ),
    ("supervision: {children: {consle: {}}}", 26, "there is no actor 'consle'", "console"),
    ("supervision: {children: {ruoter: {}}}", 26, "there is no actor 'ruoter'", "router"),
]


@pytest.mark.parametrize(("line", "column", "message", "near"), CASES)
def test_a_name_that_leads_nowhere(
    complaints: Complaints, line: str, column: int, message: str, near: str
) -> None:
    """A rule for a misspelt channel would never deliver, and nobody would notice."""
    (found,) = complaints(f"console: {{}}\n{line}")
    hint = f"did you mean {near!r}?" if near else ""
    assert (found.line, found.column, found.message, found.hint) == (2, column, message, hint)


def test_a_fallback_names_another_channel(complaints: Complaints) -> None:
    """As one name or as a list."""
    found = complaints("console: {fallback: console}\nopen: {fallback: [console, opne]}")
    assert [(item.line, item.column, item.message) for item in found] == [
        (1, 21, "channel 'console' cannot be its own fallback"),
        (2, 28, "unknown channel 'opne'"),
    ]


def test_names_that_exist_are_fine(examined: Examine) -> None:
    """A disabled channel may be named by rules, fallbacks and supervision."""
    config = examined(
        "console: {fallback: slack}\n"
        "slack: {enabled: false}\n"
        "event_routing: [{name: a, channels: slack}, {name: b, channels: [console]}]\n"
        "supervision: {children: {router: {}, outbox: {}, watcher: {}, channels: {}, slack: {mailbox: 5}}}"
    ).config
    assert [name for name, _ in config.enabled_channels()] == ["console"]
    assert config.supervision.children["slack"].mailbox == 5


def test_event_types_that_look_misspelt_are_warned_of(examined: Examine) -> None:
    """Anybody may have types of his own, so it is no error."""
    loaded = examined(
        "console: {events: [job_faild, nightly_report]}\n"
        "event_routing: [{name: a, channels: console, event_types: [pr_merged, pr_meged]}]"
    )
    assert [(item.line, item.column, item.message, item.hint) for item in loaded.warnings] == [
        (1, 20, "'job_faild' is no event type of knell's own", "did you mean 'job_failed'?"),
        (2, 71, "'pr_meged' is no event type of knell's own", "did you mean 'pr_merged'?"),
    ]


def test_a_configuration_built_by_a_program_is_checked_too() -> None:
    """Nothing is read, so the dotted path says where."""
    good = NotificationConfig(
        channels={"a": ChannelConfig(name="a", fallback=["b"]), "b": ChannelConfig(name="b")},
        event_routing=[RoutingRule(name="r", channels=["a"])],
    )
    check(good)
    bad = NotificationConfig(
        channels={"a": ChannelConfig(name="a", fallback=["b"])},
        event_routing=[RoutingRule(name="r", channels=["a", "c"]), RoutingRule(name="r", channels=[])],
        supervision=Supervision(children={"z": ChildConfig()}),
    )
    with pytest.raises(ConfigError) as caught:
        check(bad)
    assert str(caught.value).splitlines() == [
        "4 problems in the configuration",
        "event_routing[0].channels[1]: unknown channel 'c'",
        "event_routing[1].name: a rule above is named 'r' as well",
        "channels.a.fallback[0]: unknown channel 'b'",
        "supervision.children.z: there is no actor 'z'",
    ]
