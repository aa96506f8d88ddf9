"""knell tells people what their coding jobs did.

with knell.start("config/notifications.yaml") as manager:
    manager.ref.tell(knell.NotificationEvent(event_type="job_failed", source="dispatcher", title="nightly"))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from knell.errors import (
    ChannelError,
    ConfigError,
    DeliveryError,
    EventError,
    KnellError,
    NotificationError,
    StoreError,
    TemplateError,
)
from knell.events import EventType, Link, NotificationEvent, Severity
from knell.messages import (
    Delivered,
    DeliveryResult,
    DeliveryState,
    DeliveryStatus,
    HealthStatus,
    Reason,
    Rejected,
    Retry,
    Unknown,
)

if TYPE_CHECKING:
    from knell.actors.receipt import Receipt
    from knell.config.schema import NotificationConfig
    from knell.manager import NotificationManager, start

_LAZY = {
    "NotificationConfig": "knell.config.schema",
    "NotificationManager": "knell.manager",
    "Receipt": "knell.actors.receipt",
    "start": "knell.manager",
}
"""Names whose modules are imported at first use: a program that only makes events pays for nothing else."""


def __getattr__(name: str) -> Any:
    """Import the heavy names when they are first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'knell' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


__all__ = [
    "ChannelError",
    "ConfigError",
    "Delivered",
    "DeliveryError",
    "DeliveryResult",
    "DeliveryState",
    "DeliveryStatus",
    "EventError",
    "EventType",
    "HealthStatus",
    "KnellError",
    "Link",
    "NotificationConfig",
    "NotificationError",
    "NotificationEvent",
    "NotificationManager",
    "Reason",
    "Receipt",
    "Rejected",
    "Retry",
    "Severity",
    "StoreError",
    "TemplateError",
    "Unknown",
    "start",
]
