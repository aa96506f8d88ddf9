"""Which deliveries a request means: from its query or its body, with every mistake at once."""

from collections.abc import Callable, Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Any, cast

import msgspec
from multidict import MultiMapping

from knell.config.problems import did_you_mean
from knell.http.intake import FieldError
from knell.http.problems import Problem
from knell.messages import DeliveryState
from knell.store import parsing
from knell.store.records import Selection

PAGE = 100
"""Deliveries in an answer, unless the request says otherwise."""

LARGEST_PAGE = 1000
"""Deliveries in an answer at most; ours."""

MAX_IDS = 1000
"""Deliveries that one request may name; ours."""

_SHOWN = 100
_BY = 100
"""Characters that a client may say about itself."""

_LIST_FIELDS = (*parsing.FIELDS, "cursor", "limit", "count")
_BULK_FIELDS = (*parsing.FIELDS, "ids", "all", "by")
_NARROWING = {"ids", *parsing.FIELDS} - {"state"}


class Listing(msgspec.Struct, frozen=True):
    """What a list is to hold. `count`: whether the answer tells how many there are in all."""

    selection: Selection
    cursor: str
    limit: int
    count: bool


class Order(msgspec.Struct, frozen=True):
    """What is to happen to which deliveries. `by`: who says to want it, for the audit record."""

    selection: Selection
    by: str


def listing_in(query: MultiMapping[str]) -> Listing:
    """Return what a query asks for.

    Raises:
        Problem: 422, with everything that is wrong.
    """
    errors = [
        FieldError(name[:_SHOWN], "is given twice") for name in set(query) if len(query.getall(name)) > 1
    ]
    given = dict(query)
    found = _read(given, _LIST_FIELDS, {"cursor": _cursor, "limit": _limit, "count": _flag}, errors)
    _refuse_if(errors)
    cursor, limit = found.pop("cursor", ""), found.pop("limit", PAGE)
    count = found.pop("count", False)
    return Listing(Selection(**found), cursor, limit, count)


def order_in(given: Any, states: Collection[DeliveryState]) -> Order:
    """Return the order in a body: dead letters, unless it names another state of `states`.

    Raises:
        Problem: 422, with everything that is wrong; it selects nothing in particular and does not say `all`.
    """
    if not isinstance(given, dict):
        _refuse_if([FieldError("", 'expected an object such as {"channel": "slack"} or {"all": true}')])
    body = cast("dict[str, Any]", given)
    errors: list[FieldError] = []
    found = _read(body, _BULK_FIELDS, {"ids": _ids, "all": _true, "by": _by}, errors)
    errors += _unclear(body)
    if found.setdefault("state", DeliveryState.DEAD) not in states:
        errors.append(FieldError("state", f"expected one of {', '.join(states)}"))
    _refuse_if(errors)
    found.pop("all", None)
    by = found.pop("by", "")
    return Order(Selection(**found), by)


def _read(
    given: Mapping[str, Any],
    known: tuple[str, ...],
    more: Mapping[str, Callable[[Any], Any]],
    errors: list[FieldError],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known)
            message = ", ".join(filter(None, ("is no filter", hint)))
            errors.append(FieldError(name[:_SHOWN], message))
            continue
        try:
            found[name] = more[name](value) if name in more else parsing.one(name, value)
        except ValueError as error:
            errors.append(FieldError(name, str(error)))
    return found


def _unclear(body: Mapping[str, Any]) -> Iterator[FieldError]:
    """Refuse what would mean everything by mistake."""
    narrowed = _NARROWING.intersection(body)
    if "all" not in body and not narrowed:
        yield FieldError("", 'no filter: say which, or {"all": true}')
    if "all" in body and narrowed:
        yield FieldError("all", f"cannot be together with {', '.join(sorted(narrowed))}")


def _refuse_if(errors: list[FieldError]) -> None:
    if not errors:
        return
    first = ": ".join(filter(None, (errors[0].field, errors[0].message)))
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, first + more, errors=errors)


def _cursor(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 - what a row number can have
        raise ValueError("expected the 'next' of the page before")
    return text


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LARGEST_PAGE):  # noqa: PLR2004
        raise ValueError(f"expected a number from 1 to {LARGEST_PAGE}")
    return int(text)


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("expected true or false")
    return text == "true"


def _true(value: object) -> bool:
    if value is not True:
        raise ValueError("expected true, or nothing at all")
    return True


def _ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list of ids of deliveries")  # noqa: TRY004 - told with the others
    found = cast("list[object]", value)
    if len(found) > MAX_IDS:
        raise ValueError(f"expected {MAX_IDS} ids at most")
    return parsing.ids(found)


def _by(value: object) -> str:
    if not (isinstance(value, str) and value.isprintable() and len(value) <= _BY):
        raise ValueError(f"expected printable text of {_BY} characters at most")
    return value
