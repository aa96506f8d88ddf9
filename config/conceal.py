"""Credentials that are written out in the settings: which values they are, and how they stay unseen."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import BaseModel

from .fields import is_secret
from .problems import Problem
from .tree import Items, Leaf, Loc, Node, Origin, Table, leaves


def concealed(node: Node, model: type[BaseModel], path: Loc = ()) -> Node:
    """Return a section with its written credentials marked, so that nothing shows them."""
    match node:
        case Table(entries):
            inside = {key: concealed(value, model, (*path, key)) for key, value in entries.items()}
            return replace(node, entries=inside)
        case Items(items):
            return replace(node, items=[concealed(item, model, (*path, at)) for at, item in enumerate(items)])
        case Leaf(origin=Origin.WRITTEN) if is_secret(model, path):
            return replace(node, origin=Origin.SECRET)
        case Leaf():
            return node


def credentials(sections: Iterable[tuple[Node, type[BaseModel]]]) -> Iterator[str]:
    """Return the credentials that are written out in sections."""
    for section, model in sections:
        for leaf in leaves(concealed(section, model)):
            if leaf.origin is Origin.SECRET:
                yield str(leaf.value)


def without(problems: Iterable[Problem], values: Iterable[str]) -> list[Problem]:
    """Return the problems with credentials masked in the source lines they show.

    A finding about one key shows its whole line, and in `{...}` a credential may stand on the same line.
    The mask is as long as what it covers, for the caret to stay where it is.
    """
    if not (found := list(problems)):
        return []
    longest_first = sorted({value for value in values if len(value) > 1}, key=len, reverse=True)
    masked: list[Problem] = []
    for problem in found:
        shown = problem.excerpt
        for value in longest_first:
            shown = shown.replace(value, "*" * len(value))
        masked.append(replace(problem, excerpt=shown))
    return masked
