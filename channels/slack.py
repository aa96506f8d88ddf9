"""Slack, by an incoming webhook or by the Web API with a bot token."""

import re
from http import HTTPStatus
from time import time
from typing import Any, ClassVar, Self

import msgspec
from pydantic import Field, SecretStr, model_validator
from yarl import URL

from knell.events import EventType
from knell.messages import Delivered, FormattedMessage, MessageFormat, Outcome, Reason, Rejected, Unknown

from ..config.schema import ChannelConfig, RateLimit
from .answer import Answer, by_status, failure
from .base import Channel, titles
from .http import SecretUrl, WebUrl
from .slack_limits import fit_slack

_REASONS = {
    "action_prohibited": Reason.AUTHENTICATION,
    "invalid_token": Reason.AUTHENTICATION,
    "invalid_auth": Reason.AUTHENTICATION,
    "not_authed": Reason.AUTHENTICATION,
    "account_inactive": Reason.AUTHENTICATION,
    "token_revoked": Reason.AUTHENTICATION,
    "missing_scope": Reason.AUTHENTICATION,
    # The destination stands in the configuration, so the message is innocent.
    "channel_not_found": Reason.CONFIGURATION,
    "not_in_channel": Reason.CONFIGURATION,
    "is_archived": Reason.CONFIGURATION,
    "channel_is_archived": Reason.CONFIGURATION,
    "restricted_action": Reason.CONFIGURATION,
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
}
"""Error words of both transports (api.slack.com changelog 2016-05; docs.slack.dev, chat.postMessage)."""

_ADVICE = {
    "channel_not_found": "check the channel's name, and invite the app to it",
    "not_in_channel": "invite the app to the channel",
    "no_service": "the webhook was removed, make a new one",
    "invalid_token": "the webhook's address is wrong or was revoked",
}

_WORD = re.compile(r"[a-z0-9_]{1,80}")
_SCOPES = re.compile(r"[a-z0-9:._, \-]{1,200}")


class SlackConfig(ChannelConfig):
    """The section of a Slack channel: `webhook_url`, or `bot_token` and `channel`.

    App webhooks ignore `channel`, `username` and `icon_emoji`; the old integrations' webhooks honour them.
    """

    webhook_url: SecretUrl | None = Field(None, description="the address of an incoming webhook")
    bot_token: SecretStr | None = Field(None, description="xoxb-..., for the Web API; needs `channel`")
    channel: str = Field("", description="#name or ID")
    username: str = Field("", description="with a bot token this needs the scope chat:write.customize")
    icon_emoji: str = Field("", pattern=r"^(:[^:\s]+:)?$", description=":name:; scope as for username")
    api_base_url: WebUrl = Field("https://slack.com/api", description="where the Web API is")
    rate_limit: RateLimit | None = Field(
        RateLimit(max_requests=1, window_seconds=1, burst_size=3),
        description='1/s for a channel or webhook, short bursts tolerated (docs.slack.dev, "Rate limits")',
    )

    @model_validator(mode="after")
    def _has_one_transport(self) -> Self:
        if (self.webhook_url is None) == (self.bot_token is None):
            raise ValueError("set either webhook_url or bot_token")
        if self.bot_token is not None and not (self.channel and self.bot_token.get_secret_value()):
            raise ValueError("bot_token must not be empty, and needs channel")
        return self


class SlackChannel(Channel):
    """Posts messages to one Slack channel. Attachments of a message are not sent."""

    Config = SlackConfig
    default_events: ClassVar[frozenset[str]] = frozenset(
        {
            EventType.JOB_STARTED,
            EventType.JOB_COMPLETED,
            EventType.JOB_FAILED,
            EventType.TASK_COMPLETED,
            EventType.TASK_FAILED,
            EventType.PR_CREATED,
            EventType.PR_MERGED,
            EventType.PR_CLOSED,
            EventType.AGENT_ERROR,
        }
    )
    config: SlackConfig

    def __init__(self, config: SlackConfig) -> None:
        super().__init__(config)
        self._headers = {"Content-Type": "application/json; charset=utf-8"}
        if config.webhook_url is not None:
            self._url = URL(config.webhook_url.get_secret_value())
        else:
            self._url = URL(f"{config.api_base_url.rstrip('/')}/chat.postMessage")
            self._headers["Authorization"] = f"Bearer {config['bot_token']}"
        names = ("channel", "username", "icon_emoji")
        self._sender = {name: value for name in names if (value := getattr(config, name))}

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut a message to Slack's limits; a webhook takes no files."""
        return fit_slack(message, escape, files=self.config.bot_token is not None)

    async def send(self, message: FormattedMessage) -> Outcome:
        """Post a message; one whose blocks are refused is posted again at once as plain text."""
        payload = self._payload(message)
        outcome = await self._post(payload)
        plain = {name: value for name, value in payload.items() if name not in {"blocks", "attachments"}}
        invalid = isinstance(outcome, Rejected) and outcome.reason is Reason.INVALID_MESSAGE
        if not invalid or plain == payload:
            return outcome
        second = await self._post(plain)
        if isinstance(second, Delivered):
            return msgspec.structs.replace(second, detail=f"{outcome.detail}; sent as plain text")
        return outcome if isinstance(second, Rejected) else second

    def _payload(self, message: FormattedMessage) -> dict[str, Any]:
        content = message.content
        if isinstance(content, str):
            content = {"text": escape(content) if message.format is MessageFormat.TEXT else content}
        # The notification on a phone, and what a screen reader reads; blocks alone have neither.
        text = content.get("text") or escape(titles(message.events))
        return {**self._sender, **content} | ({"text": text} if text else {})

    async def _post(self, payload: dict[str, Any]) -> Outcome:
        answer = await self.http.post(
            self._url, json=payload, headers=self._headers, timeout=self.config.timeout_seconds
        )
        if not isinstance(answer, Answer):
            return answer
        return _by_webhook(answer) if self.config.bot_token is None else _by_api(answer)


def escape(text: str) -> str:
    """Make a text safe as mrkdwn: exactly these three, or `<!channel>` in an event calls everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _by_webhook(answer: Answer) -> Outcome:
    """Classify the answer of an incoming webhook: the status, and a word as the body."""
    if answer.ok:
        return Delivered()
    return _by_word(answer, answer.body.decode("ascii", "replace").strip())


def _by_api(answer: Answer) -> Outcome:
    """Classify the answer of a Web API method: nearly always status 200, and the truth in the JSON."""
    data = answer.json_object()
    if answer.ok and data.get("ok") is True:
        return Delivered({"ts": data.get("ts"), "channel": data.get("channel")})
    error = str(data.get("error", ""))
    if error == "missing_scope" and _SCOPES.fullmatch(needed := str(data.get("needed", ""))):
        return Rejected(Reason.AUTHENTICATION, f"Slack answered missing_scope: give the app {needed}")
    if answer.ok and not _WORD.fullmatch(error):
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
