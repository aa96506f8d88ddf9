"""A look whether a message is of the usual form and within its limits: nearly all are.

msgspec checks it in C, in microseconds, where the walk of `fit.py` takes tenths of a millisecond. The types
are made out of the rules of the walk, and may be narrower: what they do not know, the walk looks at.
"""

from types import GenericAlias
from typing import Annotated, Any

import msgspec
from msgspec import Meta


def form(name: str, required: dict[str, Any], *, tagged: bool = False, **optional: Any) -> Any:
    """Return the type of an object that has these keys only; a tagged one has its name as its `type`."""
    fields: list[Any] = [*required.items(), *((key, kind, None) for key, kind in optional.items())]
    tag, tag_field = (name, "type") if tagged else (None, None)
    return msgspec.defstruct(name, fields, tag=tag, tag_field=tag_field, forbid_unknown_fields=True)


def string(chars: int | None, least: int = 0) -> Any:
    """Return the type of a text of so many characters."""
    return Annotated[str, Meta(min_length=least, max_length=chars)]


def some(item: Any, most: int | None, least: int = 0) -> Any:
    """Return the type of a list of so many items."""
    annotated: Any = Annotated  # no type checker knows a type that is made while the program runs
    return annotated[GenericAlias(list, (item,)), Meta(min_length=least, max_length=most)]


def is_usual(items: Any, kind: Any, total: int) -> bool:
    """Whether a list is of a type, and the texts in it together within a number of characters."""
    try:
        msgspec.convert(items, kind)
        # As JSON a text has at least as many octets as it has characters.
        return len(msgspec.json.encode(items)) <= total
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
