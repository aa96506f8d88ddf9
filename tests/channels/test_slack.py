import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from knell.channels.slack import SlackChannel, SlackConfig
from knell.config.schema import RateLimit
from knell.events import NotificationEvent
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

BLOCKS = {"text": "Job done", "blocks": [{"type": "divider"}]}
MESSAGE = FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content=BLOCKS, id="msg_1")
PLAIN = FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content={"text": "Job done"}, id="msg_1")


def by_webhook(base: str, **more: Any) -> SlackChannel:
    """Make a channel with an incoming webhook."""
    return SlackChannel(SlackConfig.model_validate({"webhook_url": f"{base}/services/T0/B0/CANARY", **more}))


def by_api(base: str, **more: Any) -> SlackChannel:
    """Make a channel with a bot token."""
    section = {"bot_token": "xoxb-CANARY", "channel": "#ops", "api_base_url": f"{base}/api/", **more}
    return SlackChannel(SlackConfig.model_validate(section))


def detail(status: int, word: str) -> str:
    """Return the beginning of a detail."""
    return f"Slack answered {status} {word}"


@pytest.mark.parametrize(
    ("status", "word", "expected"),
    [
        (400, "invalid_payload", Rejected(Reason.INVALID_MESSAGE)),
        (400, "invalid_blocks", Rejected(Reason.INVALID_MESSAGE)),
        (400, "invalid_blocks_format", Rejected(Reason.INVALID_MESSAGE)),
        (400, "missing_text_or_fallback_or_attachments", Rejected(Reason.INVALID_MESSAGE)),
        (400, "too_many_attachments", Rejected(Reason.INVALID_MESSAGE)),
        (400, "user_not_found", Rejected(Reason.RECIPIENT)),
        (400, "something_new", Rejected(Reason.INVALID_MESSAGE)),
        (403, "action_prohibited", Rejected(Reason.AUTHENTICATION)),
        (403, "invalid_token", Rejected(Reason.AUTHENTICATION)),
        (404, "channel_not_found", Rejected(Reason.CONFIGURATION)),
        (404, "no_service", Rejected(Reason.GONE)),
        (404, "no_team", Rejected(Reason.GONE)),
        (410, "channel_is_archived", Rejected(Reason.CONFIGURATION)),
        (429, "ratelimited", Retry(Reason.RATE_LIMIT, 30.0)),
        (429, "invalid_token", Retry(Reason.RATE_LIMIT, 30.0)),
        (500, "rollup_error", Retry(Reason.SERVER_ERROR, 30.0)),
        (503, "maintenance", Retry(Reason.SERVER_ERROR, 30.0)),
    ],
)
def test_webhook_words(attempt: Attempt, status: int, word: str, expected: Retry | Rejected) -> None:
    """Each word of the incoming webhook has its class, and stands in the detail."""
    outcome, requests = attempt(by_webhook, PLAIN, (status, word, {"Retry-After": "30"}))
    assert isinstance(outcome, Retry | Rejected)
    assert outcome.reason is expected.reason
    assert (outcome.after if isinstance(outcome, Retry) else None) == getattr(expected, "after", None)
    assert type(outcome) is type(expected)
    assert outcome.detail.startswith(detail(status, word))
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (302, Reason.CONFIGURATION),
        (403, Reason.AUTHENTICATION),
        (404, Reason.CONFIGURATION),
        (410, Reason.GONE),
        (429, Reason.RATE_LIMIT),
        (502, Reason.SERVER_ERROR),
    ],
)
@pytest.mark.parametrize("make", [by_webhook, by_api])
def test_answers_without_a_word_go_by_status(
    attempt: Attempt, make: Any, status: int, reason: Reason
) -> None:
    """A page of HTML, from a proxy for example, says no more than its status, and is not quoted."""
    outcome, _ = attempt(make, PLAIN, (status, "<html>CANARY</html>"))
    assert isinstance(outcome, Retry | Rejected)
    assert outcome.reason is reason


def test_webhook_delivers(attempt: Attempt) -> None:
    """Status 200 is success, without a reference; the payload is what the template made."""
    outcome, (request,) = attempt(by_webhook, MESSAGE, (200, "ok"))
    assert outcome == Delivered()
    assert (request["method"], request["path"]) == ("POST", "/services/T0/B0/CANARY")
    assert request["headers"]["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(request["body"]) == BLOCKS


def test_a_webhook_that_answers_as_the_web_api_is_believed(attempt: Attempt) -> None:
    """Whoever gives a method's address as the webhook's must not take `ok: false` for a delivery."""
    outcome, _ = attempt(by_webhook, PLAIN, (200, {"ok": False, "error": "not_authed"}))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.AUTHENTICATION


def test_webhook_sends_the_sender(attempt: Attempt) -> None:
    """Old integrations' webhooks honour channel, name and icon."""

    def make(base: str) -> SlackChannel:
        return by_webhook(base, channel="#ops", username="NecroCode Bot", icon_emoji=":robot_face:")

    _, (request,) = attempt(make, MESSAGE, (200, "ok"))
    sender = {"channel": "#ops", "username": "NecroCode Bot", "icon_emoji": ":robot_face:"}
    assert json.loads(request["body"]) == {**BLOCKS, **sender}


def test_api_delivers(attempt: Attempt) -> None:
    """The Web API wants the token and the channel, and returns the message's reference."""
    reply = {"ok": True, "ts": "1.2", "channel": "C1"}
    outcome, (request,) = attempt(by_api, MESSAGE, (200, reply))
    assert outcome == Delivered({"ts": "1.2", "channel": "C1"})
    assert request["path"] == "/api/chat.postMessage"
    assert request["headers"]["Authorization"] == "Bearer xoxb-CANARY"
    assert json.loads(request["body"]) == {**BLOCKS, "channel": "#ops"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        *[(error, Reason.AUTHENTICATION) for error in ("invalid_auth", "not_authed", "account_inactive")],
        *[(error, Reason.AUTHENTICATION) for error in ("token_revoked", "missing_scope")],
        *[(error, Reason.CONFIGURATION) for error in ("channel_not_found", "not_in_channel", "is_archived")],
        ("restricted_action", Reason.CONFIGURATION),
        *[(error, Reason.INVALID_MESSAGE) for error in ("msg_too_long", "msg_blocks_too_long", "no_text")],
        *[(error, Reason.INVALID_MESSAGE) for error in ("too_many_attachments", "invalid_blocks")],
        *[(error, Reason.RATE_LIMIT) for error in ("ratelimited", "rate_limited")],
        *[
            (error, Reason.SERVER_ERROR)
            for error in ("internal_error", "request_timeout", "service_unavailable")
        ],
        ("something_new", Reason.REFUSED),
    ],
)
def test_api_errors(attempt: Attempt, error: str, reason: Reason) -> None:
    """Status 200 with `ok: false` is a failure, whose class is in the error word."""
    outcome, _ = attempt(by_api, PLAIN, (200, {"ok": False, "error": error}, {"Retry-After": "7"}))
    transient = reason in {Reason.RATE_LIMIT, Reason.SERVER_ERROR}
    assert isinstance(outcome, Retry if transient else Rejected)
    assert outcome.reason is reason
    assert error in outcome.detail
    assert (outcome.after if isinstance(outcome, Retry) else 7.0) == 7.0


def test_missing_scope_is_named(attempt: Attempt) -> None:
    """The operator is told which scope the app needs."""
    reply = {
        "ok": False,
        "error": "missing_scope",
        "needed": "chat:write.customize",
        "provided": "chat:write",
    }
    outcome, _ = attempt(by_api, PLAIN, (200, reply))
    expected = "Slack answered missing_scope: give the app chat:write.customize"
    assert outcome == Rejected(Reason.AUTHENTICATION, expected)


def test_fatal_error_is_unknown(attempt: Attempt) -> None:
    """Slack says that parts may have succeeded: a retry can duplicate."""
    outcome, _ = attempt(by_api, PLAIN, (200, {"ok": False, "error": "fatal_error"}))
    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize(
    "body", ["", "ok", "[]", '{"ok": 1}', '{"ok": tr', '{"ok": false, "error": "CANARY <x>"}']
)
def test_success_without_an_answer_is_unknown(attempt: Attempt, body: str) -> None:
    """Status 200 alone proves nothing in the Web API, and what came instead is not quoted."""
    outcome, _ = attempt(by_api, PLAIN, (200, body))
    assert isinstance(outcome, Unknown)
    assert outcome.reason is Reason.SERVER_ERROR


def test_http_429_of_the_api(attempt: Attempt) -> None:
    """A limit by status carries the pause in the header."""
    reply = (429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "12"})
    outcome, _ = attempt(by_api, PLAIN, reply)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.after) == (Reason.RATE_LIMIT, 12.0)


@pytest.mark.parametrize(
    ("make", "refusal", "success"),
    [
        (by_webhook, (400, "invalid_blocks"), (200, "ok")),
        (
            by_api,
            (200, {"ok": False, "error": "msg_blocks_too_long"}),
            (200, {"ok": True, "ts": "1", "channel": "C"}),
        ),
    ],
)
def test_refused_blocks_are_sent_as_text(attempt: Attempt, make: Any, refusal: Any, success: Any) -> None:
    """A message that Slack does not like the look of arrives as plain text, and the detail says so."""
    outcome, requests = attempt(make, MESSAGE, refusal, success)
    assert isinstance(outcome, Delivered)
    assert outcome.detail.endswith("; sent as plain text")
    first, second = (json.loads(request["body"]) for request in requests)
    assert "blocks" in first
    assert {**first, "blocks": None} == {**second, "blocks": None}
    assert "blocks" not in second


def test_refused_text_is_not_sent_again(attempt: Attempt) -> None:
    """What has no blocks has nothing to leave out."""
    outcome, requests = attempt(by_webhook, PLAIN, (400, "invalid_payload"))
    assert isinstance(outcome, Rejected)
    assert len(requests) == 1


def test_second_refusal_keeps_the_first_reason(attempt: Attempt) -> None:
    """When the plain text is refused too, the blocks' refusal is the cause."""
    outcome, requests = attempt(by_webhook, MESSAGE, (400, "invalid_blocks"), (400, "no_text"))
    assert outcome == Rejected(Reason.INVALID_MESSAGE, detail(400, "invalid_blocks"))
    assert len(requests) == 2


def test_second_attempt_that_may_pass_is_kept(attempt: Attempt) -> None:
    """When the plain text meets a limit, the whole message is tried again later."""
    outcome, _ = attempt(by_webhook, MESSAGE, (400, "invalid_blocks"), (429, "", {"Retry-After": "3"}))
    assert isinstance(outcome, Retry)
    assert outcome.after == 3.0


EVENT = NotificationEvent(event_type="job_failed", source="test", title="a & b <!channel>")


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (
            FormattedMessage(format=MessageFormat.TEXT, content="1 < 2 & <!channel>", events=(EVENT,)),
            {"text": "1 &lt; 2 &amp; &lt;!channel&gt;"},
        ),
        (
            FormattedMessage(format=MessageFormat.MARKDOWN, content="*a* <https://x.example|b>"),
            {"text": "*a* <https://x.example|b>"},
        ),
        (
            FormattedMessage(
                format=MessageFormat.SLACK_BLOCKS, content={"blocks": [{"type": "divider"}]}, events=(EVENT,)
            ),
            {"blocks": [{"type": "divider"}], "text": "a &amp; b &lt;!channel&gt;"},
        ),
        (
            FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content={"blocks": [{"type": "divider"}]}),
            {"blocks": [{"type": "divider"}]},
        ),
        *[
            (
                FormattedMessage(format=kind, content=content, events=(EVENT,)),
                {"text": "a &amp; b &lt;!channel&gt;"},
            )
            for kind, content in (
                (MessageFormat.TEXT, " \n"),
                (MessageFormat.MARKDOWN, ""),
                (MessageFormat.SLACK_BLOCKS, {"text": "\t "}),
            )
        ],
    ],
    ids=["text", "markup", "blocks without text", "blocks alone", *("blank", "no markup", "blank blocks")],
)
def test_payload(attempt: Attempt, message: FormattedMessage, payload: dict[str, Any]) -> None:
    """Plain text is escaped, markup is not, and blocks get a text for the notification."""
    _, (request,) = attempt(by_webhook, message, (200, "ok"))
    assert json.loads(request["body"]) == payload


@pytest.mark.parametrize("kind", [MessageFormat.TEXT, MessageFormat.MARKDOWN])
def test_long_text_is_cut(attempt: Attempt, kind: MessageFormat) -> None:
    """The top-level text has at most 40,000 characters after escaping."""
    _, (request,) = attempt(by_webhook, FormattedMessage(format=kind, content="<&" * 30_000), (200, "ok"))
    text = json.loads(request["body"])["text"]
    assert 39_000 < len(text) <= 40_000
    assert text.endswith("…")


def test_fit_cuts_blocks() -> None:
    """`fit` applies the limits of Block Kit."""
    header = {"type": "header", "text": {"type": "plain_text", "text": "x" * 200}}
    message = FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content={"blocks": [header]})
    fitted = by_webhook("https://h").fit(message)
    assert isinstance(fitted.content, dict)
    assert len(fitted.content["blocks"][0]["text"]["text"]) == 150


def test_content_that_is_no_json_is_rejected(attempt: Attempt) -> None:
    """Half a surrogate pair cannot be sent."""
    outcome, requests = attempt(by_webhook, FormattedMessage(format=MessageFormat.TEXT, content="\ud800"))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.INVALID_MESSAGE
    assert requests == []


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({}, "either webhook_url or bot_token"),
        (
            {"webhook_url": "https://h/CANARY", "bot_token": "CANARY", "channel": "#a"},
            "either webhook_url or bot_token",
        ),
        ({"bot_token": "CANARY"}, "needs channel"),
        ({"bot_token": "", "channel": "#a"}, "must not be empty"),
        ({"webhook_url": "hooks/CANARY"}, "http or https URL"),
        ({"webhook_url": "https://h/CANARY", "icon_emoji": "robot"}, "icon_emoji"),
        ({"bot_token": "CANARY", "channel": "#a", "api_base_url": "slack"}, "http or https URL"),
        ({"webhook_url": "https://h/CANARY", "chanel": "#a"}, "chanel"),
    ],
)
def test_section_is_checked(section: dict[str, Any], problem: str) -> None:
    """A section that cannot work is an error that names the key and no secret."""
    with pytest.raises(ValidationError) as caught:
        SlackConfig.model_validate(section)
    assert problem in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_secrets_do_not_show() -> None:
    """Neither the section nor the channel shows its secret."""
    for channel in (by_webhook("https://h"), by_api("https://h")):
        assert "CANARY" not in repr(channel) + repr(channel.config) + str(channel.config)


def test_defaults() -> None:
    """One message a second with bursts of three, and the events of the specification's table."""
    section = SlackConfig.model_validate({"webhook_url": "https://h/x"})
    assert section.rate_limit == RateLimit(max_requests=1, window_seconds=1, burst_size=3)
    assert section.api_base_url == "https://slack.com/api"
    assert sorted(SlackChannel.default_events) == [
        *(
            "agent_error",
            "job_completed",
            "job_failed",
            "job_started",
            "pr_closed",
            "pr_created",
            "pr_merged",
        ),
        *("task_completed", "task_failed"),
    ]
