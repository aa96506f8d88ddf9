"""What Twilio calls back about one channel: kept in the channel's memory, in whatever order it comes.

The channel itself notes `sent SID` when Twilio has taken a message; here `status SID` is kept, so that each
note has one writer and neither can undo the other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from .budget import correct
from .memory import Memory
from .optouts import Consent, OptOuts, consent
from .twilio_status import FILTERED, FINAL, LOST, OPTED_OUT, Loss, advance, loss

WEEK = 7 * 86400.0
"""Seconds a message is remembered: Twilio ends it within 10 hours, its price may take days (ours)."""

ALERT_EVERY = 3600.0
"""Seconds in which people are told once of each kind of loss (ours)."""

UNPRICED = 100
"""Messages without a price yet that are asked for again (ours)."""

_SID = re.compile("[SM]M[0-9A-Za-z]{1,64}")


@dataclass(frozen=True, slots=True)
class Sent:
    """What the channel noted of a message that Twilio took: to whom, on which day, at what estimate."""

    to: str
    day: str
    cost: float

    @property
    def note(self) -> dict[str, Any]:
        """As plain data."""
        return {"to": self.to, "day": self.day, "cost": self.cost}


@dataclass(frozen=True, slots=True)
class News:
    """What a callback said that was not known before.

    Attributes:
        loss: why nobody got the message; None where that is not so.
        alarming: whether people should be told of the loss.
    """

    sid: str
    status: str
    number: str
    loss: Loss | None = None
    alarming: bool = False

    @property
    def final(self) -> bool:
        """Whether the message has come to its end."""
        return self.status in FINAL


def sent_key(sid: str) -> str:
    """Return the key under which the channel notes a message."""
    return f"sent {sid}"


class Callbacks:
    """The callbacks of one channel; for one caller at a time."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def knows(self, sid: str) -> bool:
        """Whether this channel sent a message."""
        return await self._memory.get(sent_key(sid)) is not None

    async def report(self, form: Mapping[str, str], now: float) -> News | None:
        """Take a status callback; None when it says nothing new.

        Raises:
            StoreError: what was known before cannot be read.
        """
        sid, status = form.get("MessageSid", ""), form.get("MessageStatus", "").lower()
        if _SID.fullmatch(sid) is None:
            return None
        key = f"status {sid}"
        if not advance(str(await self._memory.get(key) or ""), status):
            return None
        self._memory.put(key, status, WEEK)
        number = form.get("To", "")
        if status not in LOST:
            return News(sid, status, number)
        lost = loss(form.get("ErrorCode", ""))
        if lost.code == OPTED_OUT:
            OptOuts(self._memory).stop(number, now)
        return News(sid, status, number, lost, await self._alarming(lost))

    async def answer(self, form: Mapping[str, str], now: float, *, only_stop: bool = False) -> Consent | None:
        """Take a message that somebody sent; return what was noted of it, once that is on disk.

        Each counts once: a START that comes again must not end a STOP that came after it.

        Args:
            form: the messaging webhook's.
            now: Unix seconds.
            only_stop: whether it is not certain that it was meant for this channel: no START is taken then.

        Raises:
            StoreError: whether it came before cannot be read.
        """
        said, number, key = consent(form), form.get("From", ""), f"answered {form.get('MessageSid', '')}"
        if said is None or not number or (only_stop and said is Consent.START):
            return None
        if await self._memory.get(key) is not None:
            return None
        optouts = OptOuts(self._memory)
        if said is Consent.STOP:
            optouts.stop(number, now)
        else:
            optouts.start(number)
        self._memory.put(key, said.value)
        await self._memory.get(key)  # answered after the commit that holds the notes before it
        return said

    async def priced(self, sid: str, price: float) -> bool:
        """Put a message's real price in the place of the estimate, once; say whether that was new.

        Raises:
            StoreError: the estimate cannot be read.
        """
        sent, key = await self._sent(sid), f"priced {sid}"
        if sent is None or await self._memory.get(key) is not None:
            return False
        self._memory.put(key, price, WEEK)
        await correct(self._memory, sent.day, price - sent.cost)
        return True

    async def unpriced(self) -> list[str]:
        """Return the messages that ended without a price."""
        return _texts(await self._memory.get("unpriced"))

    async def set_unpriced(self, sid: str, *, waiting: bool) -> None:
        """Note whether a message that ended has no price yet; the oldest are given up when there are many."""
        others = [other for other in await self.unpriced() if other != sid]
        if waiting and await self.knows(sid):
            others.append(sid)
        self._memory.put("unpriced", others[-UNPRICED:] or None, WEEK)

    async def _alarming(self, lost: Loss) -> bool:
        """Whether people hear of a loss: of each kind once an hour, of a filter from the second one on."""
        if lost.code == FILTERED and await self._memory.get("filtered") is None:
            self._memory.put("filtered", True, 24 * ALERT_EVERY)
            return False
        key = f"alerted {lost.code}"
        if await self._memory.get(key) is not None:
            return False
        self._memory.put(key, True, ALERT_EVERY)
        return True

    async def _sent(self, sid: str) -> Sent | None:
        note = await self._memory.get(sent_key(sid))
        found = cast("dict[str, Any]", note) if isinstance(note, dict) else {}
        try:
            return Sent(str(found["to"]), str(found["day"]), float(found["cost"]))
        except (KeyError, TypeError, ValueError):
            return None


def _texts(note: Any) -> list[str]:
    return [str(item) for item in cast("list[Any]", note)] if isinstance(note, list) else []
