"""One section against its model, with findings in words for people and at the right place.

No word about a hidden value comes from anything that saw it, unless the words hold nothing of it.
"""

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
from .words import EXPECTED, choices, from_schema, from_validator, quotes

M = TypeVar("M", bound=BaseModel)

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
        twins = [other for other in known if other != key and known[other] is known.get(key)]
        if twins:
            return found.node.key.problem(f"{key!r} and {twins[0]!r} are the same key", "keep one of them")
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
        expected = dict.fromkeys(EXPECTED.get(item.error["type"], "") for item in found)
        hint = ""
        if all(expected):
            message = f"expected {' or '.join(expected)}, got {kind(node)}"
            if "text" in expected and kind(node) in {"a number", "true or false"}:
                hint = "put it in quotes"
        else:
            message = from_schema(first, self._description(path)) or self._from_validator(node, first)
            if isinstance(node, Leaf) and node.origin is Origin.WRITTEN:
                hint = did_you_mean(str(node.value), choices(first))
        at = node.at if path else node.key
        hidden = bool(path) and any(leaf.origin is Origin.SECRET for leaf in leaves(node))
        return [at.problem(message, hint, hidden=hidden)]

    def _description(self, path: Loc) -> str:
        above = model_at(self.model, path[:-1])
        field = keys(above).get(str(path[-1])) if above is not None and path else None
        return (field and field.description) or ""

    def _from_validator(self, node: Node, error: ErrorDetails) -> str:
        """Return a validator's words, unless they may tell something about a hidden value.

        They do not when asterisks get the same words, nor when no stretch of a value is in them.
        """
        message = from_validator(error)
        hidden = [str(leaf.value) for leaf in leaves(node) if leaf.origin in {Origin.HIDDEN, Origin.SECRET}]
        harmless = not quotes(message, hidden) or (error["loc"], message) in self._to_asterisks()
        return message if harmless else _UNTOLD

    def _to_asterisks(self) -> set[tuple[Loc, str]]:
        """Return what the validators say where asterisks stand for all hidden values."""
        try:
            self.model.model_validate({**plain(self.section, masked=True), **self.extra})
        except ValidationError as other:
            details = other.errors(include_url=False, include_input=False)
            return {(detail["loc"], from_validator(detail)) for detail in details}
        except Exception:  # noqa: BLE001 - a third party's validator may raise anything
            return set()
        return set()


_ABOUT_KEYS = {"missing", "extra_forbidden"}
_FILTERS = {"filters", "global_filters"}


def _unset(node: Node) -> bool:
    return any(leaf.origin is Origin.UNSET for leaf in leaves(node))
