from importlib.metadata import EntryPoint, EntryPoints

import pytest

from knell.channels import registry
from knell.channels.base import Channel, ChannelConfig
from knell.channels.slack import SlackChannel
from knell.errors import ChannelError

BUILT_IN = {"apprise", "console", "discord", "email", "file", "log", "slack", "sms", "webhook"}
TAKES_ALL = {"console", "file", "log"}


def test_every_built_in_type_is_found() -> None:
    """A module that defines a channel is a type of its name; the helpers beside it are none."""
    assert set(registry.builtin_types()) == BUILT_IN
    for name in BUILT_IN:
        assert registry.find(name).__module__ == f"knell.channels.{name}"


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_types_name_their_section_and_events(name: str) -> None:
    """Each has a strict schema of its own; only what stays on the machine takes everything."""
    found = registry.find(name)
    assert issubclass(found.Config, ChannelConfig)
    assert found.Config is not Channel.Config
    assert ("*" in found.default_events) is (name in TAKES_ALL)


def test_dotted_name() -> None:
    """A class of another package is named by module and class."""
    assert registry.find("knell.channels.slack:SlackChannel") is SlackChannel


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("slak", "unknown channel type 'slak'; there are apprise, console, discord"),
        ("http", "unknown channel type 'http'"),
        ("base", "unknown channel type 'base'"),
        ("", "unknown channel type ''"),
        ("no.such.module:Channel", "No module named"),
        ("knell.channels.slack:Missing", "no attribute 'Missing'"),
        (":SlackChannel", "Empty module name"),
        ("knell.channels.slack:SlackConfig", "no subclass of Channel"),
        ("knell.channels.slack:escape", "no subclass of Channel"),
    ],
)
def test_what_is_no_channel(name: str, problem: str) -> None:
    """A wrong type is an error that says what there is."""
    with pytest.raises(ChannelError) as caught:
        registry.find(name)
    assert problem in str(caught.value)


def publish(monkeypatch: pytest.MonkeyPatch, point: EntryPoint) -> None:
    """Let an installed package have an entry point."""

    def entry_points(**_: str) -> EntryPoints:
        return EntryPoints([point])

    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_entry_point_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package may publish a type, and replace a built-in one."""
    point = EntryPoint("slack", "knell.channels.discord:DiscordChannel", registry.ENTRY_POINTS)
    publish(monkeypatch, point)
    assert registry.find("slack").__name__ == "DiscordChannel"
    assert "slack" in registry.known_types()


def test_broken_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that promises what it does not have is an error that names the type."""
    point = EntryPoint("teams", "no_such_package:TeamsChannel", registry.ENTRY_POINTS)
    publish(monkeypatch, point)
    with pytest.raises(ChannelError, match="channel type 'teams': No module named 'no_such_package'"):
        registry.find("teams")
