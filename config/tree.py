"""Settings as a tree in which every key and value knows where it stands.

The tree never changes once it is made: an alias shares its nodes, and merging, moving and interpolating
make new ones. That is how a finding about a merged, moved or interpolated value still points at its line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any, cast

from .problems import Problem, excerpt

MAX_DEPTH = 32
"""How deep settings may nest; deeper is an attack or a mistake."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file of settings.

    It has a name as shown, its lines, and the folder where relative paths in it start.
    """

    name: str
    lines: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something stands: line and column (from 1) of a file, or the dotted path in a mapping."""

    source: Source
    line: int = 0
    column: int = 0
    path: str = ""

    def problem(self, message: str, hint: str = "", *, hidden: bool = False) -> Problem:
        """Return a finding at this place; `hidden` keeps what stands there out of the excerpt."""
        lines, at = self.source.lines, self.line - 1
        shown = excerpt(lines[at], self.column, hidden=hidden) if 0 <= at < len(lines) else ""
        return Problem(self.source.name, self.line, self.column, message, hint, shown, self.path)


class Origin(Enum):
    """Where a value comes from, which decides what may be said about it."""

    WRITTEN = auto()
    HIDDEN = auto()  # from the environment or a file: never shown
    SECRET = auto()  # a credential written into the settings: never shown, nor the end of its line
    UNSET = auto()  # empty because a variable is missing, which has been reported where it matters


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value: text, a number, true or false, nothing, or an object a program handed over."""

    value: Any
    at: Mark
    key: Mark
    origin: Origin = Origin.WRITTEN


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping. `key` is where its own key stands; that of the whole file is its start."""

    entries: dict[str, "Node"]
    at: Mark
    key: Mark


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: list["Node"]
    at: Mark
    key: Mark


Node = Leaf | Table | Items
Loc = tuple[str | int, ...]


def plain(node: Node, *, masked: bool = False) -> Any:
    """Return the settings as plain data; `masked` puts asterisks for all that may not be shown."""
    match node:
        case Table(entries):
            return {key: plain(child, masked=masked) for key, child in entries.items()}
        case Items(items):
            return [plain(child, masked=masked) for child in items]
        case Leaf(value, origin=origin):
            return "***" if masked and origin is not Origin.WRITTEN else value


def leaves(node: Node) -> list[Leaf]:
    """Return every single value below a node, itself included."""
    match node:
        case Table(entries):
            return [leaf for child in entries.values() for leaf in leaves(child)]
        case Items(items):
            return [leaf for child in items for leaf in leaves(child)]
        case Leaf():
            return [node]


def find(node: Node, path: Loc) -> tuple[Node, Loc]:
    """Follow a path as far as it goes; return the node reached and the steps that exist.

    A step that does not exist is left out: validators put steps of their own between the real ones.
    """
    taken: list[str | int] = []
    for step in path:
        child = _child(node, step)
        if child is not None:
            node = child
            taken.append(step)
    return node, tuple(taken)


def child(node: Node | None, key: str) -> Node | None:
    """Return the value of a key, if the node is a mapping that has it."""
    return entries(node).get(key)


def entries(node: Node | None) -> dict[str, "Node"]:
    """Return the entries of a mapping; none of anything else."""
    return node.entries if isinstance(node, Table) else {}


def kind(node: Node) -> str:
    """Name what a node is, for people, without its value."""
    value: object = node.value if isinstance(node, Leaf) else node
    return _KINDS.get(type(value), f"a {type(value).__name__}")


_KINDS: dict[type, str] = {
    Table: "a mapping",
    Items: "a list",
    type(None): "nothing",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
}


def shown(leaf: Leaf) -> str:
    """Quote a value for people, unless it may not be shown."""
    return repr(leaf.value) if leaf.origin is Origin.WRITTEN else "(from the environment, not shown)"


def merge(base: Table, over: Table) -> Table:
    """Lay one tree over another: mappings merge key by key, everything else replaces."""
    merged = dict(base.entries)
    for key, node in over.entries.items():
        below = merged.get(key)
        if isinstance(below, Table) and isinstance(node, Table):
            merged[key] = merge(below, node)
        else:
            merged[key] = node
    return replace(base, entries=merged)


def from_mapping(data: Mapping[str, Any], problems: list[Problem]) -> Node:
    """Make a tree of settings a program handed over; places are the dotted paths of the keys."""
    return _grown(data, "", (), problems)


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node, Table) and isinstance(step, str):
        return node.entries.get(step)
    if isinstance(node, Items) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def _grown(value: object, path: str, above: tuple[int, ...], problems: list[Problem]) -> Node:
    mark = Mark(_PROGRAM, path=path)
    if not isinstance(value, Mapping | list | tuple):
        return Leaf(value, mark, mark)
    if len(above) >= MAX_DEPTH or id(cast("object", value)) in above:
        problems.append(mark.problem(f"nested deeper than {MAX_DEPTH}, or within itself"))
        return Leaf(None, mark, mark)
    above = (*above, id(cast("object", value)))
    if isinstance(value, Mapping):
        return Table(
            _grown_entries(cast("Mapping[object, object]", value), mark, above, problems), mark, mark
        )
    items = enumerate(cast("list[object]", value))
    return Items([_grown(item, f"{path}[{at}]", above, problems) for at, item in items], mark, mark)


def _grown_entries(
    value: Mapping[object, object], mark: Mark, above: tuple[int, ...], problems: list[Problem]
) -> dict[str, Node]:
    grown: dict[str, Node] = {}
    for key, item in value.items():
        if isinstance(key, str):
            grown[str(key)] = _grown(item, f"{mark.path}.{key}".removeprefix("."), above, problems)
        else:
            problems.append(mark.problem(f"a key must be text, got {type(key).__name__}"))
    return grown


_PROGRAM = Source("settings")
