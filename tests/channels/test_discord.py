import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from knell.channels.discord import DiscordChannel, escape
from knell.channels.discord_config import DiscordConfig
from knell.messages import Delivered, FormattedMessage, MessageFormat, Outcome

Attempt = Callable[..., tuple[Outcome, list[dict[str, Any]]]]

EMBED = {"embeds": [{"title": "Job done", "color": 65280}]}
MESSAGE = FormattedMessage(format=MessageFormat.JSON, content=EMBED, id="msg_1")
DONE = (200, {"id": "11", "channel_id": "22", "content": ""})


def make(base: str, **more: Any) -> DiscordChannel:
    """Make a channel."""
    section = {"webhook_url": f"{base}/api/webhooks/1/CANARY", **more}
    return DiscordChannel(DiscordConfig.model_validate(section))


def test_message_is_delivered(attempt: Attempt) -> None:
    """Discord is asked to wait for the message, and nobody is ever mentioned by it."""
    outcome, (request,) = attempt(make, MESSAGE, DONE)
    assert outcome == Delivered({"id": "11", "channel_id": "22"})
    assert (request["method"], request["path"]) == ("POST", "/api/webhooks/1/CANARY?wait=true")
    assert request["headers"]["Content-Type"] == "application/json"
    assert json.loads(request["body"]) == {**EMBED, "allowed_mentions": {"parse": []}}


def test_sender_and_thread(attempt: Attempt) -> None:
    """Name and picture go into the message, a thread of the address stays in it; mentions stay off."""

    def named(base: str) -> DiscordChannel:
        sender = {"username": "NecroCode", "avatar_url": "https://example.com/a.png"}
        return make("", **sender, webhook_url=f"{base}/api/webhooks/1/CANARY?thread_id=9")

    content = {"content": "@everyone", "allowed_mentions": {"parse": ["everyone"]}}
    message = FormattedMessage(format=MessageFormat.JSON, content=content)
    _, (request,) = attempt(named, message, DONE)
    assert request["path"] == "/api/webhooks/1/CANARY?thread_id=9&wait=true"
    assert json.loads(request["body"]) == {
        "content": "@everyone",
        "allowed_mentions": {"parse": []},
        "username": "NecroCode",
        "avatar_url": "https://example.com/a.png",
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 1 - 2 # 3", "plain text, 1 - 2 # 3"),
        ("*a* _b_ ~c~ `d` |e| \\f", "\\*a\\* \\_b\\_ \\~c\\~ \\`d\\` \\|e\\| \\\\f"),
        ("[bank](https://evil.example)", "\\[bank\\](https://evil.example)"),
        ("https://h/a_b_c?d=~e see", "https://h/a_b_c?d=~e see"),
        ("<@123> <#4>", "\\<@123\\> \\<#4\\>"),
        ("https://h/<@123>", "https://h/\\<@123\\>"),
        ("# a\n> b\n- c", "\\# a\n\\> b\n\\- c"),
    ],
)
def test_plain_text_shows_as_it_is(attempt: Attempt, text: str, shown: str) -> None:
    """Event text formats nothing, links nothing under another name, and addresses stay whole."""
    assert escape(text) == shown
    _, (request,) = attempt(make, FormattedMessage(format=MessageFormat.TEXT, content=text), DONE)
    assert json.loads(request["body"])["content"] == shown


def test_markdown_is_sent_as_written(attempt: Attempt) -> None:
    """A template that writes Markdown means it."""
    _, (request,) = attempt(make, FormattedMessage(format=MessageFormat.MARKDOWN, content="**a**"), DONE)
    assert json.loads(request["body"])["content"] == "**a**"


@pytest.mark.parametrize("kind", [MessageFormat.TEXT, MessageFormat.MARKDOWN])
def test_long_text_is_cut(attempt: Attempt, kind: MessageFormat) -> None:
    """The content has at most 2,000 characters after escaping."""
    _, (request,) = attempt(make, FormattedMessage(format=kind, content="_a" * 3000), DONE)
    content = json.loads(request["body"])["content"]
    assert 1990 <= len(content) <= 2000
    assert content.endswith("…")


def test_fit_cuts_embeds() -> None:
    """`fit` applies the limits of embeds."""
    message = FormattedMessage(format=MessageFormat.JSON, content={"embeds": [{"title": "x" * 300}]})
    fitted = make("https://h").fit(message)
    assert isinstance(fitted.content, dict)
    assert len(fitted.content["embeds"][0]["title"]) == 256


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "Clyde", "my discord bot", "DISCORD"])
def test_username_is_checked(name: str) -> None:
    """Discord refuses these names, so the configuration does."""
    with pytest.raises(ValidationError):
        make("https://h", username=name)


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"webhook_url": "CANARY"},
        {"webhook_url": "https://h", "avatar_url": "a.png"},
        {"webhook_url": "https://h/api/webhooks/1/CANARY/slack"},
        {"webhook_url": "https://h/api/webhooks/1/CANARY/github"},
        {"webhook_url": "https://h", "thread_id": "general"},
        {"webhook_url": "https://h", "thread_id": ""},
        {"webhook_url": "https://h", "thread_name": ""},
        {"webhook_url": "https://h", "thread_name": "x" * 101},
        {"webhook_url": "https://h", "thread_name": "{job"},
        {"webhook_url": "https://h", "thread_name": "{}"},
        {"webhook_url": "https://h", "thread_name": "{job.__class__}"},
        {"webhook_url": "https://h", "thread_name": "{job!r}"},
        {"webhook_url": "https://h", "thread_name": "{job:>9}"},
        {"webhook_url": "https://h", "thread_name": "{job}", "thread_id": "1"},
        {"webhook_url": "https://h?thread_id=1", "thread_name": "{job}"},
        {"webhook_url": "https://h", "updates": "delete"},
        {"webhook_url": "https://h", "concurrency": 0},
    ],
)
def test_section_is_checked(section: dict[str, Any]) -> None:
    """A section that cannot work is an error, and shows no secret."""
    with pytest.raises(ValidationError) as caught:
        DiscordConfig.model_validate(section)
    assert "CANARY" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    """Neither the section nor the channel shows the address."""
    channel = make("https://h")
    assert "CANARY" not in repr(channel) + repr(channel.config) + str(channel.config)


def test_defaults() -> None:
    """One request at a time, a rate that answers correct, the events of the specification's table."""
    config = make("https://h").config
    assert config.rate_limit is not None
    assert (config.rate_limit.max_requests, config.rate_limit.window_seconds) == (5, 2)
    assert (config.concurrency, config.updates) == (1, "post")
    expected = ["job_completed", "job_failed", "job_started", "pr_created", "task_completed"]
    assert sorted(DiscordChannel.default_events) == expected


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, ""),
        ({"batch": {"enabled": True}}, ""),
        ({"batch": {"enabled": True}, "updates": "edit"}, "batch: a digest of several jobs"),
        ({"batch": {"enabled": True}, "thread_name": "{job}"}, "batch: a digest of several jobs"),
        ({"concurrency": 2}, "concurrency: more than 1"),
    ],
)
def test_keys_that_do_not_go_together(keys: dict[str, Any], problem: str) -> None:
    """`knell check` says what will not work as somebody may expect."""
    found = make("https://h", **keys).validate_config()
    assert [text[: len(problem)] for text in found] == [problem] * bool(problem)


def test_thread_of_the_section(attempt: Attempt) -> None:
    """A thread of the section goes into the address, and wins over one that stands there."""

    def threaded(base: str) -> DiscordChannel:
        return make("", webhook_url=f"{base}/api/webhooks/1/CANARY?thread_id=9", thread_id="10")

    _, (request,) = attempt(threaded, MESSAGE, DONE)
    assert request["path"] == "/api/webhooks/1/CANARY?thread_id=10&wait=true"


def test_components_are_announced(attempt: Attempt) -> None:
    """Discord ignores the buttons of a message unless the address says that there are some."""
    button = {"type": 2, "style": 5, "label": "Log", "url": "https://x.io"}
    content = {**EMBED, "components": [{"type": 1, "components": [button]}]}
    _, (request,) = attempt(make, FormattedMessage(format=MessageFormat.JSON, content=content), DONE)
    assert request["path"] == "/api/webhooks/1/CANARY?with_components=true&wait=true"
