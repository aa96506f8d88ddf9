"""Who wants no text messages: an opt-out is a legal stop, and is kept for good."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from math import inf
from typing import Any, cast

from .memory import Memory


class Consent(Enum):
    """What somebody said by answering a text message."""

    STOP = "STOP"
    START = "START"


_STOP = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
_START = frozenset({"START", "YES", "UNSTOP"})
"""Twilio's own words, when they are the whole message (twilio.com/docs/messaging/tutorials/advanced-opt-out,
and its article on STOP filtering)."""


def consent(form: Mapping[str, str]) -> Consent | None:
    """Return what an answer means; None when it is about something else.

    Args:
        form: what Twilio's messaging webhook carries. `OptOutType` wins over the words: only Twilio knows the
            words that an account with Advanced Opt-Out has chosen.
    """
    kind = form.get("OptOutType", "").strip().upper()
    if kind:
        return Consent(kind) if kind in {"STOP", "START"} else None
    word = form.get("Body", "").strip().upper()
    if word in _STOP:
        return Consent.STOP
    return Consent.START if word in _START else None


class OptOuts:
    """The opt-outs of one channel.

    Args:
        memory: the channel's.
        opted_in: numbers whose owners agreed again, and when, as the operator has it on record.
    """

    def __init__(self, memory: Memory, opted_in: Mapping[str, datetime] | None = None) -> None:
        self._memory = memory
        self._opted_in = dict(opted_in or {})

    async def hold(self, number: str, now: float) -> bool:
        """Say whether nothing may be sent to a number.

        A consent on record lifts only what is older than it, and only once its time has come: it can never
        speak for somebody who stops later.

        Raises:
            StoreError: nobody knows; nothing may be sent then.
        """
        note = await self._memory.get(_key(number))
        if note is None:
            return False
        agreed = self._opted_in.get(number)
        return agreed is None or not _at(note) < agreed.timestamp() <= now

    def stop(self, number: str, now: float) -> None:
        """Note that the owner of a number wants nothing more, at this time (Unix seconds)."""
        self._memory.put(_key(number), {"at": now}, inf)

    def start(self, number: str) -> None:
        """Note that the owner of a number has agreed again."""
        self._memory.put(_key(number), None)


def _key(number: str) -> str:
    return f"stopped {number}"


def _at(note: Any) -> float:
    """Return when somebody stopped; what cannot be read is newer than every consent."""
    at = cast("dict[str, Any]", note).get("at") if isinstance(note, dict) else None
    return float(at) if isinstance(at, int | float) else inf
