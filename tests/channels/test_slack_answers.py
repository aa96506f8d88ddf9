"""Every answer of Slack's two transports and what it means, each by the lab over a real socket."""

from collections.abc import Iterator
from typing import Any

import pytest

from knell.channels.answer import Answer
from knell.channels.slack_answers import by_api
from knell.lab import Drop, Endless, Half, Redirect, Reset, Respond
from knell.lab.faults import Fault
from knell.messages import Delivered, FormattedMessage, MessageFormat, Reason, Rejected, Retry, Scope, Unknown
from tests.channels.slack_room import Room

PLAIN = FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content={"text": "Job done"}, id="msg_1")
M, C, G, T, L = Scope.MESSAGE, Scope.CHANNEL, Scope.GONE, Scope.TRANSIENT, Scope.LIMITED
R = Reason.RECIPIENT


@pytest.fixture(scope="module")
def webhook() -> Iterator[Room]:
    """A channel with an incoming webhook."""
    with Room(webhook=True) as room:
        yield room


@pytest.fixture(scope="module")
def api() -> Iterator[Room]:
    """A channel with a bot token."""
    with Room() as room:
        yield room


def answered(room: Room, *faults: Fault, **keys: Any) -> Any:
    """Send the plain message to a new object while the lab plays these faults; no pause is left."""
    room.clock.advance(4000)
    if room.section.get("webhook_url"):
        keys.setdefault("webhook_url", room.lab.slack.add_webhook("ops"))
    room.open(**keys)
    room.lab.slack.script(*faults)
    outcome = room.hand_over(PLAIN)
    room.clock.advance(100_000)
    assert room.lab.slack.pending_faults == ()
    assert "canary" not in repr(outcome).lower()
    return outcome


@pytest.mark.parametrize(
    ("status", "word", "scope"),
    [
        *[
            (400, word, M)
            for word in (
                *("invalid_payload", "invalid_blocks", "invalid_blocks_format", "too_many_attachments"),
                *("missing_text_or_fallback_or_attachments", "user_not_found", "something_new"),
            )
        ],
        *[(403, word, C) for word in ("action_prohibited", "invalid_token", "something_new")],
        (404, "channel_not_found", C),
        *[(404, word, G) for word in ("no_service", "no_team")],
        (410, "channel_is_archived", C),
        (429, "something_new", L),
        *[(500, word, T) for word in ("rollup_error", "something_new")],
        *[(status, "<html>CANARY", C) for status in (301, 302, 307, 401, 403, 404)],
        *[(status, "<html>CANARY", T) for status in (408, 425, 500, 502, 503, 504)],
        *[(status, "<html>CANARY", M) for status in (400, 405, 413, 418, 422)],
        (410, "<html>CANARY", G),
        (429, "<html>CANARY", L),
    ],
)
def test_webhook(webhook: Room, status: int, word: str, scope: Scope) -> None:
    """Status and word of the incoming webhook; a page instead of a word goes by its status."""
    outcome = answered(webhook, Respond(status, word, {"Retry-After": "30"}))
    assert isinstance(outcome, Retry if scope in {T, L} else Rejected)
    assert outcome.reason.scope is scope
    assert outcome.detail.startswith(f"Slack answered {status}")
    assert (word in outcome.detail) is (word != "<html>CANARY")
    assert not isinstance(outcome, Retry) or outcome.after == 30


@pytest.mark.parametrize("body", ["ok", "", "<html>CANARY"])
def test_webhook_delivers(webhook: Room, body: str) -> None:
    """Status 200 is success, whatever stands in the body."""
    assert answered(webhook, Respond(200, body)) == Delivered()


AUTH = (
    *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "missing_scope", "token_expired"),
    *("not_allowed_token_type", "no_permission", "access_denied", "ekm_access_denied"),
    *("enterprise_is_restricted", "org_login_required", "team_access_not_granted"),
    "two_factor_setup_required",
)
PLACES = (
    *("channel_not_found", "not_in_channel", "is_archived", "restricted_action"),
    *("restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
)


@pytest.mark.parametrize(
    ("status", "word", "scope"),
    [
        *[(200, word, C) for word in (*AUTH, *PLACES, "unknown_method")],
        *[
            (200, word, M)
            for word in (
                *("msg_too_long", "msg_blocks_too_long", "no_text", "too_many_attachments"),
                *("invalid_blocks", "user_not_found", "something_new"),
            )
        ],
        *[(status, word, L) for status in (200, 429) for word in ("ratelimited", "rate_limited")],
        (429, "something_new", L),
        *[
            (status, word, T)
            for status in (200, 500, 503)
            for word in ("internal_error", "request_timeout", "service_unavailable", "team_added_to_org")
        ],
        (503, "something_new", T),
        (401, "something_new", C),
        (404, "something_new", C),
        (400, "something_new", M),
    ],
)
def test_api(api: Room, status: int, word: str, scope: Scope) -> None:
    """The error words of the Web API, nearly always with status 200; unlisted ones go by their status."""
    body = {"ok": False, "error": word}
    outcome = answered(api, Respond(status, body, {"Retry-After": "30"}))
    assert isinstance(outcome, Retry if scope in {T, L} else Rejected)
    assert outcome.reason.scope is scope
    assert outcome.detail.startswith(f"Slack answered {status} {word}")
    assert not isinstance(outcome, Retry) or outcome.after == 30


@pytest.mark.parametrize("word", PLACES)
def test_a_channel_the_message_named(api: Room, webhook: Room, word: str) -> None:
    """Then it is the message that can never succeed, and the others go on."""
    message = FormattedMessage(format=MessageFormat.SLACK_BLOCKS, content={"text": "x", "channel": "#new"})
    for room, answer in ((api, {"ok": False, "error": word}), (webhook, word)):
        room.clock.advance(4000)
        room.open()
        room.lab.slack.script(Respond(200 if room is api else 404, answer))
        outcome = room.hand_over(message)
        assert isinstance(outcome, Rejected)
        assert (outcome.reason, outcome.reason.scope) == (R, M)


def test_fatal_error_is_unknown(api: Room) -> None:
    """Parts may have succeeded, says Slack: a retry can duplicate."""
    outcome = answered(api, Respond(200, {"ok": False, "error": "fatal_error"}))
    assert isinstance(outcome, Unknown)
    assert outcome.reason.scope is T


@pytest.mark.parametrize(
    "body",
    [
        *("", "ok", "[]", "null", '{"ok": 1}', '{"ok": "true"}', '{"ok": tr', "{" * 5000, b"\xff\xfe"),
        *('{"ok": false}', '{"ok": false, "error": "CANARY <x>"}', '{"ok": false, "error": 7}'),
    ],
)
def test_success_that_says_nothing_is_unknown(api: Room, body: str | bytes) -> None:
    """Status 200 alone proves nothing in the Web API, and what came instead is not quoted."""
    assert isinstance(answered(api, Respond(200, body)), Unknown)


def test_success_without_a_reference_is_delivered(api: Room) -> None:
    """There is just no thread to it."""
    assert answered(api, Respond(200, {"ok": True, "ts": 1, "message": []})) == Delivered(
        {"ts": "", "channel": ""}
    )


@pytest.mark.parametrize("fault", [Half(), Endless(), Drop(stored=True), Reset(stored=True)])
def test_api_answers_that_break_off(api: Room, fault: Fault) -> None:
    """The message may be there, and so nobody knows."""
    assert isinstance(answered(api, fault), Unknown)


@pytest.mark.parametrize("fault", [Half(), Endless()])
def test_webhook_answers_that_break_off(webhook: Room, fault: Fault) -> None:
    """The status has said it all."""
    assert answered(webhook, fault) == Delivered()


@pytest.mark.parametrize("room", ["webhook", "api"])
def test_redirects_are_not_followed(room: str, request: pytest.FixtureRequest) -> None:
    """Neither message nor token goes elsewhere; the lab would call it a violation."""
    outcome = answered(request.getfixturevalue(room), Redirect())
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.CONFIGURATION
    assert "redirects are never followed" in outcome.detail


@pytest.mark.parametrize(("hint", "after"), [("7", 7.0), ("0", 1.0), ("99999", 3600.0), ("soon", None)])
@pytest.mark.parametrize("room", ["webhook", "api"])
def test_the_pause_slack_asks_for(
    room: str, hint: str, after: float | None, request: pytest.FixtureRequest
) -> None:
    """In seconds, from one to an hour; none when it cannot be read."""
    outcome = answered(request.getfixturevalue(room), Respond(429, "ratelimited", {"Retry-After": hint}))
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.after) == (Reason.RATE_LIMIT, after)


@pytest.mark.parametrize(
    ("keys", "detail"),
    [
        ({"bot_token": "xoxb-CANARY"}, "Slack answered 200 invalid_auth: the bot token is wrong"),
        ({"channel": "#nowhere"}, "Slack answered 200 channel_not_found: check the channel's name"),
        ({"channel": "#private"}, "Slack answered 200 not_in_channel: invite the app to the channel"),
        ({"channel": "C0LAB000003"}, "Slack answered 200 is_archived: unarchive the channel"),
    ],
)
def test_what_an_operator_is_told(api: Room, keys: dict[str, str], detail: str) -> None:
    """As the lab says it by itself: what is wrong, and what to do about it."""
    outcome = answered(api, **keys)
    assert isinstance(outcome, Rejected)
    assert outcome.reason.scope is C
    assert outcome.detail.startswith(detail)


def test_the_missing_scope_is_named(api: Room) -> None:
    """As Slack calls it; what is no scope's name is not shown."""
    api.lab.slack.scopes, before = frozenset({"chat:write"}), api.lab.slack.scopes
    outcome = answered(api, username="Knell")
    api.lab.slack.scopes = before
    assert outcome == Rejected(
        Reason.AUTHENTICATION, "Slack answered missing_scope: give the app chat:write.customize"
    )
    odd = b'{"ok": false, "error": "missing_scope", "needed": "<CANARY>"}'
    shown = by_api(Answer(200, {}, odd))
    assert shown == Rejected(Reason.AUTHENTICATION, "Slack answered 200 missing_scope")
