"""The network and the providers: what becomes of every message, and when somebody learns of it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from knell.actors.channel import Sending
from knell.actors.io import Finished, IoFunction
from knell.channels.base import Channel
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

from .plan import Faults

TIMEOUT = 20.0
"""Seconds after which a channel gives up waiting for an answer."""


@dataclass(frozen=True)
class Fate:
    """What becomes of one request.

    Attributes:
        arrives: after how many seconds the provider has accepted it; None = never.
        ends: after how many seconds its sender knows the outcome.
    """

    arrives: float | None
    ends: float
    outcome: Outcome | BaseException


class EscapedError(Exception):
    """Escapes a channel's `send`."""


class Network:
    """All providers."""

    def __init__(self, dice: Random, faults: Faults) -> None:
        self._dice = dice
        self._faults = faults

    def fate(self, channel: str, now: float) -> Fate:
        """Decide about a request that leaves now."""
        away = self._dice.random() ** 3
        what = self._trouble(channel, now)
        match what:
            case "limited":
                after = self._dice.choice([None, 0.0, 2.0, 30.0])
                return Fate(None, away, Retry(Reason.RATE_LIMIT, after=after))
            case "server_error":
                return Fate(
                    None, away, Retry(Reason.SERVER_ERROR, after=self._dice.choice([None, None, 5.0]))
                )
            case "refused":
                return Fate(None, away, Retry(Reason.CONNECTION_ERROR))
            case "lost":
                return Fate(None, TIMEOUT, Unknown(Reason.TIMEOUT))
            case "silent":
                slow = self._dice.random() < 0.5
                reason = Reason.TIMEOUT if slow else Reason.CONNECTION_ERROR
                return Fate(away, TIMEOUT if slow else away, Unknown(reason))
            case "rejected":
                return Fate(None, away, Rejected(Reason.INVALID_MESSAGE))
            case "escaped":
                return Fate(None, away, EscapedError("before the request"))
            case "escaped_after":
                return Fate(away, away, EscapedError("after the request"))
            case "unauthorized":
                return Fate(None, away, Rejected(Reason.AUTHENTICATION))
            case "gone":
                return Fate(None, away, Rejected(Reason.GONE))
            case _:
                return Fate(away * self._dice.random(), away, Delivered())

    def _trouble(self, channel: str, now: float) -> str:
        if now >= self._faults.end:
            return ""
        for since, until, what in self._faults.outages[channel]:
            if since <= now < until:
                return what
        for what, share in self._faults.network.items():
            if self._dice.random() < share:
                return what
        return ""


class Wire:
    """Stands for the I/O loop: a send is a request on the simulated network, anything else ends at once."""

    alive = True

    def __init__(self, send: Callable[[Sending, Finished], None]) -> None:
        self._send = send

    def submit(self, function: IoFunction, args: tuple[Any, ...], finished: Finished) -> None:
        """Start something."""
        if args and isinstance(args[0], Sending):
            self._send(args[0], finished)
        else:
            finished(None, None, 0.0)

    def run(self, function: IoFunction, *args: Any, timeout: float | None = None) -> Any:
        """Do something that only the real loop needs."""

    def close(self, timeout: float = 5.0) -> None:
        """End."""


class SimulatedChannel(Channel):
    """A channel whose requests go over the simulated network."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Never called: the wire takes the request before it becomes a coroutine."""
        raise NotImplementedError(message.id)


class Templates:
    """Stands for the template engine, which is pure and slow: no word, and poison where the plan says so."""

    def __init__(self, poison: set[str]) -> None:
        self._poison = poison

    def message(self, kind: str, events: tuple[Any, ...], **_: Any) -> FormattedMessage:
        """Render."""
        for event in events:
            if event.event_id in self._poison:
                raise ZeroDivisionError(f"{kind} chokes on {event.event_id}")
        return FormattedMessage(format=MessageFormat.TEXT, content="")
