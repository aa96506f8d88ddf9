"""knell tells people what their coding jobs did."""

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
    "NotificationError",
    "NotificationEvent",
    "Reason",
    "Rejected",
    "Retry",
    "Severity",
    "StoreError",
    "TemplateError",
    "Unknown",
]
