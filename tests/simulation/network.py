"""The network and the providers: what becomes of every message, and when somebody learns of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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

from .audit import Auditor, Request
from .clockwork import Clockwork
from .plan import Faults
from .trace import Trace

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


ANSWERS: dict[str, tuple[Outcome | BaseException, ...]] = {
    "limited": tuple(Retry(Reason.RATE_LIMIT, after=after) for after in (None, 0.0, 2.0, 30.0)),
    "server error": (Retry(Reason.SERVER_ERROR), Retry(Reason.SERVER_ERROR, after=5.0)),
    "refused": (Retry(Reason.CONNECTION_ERROR),),
    "rejected": (Rejected(Reason.INVALID_MESSAGE),),
    "unauthorized": (Rejected(Reason.AUTHENTICATION),),
    "gone": (Rejected(Reason.GONE),),
    "escaped": (EscapedError("before the request"),),
}
"""What a provider that does not accept a message may say."""


class Network:
    """All providers, and the way to them."""

    def __init__(self, dice: Random, faults: Faults) -> None:
        self._dice = dice
        self._faults = faults

    def fate(self, channel: str, now: float) -> Fate:
        """Decide about a request that leaves now."""
        what, away = self._trouble(channel, now), self._dice.random() ** 3
        if what in ANSWERS:
            return Fate(None, away, self._dice.choice(ANSWERS[what]))
        if what == "lost":
            return Fate(None, TIMEOUT, Unknown(Reason.TIMEOUT))
        arrives = away * self._dice.random()
        if what == "unanswered":
            return Fate(arrives, TIMEOUT, Unknown(Reason.TIMEOUT))
        if what == "reset":
            return Fate(arrives, away, Unknown(Reason.CONNECTION_ERROR))
        if what == "escaped after":
            return Fate(arrives, away, EscapedError("after the request"))
        return Fate(arrives, away, Delivered())

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


class Internet:
    """Carries requests to the providers, and their answers back to whoever lives to hear them."""

    def __init__(self, clockwork: Clockwork, network: Network, audit: Auditor, trace: Trace) -> None:
        self._clockwork = clockwork
        self._network = network
        self._audit = audit
        self._trace = trace

    def send(self, alive: Callable[[], bool], sending: Sending, finished: Finished) -> None:
        """Send one message; `alive` says whether its process still is."""
        attempt = sending.attempt
        channel = attempt.deliveries[0].channel
        request = self._audit.send(attempt)
        fate = self._network.fate(channel, self._clockwork.now)
        self._trace.note("send", channel, attempt.rows)
        now = self._clockwork.now
        if fate.arrives is not None:
            self._clockwork.at(now + fate.arrives, partial(self._arrive, request))
        self._clockwork.at(now + fate.ends, partial(self._end, alive, request, fate, finished))

    def _arrive(self, request: Request) -> None:
        if not request.arrived:
            self._trace.note("arrive", request.attempt.rows)
            self._audit.arrive(request)

    def _end(self, alive: Callable[[], bool], request: Request, fate: Fate, finished: Finished) -> None:
        if not alive():
            return
        if fate.arrives is not None:
            self._arrive(request)  # it has, at this very moment at the latest
        self._audit.end(request, fate.outcome)
        outcome = fate.outcome
        self._trace.note(
            "end", request.attempt.rows, outcome if self._trace.verbose else type(outcome).__name__
        )
        if isinstance(outcome, BaseException):
            finished(None, outcome, fate.ends)
        else:
            finished(outcome, None, fate.ends)


class Wire:
    """Stands for the I/O loop: a send is a request on the simulated network, anything else ends at once."""

    alive = True
    inside = False

    def __init__(self, send: Callable[[Sending, Finished], None]) -> None:
        self._send = send

    def submit(
        self, _function: IoFunction, args: tuple[Any, ...], finished: Finished, *, last: bool = False
    ) -> None:
        """Start something."""
        del last
        if args and isinstance(args[0], Sending):
            self._send(args[0], finished)
        else:
            finished(None, None, 0.0)

    def run(self, function: IoFunction, *args: Any, timeout: float | None = None) -> Any:
        """Do something that only the real loop needs."""

    def finish(self, timeout: float) -> None:
        """Wait for what cleans up: here it is done at once."""

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
