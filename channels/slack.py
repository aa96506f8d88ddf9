"""Slack, by an incoming webhook or by the Web API with a bot token."""

import time
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from yarl import URL

from knell.events import EventType
from knell.messages import Delivered, FormattedMessage, HealthStatus, MessageFormat, Outcome

from .base import Channel, titles
from .fit_text import says
from .http import Answer, Http
from .slack_answers import by_webhook, escape, word_of
from .slack_api import Reply, SlackApi, post
from .slack_bot import Bot
from .slack_config import SlackConfig
from .slack_health import health
from .slack_limits import fit_slack

__all__ = ["SlackChannel", "SlackConfig", "escape"]

_JSON = {"Content-Type": "application/json; charset=utf-8"}


class SlackChannel(Channel):
    """Posts messages to one Slack channel.

    With a bot token each job has a thread (see `slack_bot`); an incoming webhook can only post.
    """

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

    def __init__(self, config: SlackConfig, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(config)
        self._clock = clock
        names = ("channel", "username", "icon_emoji")
        self._sender = {name: value for name in names if (value := getattr(config, name))}
        self._bot: Bot | None = None

    async def open(self, http: Http) -> None:
        """Get ready to send."""
        await super().open(http)
        if (api := self._api()) is not None:
            self._bot = Bot(self.config, api, self.memory, self._clock)

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut a message to Slack's limits; a webhook takes no files."""
        return fit_slack(message, escape, files=self.config.bot_token is not None)

    async def send(self, message: FormattedMessage) -> Outcome:
        """Post a message; one whose blocks are refused is posted again at once as plain text."""
        payload = self._payload(message)
        if self._bot is not None:
            return await self._bot.send(payload, message)
        dynamic = payload.get("channel", "") != self.config.channel
        outcome = (await post(self._post, payload, dynamic=dynamic)).outcome
        if isinstance(outcome, Delivered) and message.attachments:
            names = ", ".join(file.filename for file in message.attachments)
            unsent = f"{names} not sent: an incoming webhook takes no files"
            return msgspec.structs.replace(outcome, detail="; ".join(filter(None, (outcome.detail, unsent))))
        return outcome

    def validate_config(self) -> list[str]:
        """Return what is configured and cannot work with this transport."""
        return self.config.doubts()

    async def health_check(self) -> HealthStatus:
        """Ask Slack who the token belongs to and what it may do; nothing is posted."""
        api = self._api()
        if api is None:
            return HealthStatus(healthy=True, detail="only sending can tell whether the webhook works")
        return await health(self.config, api)

    def _api(self) -> SlackApi | None:
        token = self.config.bot_token
        return None if token is None else SlackApi(self.http, self.config.api_base_url, token)

    def _payload(self, message: FormattedMessage) -> dict[str, Any]:
        content = message.content
        if isinstance(content, str):
            content = {"text": escape(content) if message.format is MessageFormat.TEXT else content}
        # The notification on a phone, and what a screen reader reads; blocks alone have neither.
        text = content.get("text") if says(content.get("text")) else escape(titles(message.events))
        return {**self._sender, **content} | ({"text": text} if text else {})

    async def _post(self, payload: dict[str, Any]) -> Reply:
        """Post by the incoming webhook."""
        url = URL(self.config["webhook_url"])
        answer = await self.http.post(url, json=payload, headers=_JSON, timeout=self.config.timeout_seconds)
        if not isinstance(answer, Answer):
            return Reply(answer)
        return Reply(by_webhook(answer), word=word_of(answer.body.decode("ascii", "replace").strip()))
