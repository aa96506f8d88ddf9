"""Identifiers: new ones for events, derived ones for what is sent."""

import os
import time
from uuid import UUID, uuid5

_NAMESPACE = UUID("6b6e656c-6c00-5000-8000-6d6573736167")
_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62
_RANDOM = (1 << 80) - 1 - (0xF << 76) - (0x3 << 62)
_NANOS_PER_MILLI = 1_000_000


def uuid7() -> str:
    """Return a new UUIDv7 as text: sortable by its millisecond of creation (RFC 9562, section 5.7).

    The standard library has it from Python 3.14 on.
    """
    millis = time.time_ns() // _NANOS_PER_MILLI
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM
    text = f"{(millis << 80) | _VERSION_7 | _VARIANT | random:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def delivery_id(event_id: str, channel: str) -> str:
    """Name one delivery: the event and the channel, readable in a log, unique in a store."""
    return f"{event_id}:{channel}"


def wire_id(delivery_ids: tuple[str, ...]) -> str:
    """Return the idempotency key of one message to a provider.

    It depends on the deliveries in the message alone, so every attempt of the same message carries the
    same key and no two different messages share one. No dot, as Standard Webhooks demands of `webhook-id`.
    """
    return f"msg_{uuid5(_NAMESPACE, ' '.join(delivery_ids)).hex}"
