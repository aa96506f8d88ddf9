"""Filter expressions: the grammar of `filters:` in the configuration, as values.

A list means AND, a mapping means AND of its keys, a list as a value means "one of"; `all`, `any` and `not`
nest. Parsing happens once, when the configuration is read; `knell.actors.policy.filters` makes it run.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast

import msgspec
import re2 as _re2

from knell.events import Severity

FIELDS = ("event_type", "severity", "source", "title", "description")
"""The fields of an event a filter may test, besides `metadata.<path>`."""

OPERATORS = (
    *("eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte"),
    *("contains", "starts_with", "ends_with", "glob", "matches", "exists"),
)

re2: Any = _re2
"""The package has no type hints."""

_LISTS = {"in", "not_in"}
_TEXTS = {"starts_with", "ends_with", "glob", "matches"}


class FilterError(ValueError):
    """A filter expression is wrong; the message names the part and, where it can, the right word."""


class Condition(msgspec.Struct, frozen=True):
    """One field against one operand. `path` is the field, then the keys into the metadata."""

    path: tuple[str, ...]
    operator: str
    operand: Any

    def __str__(self) -> str:
        """Read as a person would say it."""
        return f"{'.'.join(self.path)} {self.operator} {self.operand}"


class All(msgspec.Struct, frozen=True):
    """Every part must hold; with no parts it holds."""

    parts: tuple["Filter", ...]


class Any_(msgspec.Struct, frozen=True):  # noqa: N801 - `Any` is typing's
    """At least one part must hold."""

    parts: tuple["Filter", ...]


class Not(msgspec.Struct, frozen=True):
    """The part must not hold."""

    part: "Filter"


Filter = Condition | All | Any_ | Not

EVERYTHING = All(())
"""The filter that lets every event pass."""


def parse(raw: object) -> Filter:
    """Read a filter expression as the configuration holds it.

    Raises:
        FilterError: an unknown field or operator, or an operand of the wrong kind.
    """
    if (items := _list(raw)) is not None:
        return _joined([parse(item) for item in items])
    if (mapping := _mapping(raw)) is not None:
        return _joined([_entry(str(key), value) for key, value in mapping.items()])
    raise FilterError(f"expected a mapping or a list, got {_kind(raw)}")


def _joined(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _entry(key: str, value: object) -> Filter:
    if key == "all":
        return All(_several(key, value))
    if key == "any":
        return Any_(_several(key, value))
    if key == "not":
        return Not(parse(value))
    path = _path(key)
    if (tests := _mapping(value)) is not None:
        return _joined([_test(path, str(operator), operand) for operator, operand in tests.items()])
    return _test(path, "eq" if _list(value) is None else "in", value)


def _several(key: str, value: object) -> tuple[Filter, ...]:
    items = _list(value)
    if not items:
        raise FilterError(
            f"{key}: expected a list of filters, got {'nothing' if items == [] else _kind(value)}"
        )
    return tuple(parse(item) for item in items)


def _path(key: str) -> tuple[str, ...]:
    path = tuple(key.split("."))
    if path[0] == "metadata":
        if len(path) == 1 or not all(path):
            raise FilterError(f"{key}: name a key of the metadata, as in metadata.repo")
    elif key not in FIELDS:
        raise FilterError(
            f"unknown field {key!r}{_suggestion(key, (*FIELDS, 'metadata', 'all', 'any', 'not'))}"
        )
    return path


def _test(path: tuple[str, ...], operator: str, operand: object) -> Condition:
    name = ".".join(path)
    if operator not in OPERATORS:
        raise FilterError(f"{name}: unknown operator {operator!r}{_suggestion(operator, OPERATORS)}")
    where = f"{name} {operator}"
    if operator in _LISTS:
        if (items := _list(operand)) is None:
            raise FilterError(f"{where}: expected a list, got {_kind(operand)}")
        return Condition(path, operator, tuple(_operand(where, path, item) for item in items))
    if operator == "exists" and not isinstance(operand, bool):
        raise FilterError(f"{where}: expected true or false, got {_kind(operand)}")
    if operator in _TEXTS:
        if not isinstance(operand, str):
            raise FilterError(f"{where}: expected text, got {_kind(operand)}")
        if operator == "matches":
            _check_pattern(where, operand)
        return Condition(path, operator, operand)
    named = operator not in {"exists", "contains"}
    return Condition(path, operator, _operand(where, path if named else (), operand))


def _operand(where: str, path: tuple[str, ...], operand: object) -> object:
    """Return a single value to compare with; a severity is compared as one."""
    if _list(operand) is not None or _mapping(operand) is not None:
        raise FilterError(f"{where}: expected a single value, got {_kind(operand)}")
    if path != ("severity",):
        return operand
    names = tuple(severity.value for severity in Severity)
    if operand not in names:
        raise FilterError(f"{where}: {operand!r} is no severity{_suggestion(str(operand), names)}")
    return Severity(str(operand))


def _check_pattern(where: str, pattern: str) -> None:
    try:
        compile_pattern(pattern)
    except re2.error as error:
        cause: Any = error.args[0] if error.args else error
        text = cause.decode(errors="replace") if isinstance(cause, bytes) else str(cause)
        raise FilterError(f"{where}: {text}") from None


def compile_pattern(pattern: str) -> Any:
    """Compile a pattern of `matches`; RE2, so matching takes time linear in the text.

    Raises:
        re2.error: the pattern is wrong or uses look-around or back-references, which cannot be linear.
    """
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def _suggestion(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _list(value: object) -> list[Any] | None:
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple) else None


def _mapping(value: object) -> Mapping[Any, Any] | None:
    return cast("Mapping[Any, Any]", value) if isinstance(value, Mapping) else None


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case _:
            return "a mapping" if isinstance(value, Mapping) else "a list"
