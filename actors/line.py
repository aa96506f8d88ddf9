"""A channel object at work on the I/O loop: opened before the first send, closed after the last."""

import asyncio
from contextlib import suppress
from typing import cast

import msgspec
from msgspec.structs import replace

from knell.messages import Delivered, FormattedMessage, Outcome, Reason, Rejected, Retry, Unknown

from ..channels.base import Channel
from ..channels.http import Http
from ..channels.memory import Memory

GRACE = 5.0
"""Seconds beyond a channel's own deadline after which a send is given up from outside."""

MAX_DETAIL = 20_000
"""Characters kept of an outcome's detail; ours. A hundred recipients with a reason each have room in it."""

_OUTCOMES = msgspec.json.Decoder(Delivered | Retry | Rejected | Unknown)


class Line:
    """One incarnation's channel object. Everything runs on the I/O loop."""

    def __init__(self, channel: Channel, http: Http, timeout: float, memory: Memory) -> None:
        self.channel = channel
        channel.memory = memory
        self._http = http
        self._timeout = timeout + GRACE
        self._opening: asyncio.Task[None] | None = None
        self._active = 0
        self._idle = asyncio.Event()

    async def send(self, message: FormattedMessage) -> Outcome:
        """Send once; whatever escapes is a crash of the actor.

        Raises:
            TypeError: the channel returned something that is no outcome, or cannot be written down.
        """
        self._active += 1
        try:
            if self._opening is None:
                self._opening = asyncio.ensure_future(self.channel.open(self._http))
            if not self._opening.done() or self._opening.exception():
                await asyncio.shield(self._opening)
            return await self._send(message)
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    async def retire(self) -> None:
        """Close the channel once its last send has ended."""
        while self._active:
            self._idle.clear()
            await self._idle.wait()
        if self._opening is not None:
            with suppress(Exception):
                await self._opening
        await self.channel.close()

    async def _send(self, message: FormattedMessage) -> Outcome:
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                outcome = cast("object", await self.channel.send(message))
        except TimeoutError:
            if not deadline.expired():
                raise
            return Unknown(Reason.TIMEOUT, detail=f"no outcome after {self._timeout:g} s")
        if not isinstance(outcome, Delivered | Retry | Rejected | Unknown):
            kind = type(self.channel).__name__
            raise TypeError(f"{kind}.send returned {type(outcome).__name__}, which is no Outcome")
        return plain(outcome)


def plain(outcome: Outcome) -> Outcome:
    """Return the outcome with plain JSON data of the types it declares, as the outbox will keep it.

    Unchecked, one of a third party's channel could end the outbox, and with it every other channel. What
    JSON has no word for (NaN, infinity) becomes None.

    Raises:
        TypeError: it holds something else.
    """
    try:
        read: Outcome = _OUTCOMES.decode(msgspec.json.encode(outcome))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"a {type(outcome).__name__} that cannot be written down: {error}") from error
    return read if len(read.detail) <= MAX_DETAIL else replace(read, detail=read.detail[:MAX_DETAIL])
