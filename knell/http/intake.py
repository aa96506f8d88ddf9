"""From the JSON of a request to checked events, with every mistake at once."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID, uuid5

import msgspec

from knell.config.problems import did_you_mean
from knell.errors import EventError
from knell.events import MAX_EVENT_BYTES, Link, NotificationEvent, Sealed, Severity, seal
from knell.http.problems import Problem

MAX_EVENTS = 1000
"""Events in one request (contract, section 5)."""

_KEYS = UUID("6b6e656c-6c00-5000-8000-6b6579000000")
_FIELDS = {field.name: field for field in msgspec.structs.fields(NotificationEvent)}
_LINK_FIELDS = tuple(Link.__struct_fields__)
_SHOWN = 100

_EXPECTED = {
    "event_type": "1 to 100 letters, digits and _ . : -, a letter or digit first",
    "source": "text that is not blank",
    "title": "text that is not blank",
    "description": "text",
    "severity": f"one of {', '.join(Severity)}",
    "metadata": "an object",
    "links": 'a list of objects such as {"url": "https://ci.example.com/1", "text": "Log"}',
    "links.url": "text that is not blank",
    "links.text": "text",
    "timestamp": "a time such as 2026-01-31T12:00:00Z (RFC 3339)",
    "event_id": "1 to 200 letters, digits and _ . : @ / + = -, a letter or digit first",
}


class FieldError(msgspec.Struct, frozen=True):
    """One mistake: where, and what would be right."""

    field: str
    message: str


def events_in(found: Any, key: str = "") -> list[Sealed]:
    """Return the events of a request, all or none.

    Args:
        found: the request's JSON, one object or a list of them.
        key: the idempotency key of a single event; one that names no `event_id` gets its id from it, so
            that every repetition has the same.

    Raises:
        Problem: there are mistakes (422), too many events, or one that is too large (413).
    """
    several = isinstance(found, list)
    items = cast("list[Any]", found) if several else [found]
    if len(items) > MAX_EVENTS:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{len(items)} events, {MAX_EVENTS} at most")
    sealed: list[Sealed] = []
    errors: list[FieldError] = [] if items else [FieldError("", "expected at least one event")]
    for at, item in enumerate(items):
        checked = _checked(item, key)
        if isinstance(checked, Sealed):
            sealed.append(checked)
        else:
            place = f"[{at}]" if several else ""
            errors += [FieldError(f"{place}.{error.field}".strip("."), error.message) for error in checked]
    if errors:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, _summary(errors), errors=errors)
    return sealed


def _summary(errors: list[FieldError]) -> str:
    first = ": ".join(filter(None, (errors[0].field, errors[0].message)))
    return first if len(errors) == 1 else f"{first}; and {len(errors) - 1} more"


def _checked(item: Any, key: str) -> Sealed | list[FieldError]:
    if not isinstance(item, dict):
        return [FieldError("", "expected an event, an object with event_type, source and title")]
    given = cast("dict[str, Any]", item)
    if key:
        given = {"event_id": str(uuid5(_KEYS, key)), **given}
    return list(_mistakes(given)) or _sealed(given)


def _mistakes(item: Mapping[str, Any]) -> Iterator[FieldError]:
    for name, field in _FIELDS.items():
        if name in item:
            yield from _wrong(name, item[name], field.type)
        elif field.required:
            yield FieldError(name, f"missing; expected {_EXPECTED[name]}")
    yield from _unknown(item, tuple(_FIELDS), "", "an event")
    links: object = item.get("links")
    for at, link in enumerate(cast("list[object]", links) if isinstance(links, list) else []):
        if isinstance(link, dict):
            yield from _unknown(cast("dict[str, Any]", link), _LINK_FIELDS, f"links[{at}].", "a link")


def _wrong(name: str, value: Any, expected: Any) -> Iterator[FieldError]:
    try:
        msgspec.convert(value, expected)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # half of a surrogate pair in a name
        _, found, path = str(error).rpartition(" - at `$")
        inside = path.rstrip("`") if found and name == "links" else ""
        words = _EXPECTED[f"links{inside[inside.find('.') :]}" if "." in inside else name]
        hint = (
            did_you_mean(value, map(str, Severity)) if name == "severity" and isinstance(value, str) else ""
        )
        yield FieldError(f"{name}{inside}", ", ".join(filter(None, (f"expected {words}", hint))))


def _unknown(item: Mapping[str, Any], known: tuple[str, ...], place: str, owner: str) -> Iterator[FieldError]:
    for key in item:
        if key not in known:
            hint = did_you_mean(key, [name for name in known if name not in item])
            message = ", ".join(filter(None, (f"is no field of {owner}", hint)))
            # A key may hold halves of surrogate pairs, which no answer can.
            shown = key[:_SHOWN].encode(errors="replace").decode()
            yield FieldError(f"{place}{shown}", message)


def _sealed(item: Mapping[str, Any]) -> Sealed | list[FieldError]:
    event = msgspec.convert(item, NotificationEvent)
    try:
        return seal(event)
    except EventError as error:
        if len(msgspec.json.encode(event)) > MAX_EVENT_BYTES:
            detail = f"an event may have {MAX_EVENT_BYTES} bytes at most"
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail) from None
        field, _, message = str(error).partition(": ")
        return [FieldError(field, message)]
