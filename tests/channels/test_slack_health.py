"""What a Slack channel says about itself without posting anything, and what it finds odd in its section."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from knell.channels.slack import SlackChannel, SlackConfig
from knell.lab import Respond
from tests.channels.slack_room import Room

WHO = "knell in the workspace Lab"
ONLY_SENDING = "whether it may post in #necrocode only sending can tell"
WEBHOOK = {"webhook_url": "https://hooks.slack.com/services/T/B/CANARY"}
TOKEN = {"bot_token": "xoxb-CANARY", "channel": "#ops"}


@pytest.fixture
def room() -> Iterator[Room]:
    """A channel with a bot token."""
    with Room() as found:
        yield found


def test_a_good_token(room: Room) -> None:
    """The bot and its workspace are named; a channel's name alone cannot be asked for."""
    health = room.health()
    assert (health.healthy, health.detail) == (True, f"{WHO}; {ONLY_SENDING}")
    assert room.messages == ()


@pytest.mark.parametrize(
    ("channel", "healthy", "said"),
    [
        ("C0LAB000001", True, ""),
        ("C0LAB000002", False, "; invite the app to C0LAB000002"),
        ("C0LAB000003", False, "; C0LAB000003 is archived"),
        (
            "C0LAB000099",
            False,
            "; C0LAB000099: there is no such channel, or it is private and the app is not in it",
        ),
    ],
)
def test_a_channel_by_its_id(room: Room, channel: str, said: str, *, healthy: bool) -> None:
    """Where the token may read channels, the app's membership is known."""
    room.open(channel=channel)
    health = room.health()
    assert (health.healthy, health.detail) == (healthy, WHO + said)


def test_an_app_that_may_post_everywhere(room: Room) -> None:
    """With chat:write.public it need not be in a public channel."""
    room.lab.slack.scopes |= {"chat:write.public"}
    room.open(channel="C0LAB000002")
    assert room.health().healthy


@pytest.mark.parametrize("scopes", [{"chat:write"}, set[str]()])
def test_a_channel_that_cannot_be_asked_for(room: Room, scopes: set[str]) -> None:
    """Without the scope, or when Slack does not say which there are, nothing is claimed."""
    room.lab.slack.scopes = frozenset(scopes)
    room.open(channel="C0LAB000001", reactions=False, upload_files=False)
    health = room.health()
    assert (health.healthy, health.detail) == (
        True,
        f"{WHO}; {ONLY_SENDING}".replace("#necrocode", "C0LAB000001"),
    )


@pytest.mark.parametrize(
    "answer", [{"ok": False, "error": "missing_scope"}, {"ok": True}, {"ok": True, "channel": []}]
)
def test_answers_that_tell_nothing_of_the_channel(room: Room, answer: dict[str, Any]) -> None:
    """A private channel may need another scope."""
    room.lab.slack.script(Respond(200, answer, at="conversations.info"))
    room.open(channel="C0LAB000001")
    assert room.health().healthy


def test_scopes_that_are_missing(room: Room) -> None:
    """Each is named with what it is for; only without chat:write nothing can be sent."""
    room.lab.slack.scopes = frozenset({"chat:write"})
    room.open(username="Knell")
    health = room.health()
    assert health.healthy
    assert health.detail.split("; ") == [
        WHO,
        "the app lacks the scope chat:write.customize, for username and icon_emoji",
        "the app lacks the scope reactions:write, for reactions",
        "the app lacks the scope files:write, for files",
        ONLY_SENDING,
    ]
    room.lab.slack.scopes = frozenset({"files:write"})
    room.open(threads=False)
    health = room.health()
    assert (health.healthy, health.detail) == (
        False,
        f"{WHO}; the app lacks the scope chat:write, for messages; {ONLY_SENDING}",
    )


def test_a_bad_token(room: Room) -> None:
    """Slack's word, and what to do."""
    room.open(bot_token="xoxb-CANARY")
    health = room.health()
    assert (health.healthy, health.detail) == (
        False,
        "Slack answered 200 invalid_auth: the bot token is wrong",
    )


def test_names_are_one_short_line(room: Room) -> None:
    """A provider's text is not trusted."""
    body = {"ok": True, "user": "a\nb" + "x" * 500, "team": 7}
    room.lab.slack.script(Respond(200, body, at="auth.test"))
    detail = room.health().detail
    assert detail.startswith("a bxxx")
    assert "… in the workspace somebody" in detail
    assert "\n" not in detail


def test_a_webhook() -> None:
    """Only sending can tell."""
    with Room(webhook=True) as room:
        health = room.health()
        assert (health.healthy, health.detail) == (True, "only sending can tell whether the webhook works")
        assert room.lab.slack.requests == ()


@pytest.mark.parametrize(
    ("section", "doubts"),
    [
        (WEBHOOK, []),
        (TOKEN, []),
        ({**WEBHOOK, "threads": False, "reactions": False}, []),
        ({**WEBHOOK, "threads": True}, ["threads: an incoming webhook cannot do that, use bot_token"]),
        (
            {**WEBHOOK, "reactions": {"failed": "fire"}, "edit_parent": True, "upload_files": True},
            [
                "edit_parent: an incoming webhook cannot do that, use bot_token",
                "reactions: an incoming webhook cannot do that, use bot_token",
                "upload_files: an incoming webhook cannot do that, use bot_token",
            ],
        ),
        ({**TOKEN, "threads": False, "upload_files": True}, []),
        (
            {**TOKEN, "threads": False, "broadcast_failures": True},
            ["broadcast_failures: does nothing without threads"],
        ),
        ({**TOKEN, "bot_token": "CANARY"}, ["bot_token: a Bot User OAuth Token begins with xoxb-"]),
        ({**TOKEN, "bot_token": "xapp-CANARY"}, ["bot_token: a Bot User OAuth Token begins with xoxb-"]),
    ],
)
def test_what_cannot_work_is_said(section: dict[str, Any], doubts: list[str]) -> None:
    """Only what was asked for: the defaults of what a webhook cannot do are no mistake."""
    assert SlackChannel(SlackConfig.model_validate(section)).validate_config() == doubts


def test_reactions_with_and_without_colons() -> None:
    """Both are understood; another skin tone as well; what is no name is an error."""
    names = {"started": ":eyes:", "failed": "+1::skin-tone-2", "cancelled": ""}
    config = SlackConfig.model_validate({**TOKEN, "reactions": names})
    assert [config.emoji(state) for state in ("started", "succeeded", "failed", "cancelled")] == [
        *("eyes", "white_check_mark", "+1::skin-tone-2", "")
    ]
    for bad in ("a b", {"begun": "x"}, True, {"failed": "a b"}, {"failed": ":a:b:"}):
        with pytest.raises(ValidationError, match="reactions"):
            SlackConfig.model_validate({**TOKEN, "reactions": bad})
