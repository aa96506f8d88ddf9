"""What operators see of a store and how they name deliveries in it: values, JSON in and out."""

from datetime import datetime

import msgspec

from knell.events import NotificationEvent, Severity
from knell.messages import DeliveryState, Reason


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries: those that every given field fits; without any field, all.

    Attributes:
        ids: public names of deliveries, as in `DeliveryRecord.id`.
        since: finished (or, while unfinished, accepted) at or after this moment.
        until: the same, before this moment.
    """

    ids: tuple[str, ...] = ()
    state: DeliveryState | None = None
    channel: str | None = None
    event_type: str | None = None
    reason: Reason | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeliveryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as an operator sees it in a list. `cursor` names its place in it."""

    id: str
    cursor: str
    channel: str
    event_id: str
    event_type: str
    severity: Severity
    title: str
    state: DeliveryState
    attempts: int
    crashes: int
    reason: str
    error: str
    accepted: datetime
    finished: datetime | None = None
    next_attempt: datetime | None = None


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as it ended.

    Attributes:
        outcome: delivered, retry, rejected, unknown (the provider may have it), or crashed.
        milliseconds: how long it took.
    """

    number: int
    at: datetime
    outcome: str
    reason: str
    error: str
    milliseconds: int


class DeliveryDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery with its event and its attempts, oldest first."""

    delivery: DeliveryRecord
    event: NotificationEvent
    rule: str
    attempts: tuple[AttemptRecord, ...]


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Something an operator did to deliveries: replay, cancel or prune. `by` says who, as far as known."""

    at: datetime
    by: str
    action: str
    detail: str
    deliveries: int


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """How full a store is.

    Attributes:
        states: deliveries by channel and state.
        oldest_pending: when the oldest unfinished delivery was accepted.
        bytes: size of the files.
        free_bytes: what is left on their disk.
    """

    version: int
    events: int
    states: dict[str, dict[DeliveryState, int]]
    oldest_pending: datetime | None
    bytes: int
    free_bytes: int
