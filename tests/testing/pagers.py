"""A pager channel that does everything right, and the mutants of it that each do one thing wrong."""

import asyncio
import logging
from typing import Any

import aiohttp
from pydantic import Field, SecretStr

from knell.channels.answer import Answer, by_status
from knell.channels.base import (
    Channel,
    ChannelConfig,
    Delivered,
    FormattedMessage,
    HealthStatus,
    Http,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)

from knell.channels.base import text_of  # isort: skip


class PagerConfig(ChannelConfig):
    """The section of a pager."""

    url: str = Field(description="root of the pager's API")
    token: SecretStr = Field(description="lets its holder page people")
    urgency: str = Field("high", description="how loud it rings")


class Pager(Channel):
    """A good channel."""

    Config = PagerConfig

    @property
    def address(self) -> str:
        """Where pages go."""
        return f"{self.config['url']}/page"

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        answer = await self.post(message)
        return by_status(answer, service="the pager") if isinstance(answer, Answer) else answer

    async def post(self, message: FormattedMessage) -> Any:
        """Send the request."""
        headers = {"Authorization": f"Bearer {self.config['token']}"}
        body = {"text": text_of(message)}
        return await self.http.post(
            self.address, json=body, headers=headers, timeout=self.config.timeout_seconds
        )


class LeaksItsToken(Pager):
    """Tells its token in the detail of a failure."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        outcome = await super().send(message)
        if isinstance(outcome, Rejected):
            return Rejected(outcome.reason, f"{outcome.detail} (token {self.config['token']})")
        return outcome


class LogsItsToken(Pager):
    """Logs what it does, with its token."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        logging.getLogger("pager").debug("token %s", self.config["token"])
        return await super().send(message)


class OpenConfig(ChannelConfig):
    """A section whose token is no secret."""

    url: str = Field(description="root of the pager's API")
    token: str = Field(description="lets its holder page people")


class ShowsItsToken(Pager):
    """Declares its token as a plain text."""

    Config = OpenConfig  # type: ignore[assignment]


class ReturnsNothing(Pager):
    """Forgets to return an outcome."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        await super().send(message)
        return None  # type: ignore[return-value] # pyright: ignore[reportReturnType]


class KeepsTheAnswer(Pager):
    """Gives an object of its own as the receipt."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        outcome = await super().send(message)
        return Delivered({"message": object()}) if isinstance(outcome, Delivered) else outcome


class TakesTimeoutsForDelivered(Pager):
    """Believes that no answer is a good answer."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        outcome = await super().send(message)
        return Delivered() if outcome == Unknown(Reason.TIMEOUT, getattr(outcome, "detail", "")) else outcome


class TakesLostAnswersForNotSent(Pager):
    """Says that nothing was sent when only the answer is missing."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        outcome = await super().send(message)
        return Retry(outcome.reason, None, outcome.detail) if isinstance(outcome, Unknown) else outcome


class PagesInHealthChecks(Pager):
    """Tries itself out on the people it is for."""

    async def health_check(self) -> HealthStatus:
        """Page somebody."""
        await self.http.post(
            self.address, json={"text": "test"}, headers={}, timeout=self.config.timeout_seconds
        )
        return HealthStatus(healthy=True)


class SwallowsCancellation(Pager):
    """Answers a cancellation with an outcome."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        try:
            return await super().send(message)
        except asyncio.CancelledError:
            return Retry(Reason.TIMEOUT)


class TriesRateLimitsAtOnce(Pager):
    """Does not pass the provider's wish on."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        outcome = await super().send(message)
        return Retry(outcome.reason, None, outcome.detail) if isinstance(outcome, Retry) else outcome


class GivesUpTooSoon(Pager):
    """Takes an outage for the end."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        outcome = await super().send(message)
        outage = isinstance(outcome, Retry) and outcome.reason is Reason.SERVER_ERROR
        return Rejected(Reason.REFUSED, outcome.detail) if outage else outcome


class LeavesATask(Pager):
    """Lets something go on after it was closed."""

    async def open(self, http: Http) -> None:
        """Begin to wait for what never comes."""
        await super().open(http)
        self.waiting = asyncio.ensure_future(asyncio.Event().wait())


class RaisesOnLongTexts(Pager):
    """Has a limit, and no fit."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Page somebody."""
        if len(text_of(message)) > 10_000:
            raise ValueError("too long")
        return await super().send(message)


class OwnClient(Pager):
    """Brings a client of its own: follows redirects, trusts anybody, reads without limit."""

    async def open(self, http: Http) -> None:
        """Make the client."""
        await super().open(http)
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False))

    async def close(self) -> None:
        """Close the client."""
        await self.session.close()

    async def post(self, message: FormattedMessage) -> Any:
        """Send the request."""
        headers = {"Authorization": f"Bearer {self.config['token']}"}
        timeout = aiohttp.ClientTimeout(total=self.config.timeout_seconds)
        try:
            async with self.session.post(
                self.address, json={"text": text_of(message)}, headers=headers, timeout=timeout
            ) as response:
                await self.read(response)
                return Answer(response.status, response.headers, b"")
        except TimeoutError:
            return Unknown(Reason.TIMEOUT)
        except (aiohttp.ClientConnectorError, OSError) as error:
            return Retry(Reason.CONNECTION_ERROR, None, type(error).__name__)
        except aiohttp.ClientError as error:
            return Unknown(Reason.CONNECTION_ERROR, type(error).__name__)

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Read the answer, all of it."""
        while await response.content.readany():
            pass


class KeepsItsSocket(OwnClient):
    """Never closes its client."""

    kept: list[aiohttp.ClientSession] = []  # noqa: RUF012 - that it outlives the channel is the point

    async def close(self) -> None:
        """Keep the client."""
        self.kept.append(self.session)
