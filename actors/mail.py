"""What router, outbox and channels tell each other; frozen values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykka

from knell.deliveries import Attempt, Route, Settlement
from knell.errors import StoreError
from knell.events import NotificationEvent, Sealed
from knell.store.contract import Submission
from knell.store.records import Selection

from .behaviour import Signal
from .policy.channel import Fetch
from .receipt import Receipt

Ref = pykka.ActorRef[Any]


@dataclass(frozen=True, slots=True)
class Submit:
    """To the router: an event whose sender holds a receipt. `key`: an idempotency key besides its id."""

    sealed: Sealed
    receipt: Receipt
    key: str = ""


@dataclass(frozen=True, slots=True)
class Append:
    """To the outbox: accept these events, each with its sender's receipt; answered by `Confirmed`."""

    submissions: tuple[tuple[Submission, Receipt | None], ...]
    reply_to: Ref


@dataclass(frozen=True, slots=True)
class Confirmed(Signal):
    """To the router: so many of its submissions are dealt with."""

    count: int


@dataclass(frozen=True, slots=True)
class AddRoutes:
    """To the outbox: an event that is stored goes to these channels as well."""

    seq: int
    routes: tuple[Route, ...]
    order_key: str


@dataclass(frozen=True, slots=True)
class Want:
    """To the outbox: this channel can take deliveries; answered by `Deliver`, when there are any."""

    channel: str
    fetch: Fetch
    reply_to: Ref


@dataclass(frozen=True, slots=True)
class Begin:
    """To the outbox: commit this attempt; answered by `Begun` or `Withdrawn`."""

    attempt: Attempt
    reply_to: Ref


@dataclass(frozen=True, slots=True)
class Begun:
    """To a channel: the attempt is committed, send it."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Settled:
    """To the outbox: this is how an attempt ended."""

    settlements: tuple[Settlement, ...]


@dataclass(frozen=True, slots=True)
class Remember:
    """To the outbox: a channel notes something for so many seconds; without a value it forgets it."""

    channel: str
    key: str
    value: bytes | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Recall:
    """To the outbox: a channel wants to know what it noted; `reply` is called on the outbox's thread."""

    channel: str
    key: str
    reply: Callable[[bytes | StoreError | None], None]


@dataclass(frozen=True, slots=True)
class Diverted:
    """To the outbox: give this channel's deliveries to its fallback channels as well, or stop doing so."""

    channel: str
    on: bool
    after: int = 0


@dataclass(frozen=True, slots=True)
class Fallback:
    """To the router: `channel` could not deliver this event, or cannot for now."""

    seq: int
    event: NotificationEvent
    channel: str


@dataclass(frozen=True, slots=True)
class Replay:
    """To the outbox, asked: try these dead or done deliveries again; the answer says how many.

    `by`: who wants it, for the audit record.
    """

    selection: Selection
    by: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the outbox, asked: give up these pending or dead deliveries for good; the answer says how many."""

    selection: Selection
    by: str
