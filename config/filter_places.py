"""Which part of a filter expression is wrong: `knell.filters` says what, this finds where."""

from collections.abc import Iterator

from knell.filters import OPERATORS, FilterError, parse

from .problems import Problem
from .tree import Items, Leaf, Mark, Node, Origin, Table, leaves, plain


def filter_problems(node: Node) -> Iterator[Problem]:
    """Return every finding in a filter expression, at the key or the value that is to blame."""
    match node:
        case Items(items):
            for item in items:
                yield from filter_problems(item)
        case Table(entries):
            for key, value in entries.items():
                yield from _entry(key, value)
        case Leaf():
            yield from _wrong(node, node.at, node)


def _entry(key: str, value: Node) -> Iterator[Problem]:
    if key in _NESTED:
        several = isinstance(value, Items) and bool(value.items)
        if several or (key == "not" and not isinstance(value, Leaf)):
            yield from filter_problems(value)
        else:
            yield from _wrong(Table({key: value}, value.at, value.at), value.at, value)
    elif _fails({key: {"exists": True}}):
        yield from _wrong(Table({key: value}, value.key, value.key), value.key, value)
    elif isinstance(value, Table):
        for operator, operand in value.entries.items():
            at = operand.at if operator in OPERATORS else operand.key
            test = Table({operator: operand}, at, at)
            yield from _wrong(Table({key: test}, at, at), at, operand)
    else:
        yield from _wrong(Table({key: value}, value.at, value.at), value.at, value)


_NESTED = {"all", "any", "not"}


def _fails(raw: object) -> bool:
    try:
        parse(raw)
    except FilterError:
        return True
    return False


def _wrong(expression: Node, at: Mark, blamed: Node) -> Iterator[Problem]:
    """Return the finding in an expression that has one part, if there is one."""
    try:
        parse(plain(expression))
    except FilterError as error:
        if any(leaf.origin is not Origin.WRITTEN for leaf in leaves(blamed)):
            yield at.problem(
                "the filter is not valid (its value comes from the environment and is not shown)"
            )
        else:
            message, _, word = str(error).partition(", did you mean ")
            yield at.problem(message, f"did you mean {word}" if word else "")
