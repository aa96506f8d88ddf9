"""The fields of a selection from text, as a URL, a request or a command line has them."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from knell.messages import DeliveryState, Reason
from knell.store.moments import moment

_CHANNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:\-]{0,99}")
_ID = re.compile(r"[\x21-\x7e]{1,300}")


def one(field: str, text: object, now: datetime | None = None) -> Any:
    """Return the value of one field but `ids`; an age counts back from `now`.

    Raises:
        ValueError: it is none; the message says what would be right.
        KeyError: there is no such field.
    """
    given = text if isinstance(text, str) else ""  # which no field may be
    return moment(given, now) if field in _MOMENTS else _FIELDS[field](given)


def ids(texts: Iterable[object]) -> tuple[str, ...]:
    """Return ids of deliveries.

    Raises:
        ValueError: one of them cannot be one, or there is none: that would select everything.
    """
    found = tuple(_matching(_ID, "an id such as EVENT:CHANNEL", text) for text in texts)
    if not found:
        raise ValueError("expected at least one id")
    return found


def is_id(text: str) -> bool:
    """Whether a text can be the id of a delivery at all."""
    return _ID.fullmatch(text) is not None


def _matching(pattern: re.Pattern[str], expected: str, text: object) -> str:
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        raise ValueError(f"expected {expected}")
    return text


def _member(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    def read(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"expected one of {', '.join(kind)}") from None

    return read


_MOMENTS = frozenset({"since", "until"})
_FIELDS: Mapping[str, Callable[[str], Any]] = {
    "state": _member(DeliveryState),
    "channel": lambda text: _matching(_CHANNEL, "the name of a channel", text),
    "event_type": lambda text: _matching(_TYPE, "the name of an event type", text),
    "reason": _member(Reason),
    "since": moment,
    "until": moment,
}

FIELDS = tuple(_FIELDS)
"""The names of the fields, as in `Selection`."""
