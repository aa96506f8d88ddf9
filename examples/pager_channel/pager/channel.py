"""A pager: one request pages the person on duty."""

from pydantic import Field, SecretStr

from knell.channels.answer import by_status
from knell.channels.base import (
    Channel,
    ChannelConfig,
    FormattedMessage,
    Outcome,
    Rejected,
    Retry,
    Unknown,
    text_of,
)
from knell.channels.http import WebUrl

LONGEST = 500
"""Characters of a page; the pager's display shows no more."""


class PagerConfig(ChannelConfig):
    """The keys of a `pager` section, besides those that every channel has."""

    url: WebUrl = Field(description="root of the pager's API")
    token: SecretStr = Field(description="lets its holder page people")
    urgency: str = Field(default="high", pattern="^(high|low)$", description="high rings, low waits")


class PagerChannel(Channel):
    """Pages people. It neither sleeps nor retries, counts or logs: knell does that around it."""

    Config = PagerConfig
    config: PagerConfig

    async def send(self, message: FormattedMessage) -> Outcome:
        """Send one page, and say how it ended."""
        answer = await self.http.post(
            f"{self.config.url}/page",
            json={"text": text_of(message)[:LONGEST], "urgency": self.config.urgency, "key": message.id},
            headers={"Authorization": f"Bearer {self.config.token.get_secret_value()}"},
            timeout=self.config.timeout_seconds,
        )
        # No answer: the client knows already whether the request was sent, and what that means.
        if isinstance(answer, Retry | Rejected | Unknown):
            return answer
        return by_status(answer, service="the pager")
