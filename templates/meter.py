"""How much one rendering may do, whatever its template asks for.

Jinja's sandbox stops a template from reaching out, not from running for ever or filling the memory. Every
loop, macro, block and included template is charged here by the number of its syntax nodes, every text that
is built by its length: no clock is involved, so the same template always ends at the same place.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import islice
from typing import Any

from jinja2 import TemplateRuntimeError, nodes, pass_context
from jinja2.exceptions import TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.visitor import NodeVisitor

from .wording import Catalog

MAX_STEPS = 200_000
"""Syntax nodes one rendering may execute: tenths of a second; a mail digest of 100 events takes 12 %."""

MAX_CHARS = 16 * 1024 * 1024
"""Characters one rendering may build on its way: events are at most 1 MiB, a digest holds several."""

MAX_OUTPUT = 8 * 1024 * 1024
"""Characters one rendering may yield."""


_FREE_CHARS = 1000
_CHUNKS = 500


class _Allowance:
    __slots__ = ("catalog", "chars", "cuts", "steps")

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.steps = MAX_STEPS
        self.chars = MAX_CHARS
        self.cuts: dict[str, int] = {}


_CURRENT: ContextVar[_Allowance] = ContextVar("knell_rendering")


@contextmanager
def metered(catalog: Catalog) -> Generator[Mapping[str, int]]:
    """Give the code inside a fresh allowance and a language.

    Yields what the template cuts: each text, and the most characters of it that were left out.
    """
    allowance = _Allowance(catalog)
    token = _CURRENT.set(allowance)
    try:
        yield allowance.cuts
    finally:
        _CURRENT.reset(token)


def current_catalog() -> Catalog:
    """Return the words of the language being rendered."""
    return _CURRENT.get().catalog


def note_cut(text: str, lost: int) -> None:
    """Remember that so many characters of a text are not shown."""
    if lost > 0 and (allowance := _CURRENT.get(None)) is not None:
        allowance.cuts[text] = max(lost, allowance.cuts.get(text, 0))


def spend_steps(steps: int) -> None:
    """Charge for work.

    Raises:
        TemplateRuntimeError: nothing is left.
    """
    allowance = _CURRENT.get()
    allowance.steps -= steps
    if allowance.steps < 0:
        raise TemplateRuntimeError(f"the template does too much: more than {MAX_STEPS} steps")


def spend_chars(text: str, times: int = 1) -> str:
    """Charge for a text, and return it; short ones are paid for by the steps that make them.

    Raises:
        TemplateRuntimeError: nothing is left.
    """
    chars = len(text) * times
    if chars > _FREE_CHARS:
        allowance = _CURRENT.get()
        allowance.chars -= chars
        if allowance.chars < 0:
            raise TemplateRuntimeError(f"the template builds too much text: more than {MAX_CHARS} characters")
    return text


def spend_loop(items: Iterable[Any], weight: int) -> list[Any]:
    """Charge for a whole loop before its first turn, and return what it runs over."""
    taken = list(islice(items, MAX_STEPS + 1))
    spend_steps(len(taken) * weight)
    return taken


def collect(chunks: Iterable[str]) -> str:
    """Join what a template yields, and stop it when it yields too much."""
    parts: list[str] = []
    source, room = iter(chunks), MAX_OUTPUT
    while batch := list(islice(source, _CHUNKS)):
        room -= sum(map(len, batch))
        if room < 0:
            raise TemplateRuntimeError(f"the template writes too much: more than {MAX_OUTPUT} characters")
        parts += batch
    return "".join(parts)


def charged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter pay for the texts it reads and returns."""

    @wraps(function)
    def paying(*args: Any, **kwargs: Any) -> Any:
        for argument in args:
            if isinstance(argument, str) and len(argument) > _FREE_CHARS:
                spend_chars(argument)
        result = function(*args, **kwargs)
        return spend_chars(result) if isinstance(result, str) else result

    return paying


@pass_context
def _loop(_: Context, items: Iterable[Any], weight: int) -> list[Any]:
    return spend_loop(items, weight)


@pass_context
def _body(_: Context, weight: int) -> None:
    spend_steps(weight)


METERS: dict[str, Callable[..., Any]] = {" loop": _loop, " body": _body}
"""The charges, as filters whose names no template can write. That they take the context keeps jinja2 from
computing them once, when it compiles."""


class Metering(NodeVisitor):
    """Put the charges into a template's syntax tree."""

    def visit_For(self, node: nodes.For) -> None:  # noqa: N802 - jinja2 names visitors after node classes
        """Charge a loop by its length times its body."""
        if node.recursive:
            raise TemplateSyntaxError("recursive loops are not available in templates", node.lineno)
        weight = _weight(node.body)
        self.generic_visit(node)
        node.iter = _metered(node.iter, " loop", [nodes.Const(weight)])

    def visit_Macro(self, node: nodes.Macro) -> None:  # noqa: N802 - see above
        """Charge a macro by its body, at every call."""
        self._charge_body(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> None:  # noqa: N802 - see above
        """Charge the body of a call block, at every call of `caller`."""
        self._charge_body(node)

    def visit_Block(self, node: nodes.Block) -> None:  # noqa: N802 - see above
        """Charge a block, which `self.name()` can run again and again."""
        self._charge_body(node)

    def visit_ScopedEvalContextModifier(self, node: nodes.ScopedEvalContextModifier) -> None:  # noqa: N802
        """Refuse to switch the escaping off."""
        raise TemplateSyntaxError("autoescape cannot be changed in templates", node.lineno)

    def _charge_body(self, node: nodes.Macro | nodes.CallBlock | nodes.Block) -> None:
        weight = _weight(node.body)
        self.generic_visit(node)
        charge = _metered(nodes.Const(weight), " body", [])
        node.body.insert(0, nodes.ExprStmt(charge, lineno=node.lineno))


def _weight(body: list[nodes.Node]) -> int:
    return 1 + sum(1 for part in body for _ in part.find_all(nodes.Node))


def _metered(node: nodes.Node, meter: str, arguments: list[nodes.Const]) -> nodes.Filter:
    return nodes.Filter(node, meter, arguments, [], None, None, lineno=node.lineno)
