"""One event on its way through one channel, and the attempts to get it there.

Values that cross mailboxes between router, outbox and channels; `knell.store` keeps them.
"""

from typing import Any

import msgspec

from knell.events import NotificationEvent
from knell.ids import delivery_id, wire_id
from knell.messages import Outcome, Reason


class Route(msgspec.Struct, frozen=True):
    """One channel an event goes to, and the rule that is credited with it ("" for the defaults)."""

    channel: str
    rule: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that is waiting or on its way.

    Attributes:
        row: its number in the store; rises with acceptance.
        order_key: deliveries of one channel with the same key start in order, one at a time.
        attempts: attempts used so far.
        crashes: how often an actor or the process died over it.
        accepted: when the event was accepted, Unix seconds.
        progress: what an earlier attempt settled already, as the channel reported it.
    """

    row: int
    event: NotificationEvent
    channel: str
    order_key: str
    attempts: int = 0
    crashes: int = 0
    accepted: float = 0.0
    rule: str = ""
    progress: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The public name of the delivery."""
        return delivery_id(self.event.event_id, self.channel)


class Attempt(msgspec.Struct, frozen=True):
    """One message on its way to the provider: one delivery, or several in a batch."""

    deliveries: tuple[Delivery, ...]

    @property
    def id(self) -> str:
        """The idempotency key of the message: the same on every attempt."""
        return wire_id(tuple(delivery.id for delivery in self.deliveries))

    @property
    def rows(self) -> tuple[int, ...]:
        """The rows it carries, which name it while it is under way."""
        return tuple(delivery.row for delivery in self.deliveries)


class Done(msgspec.Struct, frozen=True, tag=True):
    """Delivered; `receipt` is the provider's reference."""

    receipt: Any = None


class Again(msgspec.Struct, frozen=True, tag=True):
    """To be tried again in `delay` seconds. `counted`: whether the attempt is used up."""

    reason: Reason
    delay: float
    counted: bool = True
    detail: str = ""
    progress: dict[str, Any] = {}


class Dead(msgspec.Struct, frozen=True, tag=True):
    """Given up: a dead letter, kept with its reason for an operator."""

    reason: Reason
    detail: str = ""
    progress: dict[str, Any] = {}


class Crashed(msgspec.Struct, frozen=True, tag=True):
    """The channel's actor died over it. After `limit` crashes it is quarantined as a dead letter."""

    limit: int
    detail: str
    reason: Reason = Reason.CRASHED


Verdict = Done | Again | Dead | Crashed
"""What the end of an attempt means for one delivery in it."""


class Settlement(msgspec.Struct, frozen=True):
    """The end of one delivery's attempt, as the outbox has to write it down. `elapsed` in seconds."""

    delivery: Delivery
    verdict: Verdict
    outcome: Outcome | None = None
    elapsed: float = 0.0
