import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from knell.channels.discord import DiscordChannel, DiscordConfig, escape
from knell.messages import (
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)

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
    ("status", "code", "reason"),
    [
        (400, 50035, Reason.INVALID_MESSAGE),
        (400, 50006, Reason.INVALID_MESSAGE),
        (400, 220001, Reason.CONFIGURATION),
        (400, 220003, Reason.CONFIGURATION),
        (400, 12345, Reason.INVALID_MESSAGE),
        (413, 40005, Reason.TOO_LARGE),
        (413, 0, Reason.TOO_LARGE),
        (401, 50027, Reason.AUTHENTICATION),
        (401, 0, Reason.AUTHENTICATION),
        (403, 50013, Reason.AUTHENTICATION),
        (403, 0, Reason.AUTHENTICATION),
        (404, 10015, Reason.GONE),
        (404, 10003, Reason.CONFIGURATION),
        (404, 0, Reason.CONFIGURATION),
        (429, 20016, Reason.RATE_LIMIT),
        (429, 20028, Reason.RATE_LIMIT),
        (429, 20029, Reason.RATE_LIMIT),
        (429, 40062, Reason.RATE_LIMIT),
        (429, 30046, Reason.RATE_LIMIT),
        (403, 20028, Reason.RATE_LIMIT),
        (500, 0, Reason.SERVER_ERROR),
        (502, 0, Reason.SERVER_ERROR),
        (302, 0, Reason.CONFIGURATION),
    ],
)
def test_codes(attempt: Attempt, status: int, code: int, reason: Reason) -> None:
    """Each code has its class; without one the status decides."""
    outcome, requests = attempt(make, MESSAGE, (status, {"message": "CANARY", "code": code}))
    transient = reason in {Reason.RATE_LIMIT, Reason.SERVER_ERROR}
    assert isinstance(outcome, Retry if transient else Rejected)
    assert outcome.reason is reason
    assert outcome.detail == f"Discord answered {status}" + (f" with code {code}" if code else "")
    assert len(requests) == 1


@pytest.mark.parametrize(
    "body", ["", "<html>CANARY</html>", "[]", '{"code": "50035"}', '{"code": true}', '{"code": null}']
)
def test_errors_without_a_code_go_by_status(attempt: Attempt, body: str) -> None:
    """What is no error of Discord's says no more than its status, and is not quoted."""
    outcome, _ = attempt(make, MESSAGE, (404, body))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.CONFIGURATION


@pytest.mark.parametrize(
    ("header", "body", "after"),
    [
        ("2", {"retry_after": 0.3, "global": False}, 2.0),
        ("1", {"retry_after": 4.25, "global": False}, 4.25),
        (None, {"retry_after": 4.25}, 4.25),
        ("7", {"message": "slow down"}, 7.0),
        (None, {"retry_after": 0.01}, 1.0),
        (None, {"retry_after": 1e9}, 3600.0),
        (None, {"retry_after": "soon"}, None),
        (None, "<html>1015</html>", 60.0),
        ("90", "<html>1015</html>", 90.0),
    ],
)
def test_rate_limit(attempt: Attempt, header: str | None, body: Any, after: float | None) -> None:
    """The longer of header and JSON counts; a page without JSON is Cloudflare's and means a minute."""
    outcome, _ = attempt(make, MESSAGE, (429, body, {"Retry-After": header} if header else {}))
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.after) == (Reason.RATE_LIMIT, after)


def test_global_limit_is_named(attempt: Attempt) -> None:
    """A limit that holds for every webhook of this address says so."""
    outcome, _ = attempt(make, MESSAGE, (429, {"retry_after": 1, "global": True}))
    assert outcome == Retry(Reason.RATE_LIMIT, 1.0, "Discord answered 429, for every webhook")


def test_answer_without_a_body_is_taken(attempt: Attempt) -> None:
    """204 means that `wait` was lost on the way: delivered, as far as anybody can say."""
    outcome, _ = attempt(make, MESSAGE, (204, ""))
    assert outcome == Delivered(None, "Discord answered 204, without a reference")


@pytest.mark.parametrize("body", ["", "ok", "{}", '{"id": '])
def test_success_without_a_message_is_unknown(attempt: Attempt, body: str) -> None:
    """200 without the message that was made proves nothing."""
    outcome, _ = attempt(make, MESSAGE, (200, body))
    assert isinstance(outcome, Unknown)
    assert outcome.reason is Reason.SERVER_ERROR


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
    "section", [{}, {"webhook_url": "CANARY"}, {"webhook_url": "https://h", "avatar_url": "a.png"}]
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
    """A rate that never sends more than five in two seconds, and the events of the specification's table."""
    rate = make("https://h").config.rate_limit
    assert rate is not None
    assert rate.burst + 2 * rate.max_requests / rate.window_seconds <= 5
    expected = ["job_completed", "job_failed", "job_started", "pr_created", "task_completed"]
    assert sorted(DiscordChannel.default_events) == expected
