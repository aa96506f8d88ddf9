"""The environment templates run in: Jinja's sandbox, closed further.

A template sees plain data and a short list of filters, methods and functions; what can build gigabytes out
of a few characters (`*` on text, `%` formatting, `center`, `format`, ...) is not among them.
"""

from collections.abc import Iterable
from itertools import chain
from types import FunctionType
from typing import Any, cast

from jinja2 import BaseLoader, StrictUndefined, Template, TemplateRuntimeError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import TemplateModule
from jinja2.exceptions import SecurityError
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from markupsafe import Markup

from .filters import FILTERS
from .meter import METERS, Metering, current_catalog, spend_chars, spend_loop, spend_steps
from .printing import Syntax, text_of
from .taint import OMITTED
from .wording import fill

MAX_SOURCE = 256 * 1024
"""Characters of one template file; the largest built-in one has 5,000."""

_MAX_RANGE = 1000
_MAX_BITS = 256

_MAPPING_METHODS = frozenset({"get", "items", "keys", "values"})
_METHODS: dict[type, frozenset[str]] = {
    dict: _MAPPING_METHODS,
    str: frozenset({"startswith", "endswith", "upper", "lower", "strip", "lstrip", "rstrip", "removeprefix"}),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
}
_JINJA_KINDS = (BlockReference, LoopContext, Macro, Namespace, TemplateModule, TemplateReference, Undefined)


class _Generator(CodeGenerator):
    """Sends every output and every `~` through the environment, which knows the file type."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        del frame, finalize  # the arguments jinja2 gives: constants are written at run time, like all else
        if isinstance(node, nodes.TemplateData):
            return node.data
        raise nodes.Impossible

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        del node, frame, finalize
        self.write("environment.printed(")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        del node, frame, finalize
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - jinja2's name
        """Join without jinja2's `markup_join`, which escapes for HTML whatever the file type."""
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class Sandbox(ImmutableSandboxedEnvironment):
    """One environment per file type."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, syntax: Syntax, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            trim_blocks=True,
            lstrip_blocks=True,
            cache_size=-1,
            auto_reload=False,
        )
        self.syntax = syntax
        self.printed = syntax.writer()
        self.newstyle_gettext = True  # the i18n extension reads it when it parses `trans`
        self.filters = {**FILTERS, **METERS}
        self.globals = {
            "range": _short_range,
            "namespace": Namespace,
            "link": self._link,
            "omit": Markup(OMITTED),  # noqa: S704 - a constant
            "_": _translated,
            "gettext": _translated,
            "ngettext": _translated_plural,
        }

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join what a macro or a block set wrote, at a charge."""
        return spend_chars("".join(parts))

    def joined(self, parts: Iterable[Any]) -> str:
        """Join values; next to markup, data is written as the file type writes it."""
        parts = list(parts)
        if any(isinstance(part, Markup) for part in parts):
            return Markup(self.concat([self.printed(part) for part in parts]))  # noqa: S704 - just written
        return self.concat([text_of(part) for part in parts])

    def _link(self, url: Any, text: Any = "") -> Markup:
        return Markup(self.syntax.link(text_of(url), text_of(text)))  # noqa: S704 - the file type escapes it

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read `obj.attribute`: a key of data, one of the few methods, or a part of jinja2's own objects."""
        data = obj
        if isinstance(obj, dict) and attribute not in _MAPPING_METHODS:
            try:
                return data[attribute]
            except KeyError:
                return self.undefined(obj=data, name=attribute)
        if isinstance(obj, _JINJA_KINDS):
            return super().getattr(obj, attribute)
        allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), frozenset[str]())
        if attribute in allowed and not isinstance(obj, Markup):
            return getattr(cast("object", obj), attribute)
        return self.unsafe_undefined(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Read `obj[argument]`; never an attribute."""
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined(obj=obj, name=argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function or macro, at a charge."""
        spend_steps(1)
        # Functions are knell's own: they take no context, and need no check.
        own = isinstance(obj, FunctionType)
        result = obj(*args, **kwargs) if own else super().call(context, obj, *args, **kwargs)
        return spend_chars(result) if isinstance(result, str) else result

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate with numbers, join texts and lists, and nothing else."""
        kinds = f"{type(left).__name__} {operator} {type(right).__name__}"
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            return super().call_binop(context, operator, left, right)
        if operator in {"+", "*", "%"} and isinstance(left, int | float) and isinstance(right, int | float):
            return _bounded(super().call_binop(context, operator, left, right))
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return self.joined((left, right))
        if operator == "+" and isinstance(left, list) and isinstance(right, list):
            return spend_loop(chain(cast("Any", left), cast("Any", right)), 1)
        raise SecurityError(f"{kinds} is not available in templates")

    def get_template(self, name: Any, *args: Any, **kwargs: Any) -> Template:
        """Load a template, at a charge: one that includes itself twice would never end."""
        spend_steps(100)
        return super().get_template(name, *args, **kwargs)

    def select_template(self, names: Any, *args: Any, **kwargs: Any) -> Template:
        """Load the first template there is, at the same charge."""
        spend_steps(100)
        return super().select_template(names, *args, **kwargs)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        Metering().visit(source)
        return super()._generate(source, *args, **kwargs)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        if len(source) > MAX_SOURCE:
            raise TemplateRuntimeError(f"the template is longer than {MAX_SOURCE} characters")
        return super()._parse(source, name, filename)


def _translated(message: str, **values: Any) -> str:
    """Say a text in the language being rendered: words like any other data, never markup."""
    return fill(current_catalog()(message), {name: text_of(value) for name, value in values.items()})


def _translated_plural(one: str, many: str, n: int, **values: Any) -> str:
    return _translated(one if n == 1 else many, **{"num": n, **values})


def _short_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > _MAX_RANGE:
        raise TemplateRuntimeError(f"range() goes up to {_MAX_RANGE} numbers in templates")
    return numbers


def _bounded(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > _MAX_BITS:
        raise TemplateRuntimeError("the number is too large")
    return number
