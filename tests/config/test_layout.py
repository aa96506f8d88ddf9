from collections.abc import Callable

from knell.config.load import Loaded
from knell.config.problems import Problem

Examine = Callable[..., Loaded]
Complaints = Callable[..., list[Problem]]

SLACK = "{webhook_url: 'https://x'}"


def _places(found: list[Problem]) -> list[tuple[int, int, str]]:
    return [(item.line, item.column, item.message) for item in found]


def test_sections_under_channels_at_top_level_and_wrapped_mean_the_same(examined: Examine) -> None:
    """The specification and its customer write all three."""
    nested = examined(f"channels:\n  slack: {SLACK}\nlocale: ja").config
    top = examined(f"slack: {SLACK}\nlocale: ja").config
    wrapped = examined(f"notifications:\n  slack: {SLACK}\n  locale: ja").config
    both = examined(f"notifications:\n  channels:\n    slack: {SLACK}\n  locale: ja").config
    assert nested == top == wrapped == both
    assert nested.channels["slack"].name == "slack"


def test_nothing_stands_beside_the_wrapper(complaints: Complaints) -> None:
    """Which of the two would count is anybody's guess."""
    found = complaints("locale: ja\nnotifications: {locale: ja}\nslack: {}")
    assert _places(found) == [
        (1, 1, "key 'locale' stands beside 'notifications', which holds all settings"),
        (3, 1, "key 'slack' stands beside 'notifications', which holds all settings"),
    ]


def test_the_wrapper_holds_a_mapping(complaints: Complaints) -> None:
    """A list of channels is a frequent guess."""
    found = complaints("notifications:\n- slack")
    assert _places(found) == [(2, 1, "expected a mapping (key: value), got a list")]


def test_a_file_holds_a_mapping(complaints: Complaints) -> None:
    """A list or a text is no configuration."""
    assert _places(complaints("- a")) == [(1, 1, "expected a mapping (key: value), got a list")]
    assert _places(complaints("just text")) == [(1, 1, "expected a mapping (key: value), got text")]


def test_a_channel_at_top_level_may_name_its_type(examined: Examine) -> None:
    """A second Slack beside `event_routing`."""
    config = examined(f"slack-ops: {{type: slack, webhook_url: 'https://x'}}\nslack: {SLACK}").config
    assert list(config.channels) == ["slack-ops", "slack"]
    assert config.channels["slack-ops"].type == "slack"
    assert config.channels["slack-ops"].name == "slack-ops"


def test_a_channel_must_not_stand_in_both_places(complaints: Complaints) -> None:
    """One of the two would silently win."""
    found = complaints(f"slack: {SLACK}\nchannels:\n  slack: {SLACK}")
    assert _places(found) == [(1, 1, "channel 'slack' stands under 'channels' as well")]


def test_rate_limits_mean_the_rate_limit_of_the_section(examined: Examine) -> None:
    """Written there, at top level, or the same in both."""
    limit = "{max_requests: 5, window_seconds: 2}"
    top = examined(f"console: {{}}\nrate_limits:\n  console: {limit}").config
    own = examined(f"console: {{rate_limit: {limit}}}").config
    both = examined(f"console: {{rate_limit: {limit}}}\nrate_limits: {{console: {limit}}}").config
    assert top == own == both
    rate_limit = top.channels["console"].rate_limit
    assert rate_limit is not None
    assert (rate_limit.max_requests, rate_limit.window_seconds, rate_limit.burst) == (5, 2.0, 5)


def test_wrong_rate_limits_are_reported_where_they_stand(complaints: Complaints) -> None:
    """A different one in the section, an unknown channel, a wrong key."""
    found = complaints(
        "console: {rate_limit: {max_requests: 5}}\n"
        "open: {}\n"
        "rate_limits:\n"
        "  console: {max_requests: 6}\n"
        "  consle: {max_requests: 6}\n"
        "  open: {max_request: 6}\n"
    )
    assert _places(found) == [
        (4, 3, "channel 'console' has another rate_limit in its own section"),
        (5, 3, "rate_limits names unknown channel 'consle'"),
        (6, 10, "unknown key 'max_request'"),
    ]
    assert found[1].hint == "did you mean 'console'?"
    assert _places(complaints("rate_limits: 5")) == [(1, 14, "expected a mapping (key: value), got a number")]


def test_an_override_may_name_a_channel_of_the_base_at_top_level(examined: Examine) -> None:
    """Whatever its type is called, and for its rate limit too."""
    base = f"channels:\n  ops: {{type: slack, webhook_url: 'https://x', channel: '#a'}}\n  slack: {SLACK}"
    over = "ops: {channel: '#b'}\nrate_limits: {slack: {max_requests: 3}}"
    config = examined(base, override=over).config
    assert config.channels["ops"]["channel"] == "#b"
    assert config.channels["ops"].type == "slack"
    limit = config.channels["slack"].rate_limit
    assert limit is not None
    assert limit.max_requests == 3
