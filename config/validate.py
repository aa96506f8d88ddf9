"""One section against its model, with findings in words for people and at the right place.

No word about a hidden value comes from anything that saw it, unless the words hold nothing of it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .conceal import concealed
from .fields import keys, model_at
from .filter_places import filter_problems
from .problems import Problem, did_you_mean
from .secrets import dotted
from .tree import Leaf, Loc, Node, Origin, Table, child, find, kind, leaves, plain

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
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
_BOUNDS = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "needs {min_length} or more entries, got {actual_length}",
    "too_long": "takes {max_length} entries at most, got {actual_length}",
    "string_pattern_mismatch": "does not have the form {pattern}",
}
_UNTOLD = "not valid (the value is not shown, because it is a credential or comes from the environment)"


def validate(
    model: type[M], section: Table, owner: str, extra: Mapping[str, Any], *, idle: bool = False
) -> tuple[M | None, list[Problem]]:
    """Check a section.

    Left out are findings that come from a missing variable, which has been reported where it matters; and
    what an idle section lacks.

    Args:
        model: what checks it.
        section: its tree.
        owner: who needs its keys, for messages ("type slack").
        extra: values that are set for it.
        idle: whether nobody uses the section, so that it may be incomplete.

    Returns:
        The instance, or nothing where something is wrong or was left out; and the findings.
    """
    try:
        return model.model_validate({**plain(section), **extra}), []
    except ValidationError as error:
        findings = _Findings(model, section, owner, extra)
        told = findings.told(error, idle=idle)
        if not (told or idle or _unset(section)):
            told = [section.key.problem(f"not valid for {owner}")]
        return None, told
    except Exception as error:  # noqa: BLE001 - a third party's validator may raise anything
        return None, [section.key.problem(f"the schema of {owner} failed ({type(error).__name__})")]


@dataclass(frozen=True, slots=True)
class _Found:
    """An error of the validator with the node it is about and the steps of its place that exist."""

    error: ErrorDetails
    node: Node
    path: Loc

    @property
    def group(self) -> Loc:
        """The place before the first step that only the validator knows: one value tried in several ways."""
        loc = self.error["loc"]
        same = 0
        while same < len(self.path) and loc[same] == self.path[same]:
            same += 1
        return self.path[:same]

    @property
    def is_lack(self) -> bool:
        """Whether it is about what the section as a whole lacks."""
        return not self.path and self.error["type"] != "extra_forbidden"


class _Findings:
    def __init__(self, model: type[BaseModel], section: Table, owner: str, extra: Mapping[str, Any]) -> None:
        self.model = model
        self.section = concealed(section, model)
        self.owner = owner
        self.extra = extra
        self.suggested: set[Loc] = set()

    def told(self, error: ValidationError, *, idle: bool) -> list[Problem]:
        """Return the findings in plain words."""
        details = error.errors(include_url=False, include_input=False)
        found = [_Found(detail, *find(self.section, detail["loc"])) for detail in details]
        kept = [item for item in found if not (idle and item.is_lack)]
        problems = [self._unknown(item) for item in kept if item.error["type"] == "extra_forbidden"]
        problems += [self._missing(item) for item in kept if self._is_missed(item)]
        values = [item for item in kept if item.error["type"] not in _ABOUT_KEYS]
        return problems + self._values([item for item in values if not _unset(item.node)])

    def _unknown(self, found: _Found) -> Problem:
        key, above = str(found.path[-1]), found.path[:-1]
        known = keys(model_at(self.model, above) or self.model)
        if key in known:
            twin = next(other for other in known if other != key and known[other] is known[key])
            return found.node.key.problem(f"{key!r} and {twin!r} are the same key", "keep one of them")
        present = find(self.section, above)[0]
        free = [name for name in known if child(present, name) is None and name not in self.extra]
        hint = did_you_mean(key, free)
        self.suggested.update((*above, name) for name in free if repr(name) in hint)
        return found.node.key.problem(f"unknown key {key!r}", hint)

    def _is_missed(self, found: _Found) -> bool:
        """Whether a key is missing, and not merely misspelt."""
        if found.error["type"] != "missing":
            return False
        return (*found.path, found.error["loc"][-1]) not in self.suggested

    def _missing(self, found: _Found) -> Problem:
        owner = dotted(found.path) or self.owner
        return found.node.key.problem(f"missing key {found.error['loc'][-1]!r} (needed by {owner})")

    def _values(self, found: list[_Found]) -> list[Problem]:
        """Return the findings about values; of a value tried in several ways, those that came furthest."""
        deepest: dict[Loc, int] = {}
        for item in found:
            deepest[item.group] = max(deepest.get(item.group, 0), len(item.path))
        places: dict[Loc, list[_Found]] = {}
        for item in found:
            if len(item.path) == deepest[item.group]:
                places.setdefault(item.path, []).append(item)
        return [problem for path, items in places.items() for problem in self._value(path, items)]

    def _value(self, path: Loc, found: list[_Found]) -> Iterable[Problem]:
        node, first = found[0].node, found[0].error
        if path and path[-1] in _FILTERS and first["type"] == "value_error":
            return filter_problems(node)
        expected = dict.fromkeys(_EXPECTED.get(item.error["type"], "") for item in found)
        if all(expected):
            message = f"expected {' or '.join(expected)}, got {kind(node)}"
            quotes = isinstance(node, Leaf) and "text" in expected and not isinstance(node.value, str | None)
            hint = "put it in quotes" if quotes else ""
        else:
            message, hint = self._words(node, first)
        at = node.at if path else node.key
        hidden = bool(path) and any(leaf.origin is Origin.SECRET for leaf in leaves(node))
        return [at.problem(message, hint, hidden=hidden)]

    def _words(self, node: Node, error: ErrorDetails) -> tuple[str, str]:
        context = error.get("ctx", {})
        if error["type"] in {"literal_error", "enum"}:
            choices = re.findall(r"'([^']*)'", str(context["expected"]))
            written = isinstance(node, Leaf) and node.origin is Origin.WRITTEN
            return f"expected {context['expected']}", did_you_mean(
                str(plain(node)), choices
            ) if written else ""
        if error["type"] in _BOUNDS:
            return _BOUNDS[error["type"]].format_map(
                {key: _rounded(bound) for key, bound in context.items()}
            ), ""
        message = _spoken(error["msg"])
        return message if self._harmless(message, node, error) else _UNTOLD, ""

    def _harmless(self, message: str, node: Node, error: ErrorDetails) -> bool:
        """Whether words of a validator that may have seen hidden values tell nothing about them.

        They do not when asterisks get the same words. A validator of the whole section cannot always be
        asked that way, because others refuse the asterisks first: there no piece of a value may be quoted.
        """
        hidden = [str(leaf.value) for leaf in leaves(node) if leaf.origin in {Origin.HIDDEN, Origin.SECRET}]
        if not hidden or (error["loc"], message) in self._asterisks():
            return True
        pieces = (piece for value in hidden for piece in _pieces(value))
        return node is self.section and not any(piece in message.casefold() for piece in pieces)

    def _asterisks(self) -> set[tuple[Loc, str]]:
        """Return what the validators say where asterisks stand for all hidden values."""
        try:
            self.model.model_validate({**plain(self.section, masked=True), **self.extra})
        except ValidationError as other:
            details = other.errors(include_url=False, include_input=False)
            return {(detail["loc"], _spoken(detail["msg"])) for detail in details}
        except Exception:  # noqa: BLE001 - a third party's validator may raise anything
            return set()
        return set()


_ABOUT_KEYS = {"missing", "extra_forbidden"}
_FILTERS = {"filters", "global_filters"}


def _unset(node: Node) -> bool:
    return any(leaf.origin is Origin.UNSET for leaf in leaves(node))


def _pieces(value: str) -> set[str]:
    """Return every stretch of a value that would tell something about it."""
    text = value.casefold()
    return {text[at : at + _PIECE] for at in range(max(1, len(text) - _PIECE + 1))} - {""}


_PIECE = 8
"""Characters; shorter stretches of a URL are in half of all messages ("webhook", "discord")."""


def _rounded(bound: object) -> object:
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _spoken(message: str) -> str:
    """Turn a validator's sentence into the form of ours."""
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    text = text.replace("Input should be ", "expected ").replace("Value should be ", "expected ")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
