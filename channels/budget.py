"""What text messages may cost in a day, and what they did cost. A day is one of UTC, whatever the locale.

The sum of a day is two notes of the channel's memory, each with one writer: `spent DAY` is the channel's own
estimate, `corrected DAY` what the provider's real prices add to it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from ..config.schema import Strict
from .memory import Memory

PRICE = 0.0083
"""USD for a segment from a long code to a US number, without the carrier's fee (twilio.com/en-us/sms/pricing,
in 2026). Other countries cost up to ten times as much."""

OVER = "over the budget"
"""How every refusal for money begins."""

_DIGITS = 6
"""Decimal places that are kept: Twilio's prices have five."""


class Budget(Strict):
    """What a channel may spend, and on what."""

    per_day: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        default=None, description="most it may cost in a day of UTC; absent: counted, never stopped"
    )
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="of the account (ISO 4217)")
    price_per_segment: float = Field(
        default=PRICE,
        ge=0,
        le=100,
        description="what Twilio bills for a segment, fees included",
    )
    reserve: float = Field(
        default=0.2, ge=0, le=1, description="share of the day that only critical events may spend"
    )

    def limit(self, *, critical: bool) -> float | None:
        """Return up to what sum of the day a message may go; None: there is no end."""
        return self.per_day if critical or self.per_day is None else self.per_day * (1 - self.reserve)


UNPRICED = Budget.model_construct(per_day=None, currency="", price_per_segment=0.0, reserve=0.0)
"""The budget of a channel whose section has none: it counts segments and no money."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Money set aside for one message, at a time (Unix seconds)."""

    at: float
    cost: float

    @property
    def day(self) -> str:
        """The day it belongs to."""
        return day_of(self.at)


class Spending:
    """The money of one channel object.

    Args:
        budget: what may be spent.
        memory: the channel's.
        now: Unix seconds.
    """

    def __init__(self, budget: Budget, memory: Memory, now: Callable[[], float]) -> None:
        self._budget, self._memory, self._now = budget, memory, now
        self._changing = asyncio.Lock()

    async def take(self, cost: float, *, critical: bool) -> Charge | None:
        """Set money aside before a message is sent; None when the day has too little left.

        Raises:
            StoreError: nobody knows what is left.
        """
        charge, limit = Charge(self._now(), cost), self._budget.limit(critical=critical)
        if limit is None and not cost:
            return charge
        async with self._changing:
            spent = _amount(await self._memory.get(_spent(charge.day)))
            corrected = _amount(await self._memory.get(_corrected(charge.day)))
            if limit is not None and round(spent + corrected + cost, _DIGITS) > round(limit, _DIGITS):
                return None
            self._note(charge.day, spent + cost)
        return charge

    async def settle(self, charge: Charge, cost: float) -> None:
        """Say what it did cost: nothing if it was not sent.

        Raises:
            StoreError: what was set aside stays so.
        """
        if cost != charge.cost:
            async with self._changing:
                spent = _amount(await self._memory.get(_spent(charge.day)))
                self._note(charge.day, spent + cost - charge.cost)

    def refusal(self, *, critical: bool) -> str:
        """Say in plain words why nothing is set aside, and what can be done."""
        budget = self._budget
        kept = "" if critical else f", of which {budget.reserve:.0%} are kept for critical events"
        return (
            f"{OVER} of {budget.per_day or 0:g} {budget.currency} for {day_of(self._now())} (UTC){kept}: "
            "replay it tomorrow, or raise budget.per_day"
        )

    def _note(self, day: str, spent: float) -> None:
        self._memory.put(_spent(day), max(0.0, round(spent, _DIGITS)))


async def correct(memory: Memory, day: str, by: float) -> None:
    """Add to a day what the provider's price has over the estimate; negative where it is cheaper.

    For one caller at a time.

    Raises:
        StoreError: the day's sum is not known.
    """
    memory.put(_corrected(day), round(_amount(await memory.get(_corrected(day))) + by, _DIGITS))


async def spent_on(memory: Memory, day: str) -> float:
    """Return what a day did cost, as far as it is known."""
    return round(_amount(await memory.get(_spent(day))) + _amount(await memory.get(_corrected(day))), _DIGITS)


def day_of(at: float) -> str:
    """Return the day of UTC that a time (Unix seconds) is in, such as 2026-01-31."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _spent(day: str) -> str:
    return f"spent {day}"


def _corrected(day: str) -> str:
    return f"corrected {day}"


def _amount(note: Any) -> float:
    return float(note) if isinstance(note, int | float) else 0.0
