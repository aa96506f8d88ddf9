"""What Slack's answers mean: the words of the incoming webhook and of the Web API."""

import re
from http import HTTPStatus
from time import time

import msgspec

from knell.messages import Delivered, Outcome, Reason, Rejected, Unknown

from .answer import Answer, by_status, failure

_REASONS = {
    "action_prohibited": Reason.AUTHENTICATION,
    "invalid_token": Reason.AUTHENTICATION,
    "invalid_auth": Reason.AUTHENTICATION,
    "not_authed": Reason.AUTHENTICATION,
    "account_inactive": Reason.AUTHENTICATION,
    "token_revoked": Reason.AUTHENTICATION,
    "token_expired": Reason.AUTHENTICATION,
    "missing_scope": Reason.AUTHENTICATION,
    "not_allowed_token_type": Reason.AUTHENTICATION,
    "no_permission": Reason.AUTHENTICATION,
    "access_denied": Reason.AUTHENTICATION,
    "ekm_access_denied": Reason.AUTHENTICATION,
    "enterprise_is_restricted": Reason.AUTHENTICATION,
    "org_login_required": Reason.AUTHENTICATION,
    "team_access_not_granted": Reason.AUTHENTICATION,
    "two_factor_setup_required": Reason.AUTHENTICATION,
    "channel_not_found": Reason.CONFIGURATION,
    "not_in_channel": Reason.CONFIGURATION,
    "is_archived": Reason.CONFIGURATION,
    "channel_is_archived": Reason.CONFIGURATION,
    "restricted_action": Reason.CONFIGURATION,
    "restricted_action_read_only_channel": Reason.CONFIGURATION,
    "restricted_action_thread_only_channel": Reason.CONFIGURATION,
    "unknown_method": Reason.CONFIGURATION,
    "no_service": Reason.GONE,
    "no_team": Reason.GONE,
    "invalid_payload": Reason.INVALID_MESSAGE,
    "invalid_blocks": Reason.INVALID_MESSAGE,
    "invalid_blocks_format": Reason.INVALID_MESSAGE,
    "missing_text_or_fallback_or_attachments": Reason.INVALID_MESSAGE,
    "no_text": Reason.INVALID_MESSAGE,
    "too_many_attachments": Reason.INVALID_MESSAGE,
    "msg_too_long": Reason.INVALID_MESSAGE,
    "msg_blocks_too_long": Reason.INVALID_MESSAGE,
    "user_not_found": Reason.RECIPIENT,
    "ratelimited": Reason.RATE_LIMIT,
    "rate_limited": Reason.RATE_LIMIT,
    "rollup_error": Reason.SERVER_ERROR,
    "internal_error": Reason.SERVER_ERROR,
    "request_timeout": Reason.SERVER_ERROR,
    "service_unavailable": Reason.SERVER_ERROR,
    "team_added_to_org": Reason.SERVER_ERROR,
}
"""Error words of both transports (api.slack.com changelog 2016-05; docs.slack.dev, chat.postMessage).

The destination stands in the configuration, so the message is innocent of what is wrong with it.
"""

DESTINATION = {word for word, reason in _REASONS.items() if reason is Reason.CONFIGURATION} - {
    "unknown_method"
}
"""Words about the channel: to blame on the message that named it, where one did."""

_ADVICE = {
    "channel_not_found": "check the channel's name, and invite the app to it",
    "not_in_channel": "invite the app to the channel",
    "is_archived": "unarchive the channel, or name another one",
    "channel_is_archived": "unarchive the channel, or make a webhook for another one",
    "restricted_action": "the workspace does not let the app post there",
    "restricted_action_read_only_channel": "the app may not post in this channel",
    "restricted_action_thread_only_channel": "this channel takes no messages outside of threads",
    "no_service": "the webhook was removed, make a new one",
    "no_team": "the workspace is gone, make a new webhook",
    "invalid_token": "the webhook's address is wrong or was revoked",
    "action_prohibited": "the workspace forbids this webhook, ask its administrators",
    "invalid_auth": "the bot token is wrong",
    "not_authed": "the bot token is missing",
    "account_inactive": "the app was removed from the workspace, install it again",
    "token_revoked": "the bot token was revoked, install the app again",
    "token_expired": "the bot token has expired, switch token rotation off for the app",
    "not_allowed_token_type": "use the Bot User OAuth Token, which begins with xoxb-",
    "unknown_method": "check api_base_url",
}
"""What an operator does about it."""

_WORD = re.compile(r"[a-z0-9_]{1,80}")
_SCOPES = re.compile(r"[a-z0-9:._, \-]{1,200}")


def escape(text: str) -> str:
    """Make a text safe as mrkdwn: exactly these three, or `<!channel>` in an event calls everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def word_of(text: object) -> str:
    """Return an error word, empty for what is none: only words are ever shown."""
    return text if isinstance(text, str) and _WORD.fullmatch(text) else ""


def by_webhook(answer: Answer) -> Outcome:
    """Classify the answer of an incoming webhook: the status, and a word as the body."""
    if answer.ok:
        # An address that is a method of the Web API's says no with 200 (alertmanager's slack.go).
        return by_api(answer) if answer.json_object().get("ok") is False else Delivered()
    return _by_word(answer, answer.body.decode("ascii", "replace").strip())


def by_api(answer: Answer) -> Outcome:
    """Classify the answer of a Web API method: nearly always status 200, and the truth in the JSON."""
    data = answer.json_object()
    if answer.ok and data.get("ok") is True:
        return Delivered({"ts": data.get("ts"), "channel": data.get("channel")})
    error = word_of(data.get("error"))
    if error == "missing_scope" and _SCOPES.fullmatch(needed := str(data.get("needed", ""))):
        return Rejected(Reason.AUTHENTICATION, f"Slack answered missing_scope: give the app {needed}")
    if answer.ok and not error:
        return Unknown(
            Reason.SERVER_ERROR, f"Slack answered {answer.status} with no JSON that says how it went"
        )
    if error == "fatal_error":
        return Unknown(Reason.SERVER_ERROR, "Slack answered fatal_error: parts may have succeeded")
    return _by_word(answer, error)


def _by_word(answer: Answer, word: str) -> Outcome:
    if not _WORD.fullmatch(word):
        return by_status(answer, service="Slack")
    detail = f"Slack answered {answer.status} {word}" + (f": {_ADVICE[word]}" if word in _ADVICE else "")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return failure(Reason.RATE_LIMIT, detail, answer.retry_after(time()))
    if reason := _REASONS.get(word):
        return failure(reason, detail, answer.retry_after(time()))
    if answer.ok:
        return Rejected(Reason.REFUSED, detail)
    return msgspec.structs.replace(by_status(answer, service="Slack"), detail=detail)
