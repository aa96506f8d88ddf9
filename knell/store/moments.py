"""Moments as operators write them: a time, or how long ago it was."""

import re
from datetime import UTC, datetime, timedelta

EXPECTED = "expected a time such as 2026-01-31T12:00:00Z (RFC 3339), or an age such as 90s, 30m, 2h, 3d, 1w"

_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_AGE = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the moment that a text means; an age counts back from `now`.

    Raises:
        ValueError: it is neither; the message says what would be right.
    """
    try:
        if age := _AGE.fullmatch(text):
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})
        if _RFC_3339.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    except (ValueError, OverflowError):  # no such day, or one before the year 1
        pass
    raise ValueError(EXPECTED)


def age(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in the largest unit that says it, as `moment` reads it."""
    seconds = max(0, int((now - then).total_seconds()))
    for letter, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{letter}"
    return f"{seconds}s"
