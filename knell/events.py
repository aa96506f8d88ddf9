"""The event: what a component tells knell.

Making one costs nothing and checks nothing, so a host can never crash by telling. `seal` checks it once, at
the door, and returns knell's own copy with its JSON: from there on an event is valid and nobody else's.
"""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from knell.errors import EventError
from knell.ids import uuid7

MAX_EVENT_BYTES = 1024 * 1024
"""The largest event accepted, as JSON (contract, section 5)."""

MAX_DEPTH = 32
"""How deep metadata may nest; deeper is an attack or a mistake."""


class EventType(StrEnum):
    """The event types of the specification; any other name is a custom event."""

    JOB_STARTED = "job_started"
    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"
    TASK_STARTED = "task_started"
    TASK_COMPLETED = "task_completed"
    TASK_FAILED = "task_failed"
    PR_CREATED = "pr_created"
    PR_MERGED = "pr_merged"
    PR_CLOSED = "pr_closed"
    AGENT_ERROR = "agent_error"
    SYSTEM_ALERT = "system_alert"


class Severity(StrEnum):
    """How much it matters; ordered by `rank`, lowest first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info up to 3 for critical."""
        return _RANKS[self]


if TYPE_CHECKING:
    AnySeverity = Severity | Literal["info", "warning", "error", "critical"]
else:
    AnySeverity = Severity  # what msgspec checks; the text is accepted because it is one
"""A severity as a sender may write it."""

_RANKS = {severity: rank for rank, severity in enumerate(Severity)}

_NotBlank = Annotated[str, Meta(min_length=1, pattern=r"\S")]


class Link(msgspec.Struct, frozen=True):
    """A place to look further: a log, a pull request, a dashboard."""

    url: _NotBlank
    text: str = ""


class NotificationEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, as its source tells it.

    Only `event_type`, `source` and `title` are required. Names may be given as text or as the enums of this
    module. A naive `timestamp` is taken as local time. Metadata may hold whatever JSON can, and dates, UUIDs,
    paths, decimals, enums and exceptions, which are written as text.
    """

    event_type: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:\-]{0,99}\Z")]
    source: _NotBlank
    title: _NotBlank
    description: str = ""
    severity: AnySeverity = Severity.INFO
    metadata: dict[str, Any] = {}
    links: list[Link] = []
    timestamp: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    event_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@/+=\-]{0,199}\Z")] = msgspec.field(
        default_factory=uuid7
    )


class Sealed(msgspec.Struct, frozen=True):
    """A checked event with the JSON it is stored as."""

    event: NotificationEvent
    body: bytes


def seal(event: object) -> Sealed:
    """Check an event once and take a copy that the sender cannot change any more.

    Raises:
        EventError: it is no event, a field is wrong, it cannot be written as JSON, or it is too large.
    """
    if not isinstance(event, NotificationEvent):
        raise EventError(f"expected a NotificationEvent, got {type(event).__name__}")
    try:
        body = _written(event)
    except RecursionError:
        raise EventError(f"metadata: nested deeper than {MAX_DEPTH}, or within itself") from None
    except Exception as error:  # noqa: BLE001 - metadata holds a host's objects: they may raise anything
        raise EventError(f"the event cannot be written as JSON: {error}") from None
    return _sealed(body, body)


def unseal(body: bytes) -> Sealed:
    """Read an event that somebody else wrote as JSON, checked as `seal` does.

    Raises:
        EventError: the bytes are no valid event; the message names the field.
    """
    return _sealed(body, None)


def stored(body: bytes) -> NotificationEvent:
    """Read an event back from the JSON that `seal` made of it.

    Raises:
        msgspec.MsgspecError, UnicodeDecodeError: the bytes were damaged since.
    """
    return _DECODER.decode(body)


def _sealed(body: bytes, ours: bytes | None) -> Sealed:
    """Check the JSON of an event. `ours` is what to store, when it was written here."""
    if len(body) > MAX_EVENT_BYTES:
        raise EventError(f"event: {len(body)} bytes as JSON, the limit is {MAX_EVENT_BYTES}")
    try:
        event = _DECODER.decode(body)
    except RecursionError:
        raise EventError(f"metadata: nested deeper than {MAX_DEPTH}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise EventError(_place_first(str(error))) from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(event.metadata)
    if b"\\u0000" in body:  # NUL, or that very text
        ours = _rewritten(event)
        event = _DECODER.decode(ours)
    if event.timestamp.tzinfo is not UTC:
        event = msgspec.structs.replace(event, timestamp=_in_utc(event.timestamp))
        ours = None
    # What others wrote may lack an id or a time: these are given once, and stored.
    return Sealed(event, ours or _ENCODER.encode(event))


def _as_text(value: object) -> str:
    if isinstance(value, PurePath | BaseException):
        return str(value)
    raise TypeError(f"a value is of type {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_as_text)
_DECODER = msgspec.json.Decoder(NotificationEvent)


def _written(event: NotificationEvent) -> bytes:
    try:
        return _ENCODER.encode(event)
    except UnicodeEncodeError:
        return _rewritten(event)


def _rewritten(event: NotificationEvent) -> bytes:
    """Write an event without what no store and no provider takes as text."""
    return _ENCODER.encode(_scrubbed(msgspec.to_builtins(event, str_keys=True, enc_hook=_as_text)))


def _place_first(message: str) -> str:
    """Turn msgspec's "what - at `$.field`" into "field: what"."""
    what, found, place = message.rpartition(" - at `$")
    return f"{place.strip('.`')}: {what}" if found and place.strip(".`") else message


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise EventError(f"timestamp: {error}") from None


def _check_depth(metadata: dict[str, Any]) -> None:
    level: list[dict[str, Any] | list[Any]] = [metadata]
    for _ in range(MAX_DEPTH):
        level = [
            cast("dict[str, Any] | list[Any]", inner)
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise EventError(f"metadata: nested deeper than {MAX_DEPTH}")


def _scrubbed(value: Any) -> Any:
    """Replace NUL and halves of surrogate pairs, in plain data."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")
    if isinstance(value, dict):
        mapping = cast("dict[Any, Any]", value)
        return {_scrubbed(key): _scrubbed(item) for key, item in mapping.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item) for item in cast("list[Any]", value)]
    return value
