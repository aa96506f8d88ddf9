"""The size of what a webhook is sent, and JSON laid out under it.

Receivers set the limit, and nearly none says what it is. Standard Webhooks advises to stay below 20 kB, which
is no reason to cut what nearly all take; nginx refuses more than 1 MiB unless told otherwise
(`client_max_body_size`). One event of knell's largest size is just above it, a digest may be far above.
"""

from bisect import bisect_left
from typing import Any

import msgspec

from knell.messages import FormattedMessage

from .fit import Json, is_list, is_object
from .fit_text import cut_escaped

MAX_BODY = 1024 * 1024
"""Octets of a request's body (ours, see above)."""

_LEAST = 200
"""Octets worth keeping of a part: before all shrink below it, the last parts are dropped (ours)."""


def fit_webhook(message: FormattedMessage, body: Any) -> FormattedMessage:
    """Return a message whose body is within the limit, and report in its `cuts` what is missing.

    Parts share the room: the largest give way, texts are shortened, lists and objects lose their last parts.

    Args:
        message: as it was rendered.
        body: what `send` would write as JSON.
    """
    try:
        size = _size(body)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return message  # `send` says what is wrong with it
    if size <= MAX_BODY:
        return message
    fitted = _squeezed(msgspec.to_builtins(body, str_keys=True, enc_hook=str), MAX_BODY)
    lost = f"body: {size - _size(fitted):,} of {size:,} bytes left out"
    return msgspec.structs.replace(message, content=fitted, cuts=(*message.cuts, lost))


def _size(value: Any) -> int:
    return len(msgspec.json.encode(value))


def _squeezed(value: Any, room: int) -> Any:
    """Return plain data that takes at most so many octets as JSON, if it is a text or has parts."""
    if isinstance(value, str):
        return cut_escaped(value, max(room, 3), _as_json) if _size(value) > room else value
    if is_object(value):
        sizes = {key: _size(key) + _size(item) + 2 for key, item in value.items()}
        share, kept = _shares(list(sizes.values()), room)
        few: Json = dict(list(value.items())[:kept])
        return {
            key: item if sizes[key] <= share else _squeezed(item, share - _size(key) - 2)
            for key, item in few.items()
            if sizes[key] <= share or _size(key) <= _LEAST // 2
        }
    if is_list(value):
        parts = [_size(item) + 1 for item in value]
        share, kept = _shares(parts, room)
        return [
            item if size <= share else _squeezed(item, share - 1)
            for item, size in zip(value[:kept], parts, strict=False)
        ]
    return value


def _shares(sizes: list[int], room: int) -> tuple[int, int]:
    """Return the octets a part may take at most, and how many parts, the first, are kept."""
    room -= 2  # the brackets
    kept = bisect_left(
        range(1, len(sizes) + 1), x=True, key=lambda count: _level(sizes[:count], room) < _LEAST
    )
    return _level(sizes[:kept], room), kept


def _level(sizes: list[int], room: int) -> int:
    """Return what the largest parts may take so that all fit: as much as the largest does where they do."""
    left = len(sizes)
    for size in sorted(sizes):
        if size * left > room:
            return room // left
        room, left = room - size, left - 1
    return max(sizes, default=0) + _LEAST


def _as_json(text: str) -> str:
    """Return as many characters as a text takes octets as JSON."""
    return msgspec.json.encode(text).decode("latin-1")
