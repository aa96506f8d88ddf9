"""pydantic's findings in words for people: never a URL of its manual, never the value."""

import re
from collections.abc import Iterable

from pydantic_core import ErrorDetails

EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
}
"""What kind of value a type of error asks for."""

_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "needs {min_length} or more entries, got {actual_length}",
    "too_long": "takes {max_length} entries at most, got {actual_length}",
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
}

_PIECE = 8
"""Characters; shorter stretches of a URL are in half of all messages ("webhook", "discord")."""


def from_schema(error: ErrorDetails, description: str) -> str:
    """Return words that come from the schema alone, or nothing where a validator chose the words.

    Args:
        error: what pydantic found.
        description: what the schema says of the field.
    """
    if error["type"] == "string_pattern_mismatch":
        form = description or error.get("ctx", {}).get("pattern")
        return f"does not have the expected form: {form}"
    context = {key: _rounded(bound) for key, bound in error.get("ctx", {}).items()}
    return _BOUNDS.get(error["type"], "").format_map(context)


def choices(error: ErrorDetails) -> list[str]:
    """Return the texts a value may have, where there is a list of them."""
    return re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))


def from_validator(error: ErrorDetails) -> str:
    """Return the words a validator chose, which may hold the value."""
    if error["type"] in {"value_error", "assertion_error"}:
        return error["msg"].partition(", ")[2]
    text = error["msg"].replace("Input should be ", "expected ").replace("Value should be ", "expected ")
    return text[:1].lower() + text[1:]


def quotes(message: str, values: Iterable[str]) -> bool:
    """Whether a message holds a value, or so long a stretch of one that it would tell something."""
    text = message.casefold()
    return any(piece in text for value in values for piece in _pieces(value.casefold()))


def _pieces(value: str) -> set[str]:
    return {value[at : at + _PIECE] for at in range(max(1, len(value) - _PIECE + 1))} - {""}


def _rounded(bound: object) -> object:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound
