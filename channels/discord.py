"""Discord, by a webhook."""

import re
from http import HTTPStatus
from time import time
from typing import Any, ClassVar

import msgspec
from pydantic import Field, field_validator
from yarl import URL

from knell.events import EventType
from knell.messages import Delivered, FormattedMessage, MessageFormat, Outcome, Reason, Retry, Unknown

from ..config.schema import ChannelConfig, RateLimit
from .answer import Answer, by_status, failure, pause
from .base import Channel
from .discord_limits import fit_discord
from .http import SecretUrl, WebUrl

_REASONS = {
    50035: Reason.INVALID_MESSAGE,  # invalid form body
    50006: Reason.INVALID_MESSAGE,  # empty message
    40005: Reason.TOO_LARGE,
    220001: Reason.CONFIGURATION,  # a forum's webhook needs a thread: add thread_id to the address
    220003: Reason.CONFIGURATION,  # a thread's name only goes to forums
    10003: Reason.CONFIGURATION,  # unknown channel, for example the thread of the address
    50027: Reason.AUTHENTICATION,  # invalid webhook token
    50013: Reason.AUTHENTICATION,  # lacks a permission
    10015: Reason.GONE,  # unknown webhook: it was deleted, and counts towards a ban when called again
    20016: Reason.RATE_LIMIT,
    20028: Reason.RATE_LIMIT,
    20029: Reason.RATE_LIMIT,
    30046: Reason.RATE_LIMIT,
    40062: Reason.RATE_LIMIT,
}
"""By the JSON error code (discord-api-docs, `opcodes-and-status-codes.mdx`), before the status."""

_FORBIDDEN = ("clyde", "discord")
_CLOUDFLARE_SECONDS = 60.0
"""A 429 without JSON comes from Discord's front, which bans addresses: wait at least this long (ours)."""

_MARKUP = re.compile(r"https?://[^\s\\`*|\[\]<>]+|[\\`*_~|\[\]<>]|^[#>-]", re.MULTILINE)


class DiscordConfig(ChannelConfig):
    """The section of a Discord channel. A `thread_id` goes into the address, as `?thread_id=...`."""

    webhook_url: SecretUrl = Field(description="the address of a webhook; ?thread_id=... for a thread")
    username: str | None = Field(None, description="1 to 80 characters, without clyde and discord")
    avatar_url: WebUrl | None = Field(None, description="picture beside the messages")
    rate_limit: RateLimit | None = Field(
        # Their window is fixed and a bucket refills inside it: 3 at once and 1/s stay below 5 in any 2 s.
        RateLimit(max_requests=1, window_seconds=1, burst_size=3),
        description="5 in 2 s for a webhook (birdie0's guide to Discord webhooks); a 429 corrects it",
    )

    @field_validator("username")
    @classmethod
    def _is_allowed_name(cls, name: str | None) -> str | None:
        """Apply the rules of discord-api-docs, webhook resource, "Create Webhook"."""
        if name is None:
            return None
        if not 0 < len(name.strip()) <= 80:  # noqa: PLR2004 - the limit is named in the message
            raise ValueError("expected 1 to 80 characters")
        if word := next((word for word in _FORBIDDEN if word in name.lower()), None):
            raise ValueError(f"Discord refuses names that contain {word!r}")
        return name


class DiscordChannel(Channel):
    """Posts messages to one Discord webhook. Attachments of a message are not sent."""

    Config = DiscordConfig
    default_events: ClassVar[frozenset[str]] = frozenset(
        {
            EventType.JOB_STARTED,
            EventType.JOB_COMPLETED,
            EventType.JOB_FAILED,
            EventType.TASK_COMPLETED,
            EventType.PR_CREATED,
        }
    )
    config: DiscordConfig

    def __init__(self, config: DiscordConfig) -> None:
        super().__init__(config)
        # Without wait Discord answers 204 before it has looked at the message, and may drop it silently.
        self._url = URL(config.webhook_url.get_secret_value()).update_query(wait="true")
        names = ("username", "avatar_url")
        self._sender = {name: value for name in names if (value := getattr(config, name))}

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut a message to Discord's limits."""
        return fit_discord(message, escape)

    async def send(self, message: FormattedMessage) -> Outcome:
        """Post a message."""
        content = message.content
        if isinstance(content, str):
            content = {"content": escape(content) if message.format is MessageFormat.TEXT else content}
        # Escaping alone does not stop @everyone.
        payload: dict[str, Any] = {**self._sender, **content, "allowed_mentions": {"parse": []}}
        answer = await self.http.post(self._url, json=payload, timeout=self.config.timeout_seconds)
        return _classify(answer) if isinstance(answer, Answer) else answer


def escape(text: str) -> str:
    """Make a text show as it is where Discord reads Markdown; addresses work as they are."""
    return _MARKUP.sub(lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", text)


def _classify(answer: Answer) -> Outcome:
    data = answer.json_object()
    if answer.status == HTTPStatus.NO_CONTENT:
        return Delivered(None, "Discord answered 204, without a reference")
    if answer.ok:
        if not (message_id := data.get("id")):
            return Unknown(Reason.SERVER_ERROR, f"Discord answered {answer.status} without a message")
        return Delivered({"id": message_id, "channel_id": data.get("channel_id")})
    code = data.get("code")
    code = code if isinstance(code, int) else 0
    detail = f"Discord answered {answer.status}" + (f" with code {code}" if code else "")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _limited(answer, data, detail)
    if reason := _REASONS.get(code):
        return failure(reason, detail, answer.retry_after(time()))
    return msgspec.structs.replace(by_status(answer, service="Discord"), detail=detail)


def _limited(answer: Answer, data: dict[str, Any], detail: str) -> Retry:
    """Wait for the longer of both hints: header and JSON are seen to disagree."""
    wish = data.get("retry_after")
    waits = [pause(float(wish))] if isinstance(wish, int | float) else []
    if (header := answer.retry_after(time())) is not None:
        waits.append(header)
    if not data:
        waits.append(_CLOUDFLARE_SECONDS)
    everybody = ", for every webhook" if data.get("global") is True or not data else ""
    return Retry(Reason.RATE_LIMIT, max(waits, default=None), detail + everybody)
