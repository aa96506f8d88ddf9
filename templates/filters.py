"""The filters templates may use: those of jinja2 that cost what they look like, and a few of knell's own."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from jinja2 import Environment, pass_environment
from jinja2.filters import FILTERS as JINJA_FILTERS
from markupsafe import Markup

from .facts import rows
from .meter import charged, note_cut, spend_chars, spend_loop
from .printing import text_of
from .sms import gsm, sms_line
from .taint import marked_json
from .text import cut, one_line

if TYPE_CHECKING:
    from .sandbox import Sandbox

_HARMLESS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "filesizeformat", "first", "float"),
    *("groupby", "int", "items", "last", "length", "lower", "map", "max", "min", "reject", "rejectattr"),
    *("reverse", "select", "selectattr", "sort", "string", "sum", "title", "trim", "unique", "upper"),
    *("urlencode", "wordcount"),
)


@pass_environment
def _join(
    environment: Environment, items: Iterable[Any], separator: Any = "", attribute: str | None = None
) -> str:
    """Join values; jinja2's own would escape for HTML in every file type."""
    if attribute is not None:
        items = [environment.getitem(item, attribute) for item in items]
    parts: list[Any] = []
    for item in spend_loop(items, 1):
        parts += [separator, item] if parts else [item]
    return cast("Sandbox", environment).joined(parts)


def _replace(value: Any, old: str, new: str) -> str:
    """Replace a text, after looking at how long the result will be."""
    text = text_of(value)
    if not old:
        raise ValueError("replace needs a text to look for")
    spend_chars(new, times=text.count(old))
    return text.replace(old, new)


def _round(number: float, digits: int = 0) -> float:
    return round(number, min(digits, 10))


def _tojson(value: Any) -> Markup:
    """Write a whole value into a JSON template."""
    return Markup(marked_json(value))  # noqa: S704 - every text in it is marked as data


def _list(items: Iterable[Any]) -> list[Any]:
    return spend_loop(items, 1)


def _cut(text: Any, limit: int = 255, end: str = "…") -> str:
    """Cut a text, and report it."""
    whole = text_of(text)
    shown = cut(whole, limit, end)
    if shown is not whole:
        note_cut(whole, len(whole) - len(shown) + len(end))
    return shown


def _preview(text: Any, limit: int = 255) -> str:
    """Show the beginning of a text that stands in full elsewhere: no cut to report."""
    return cut(text_of(text), limit)


def _one_line(text: Any) -> str:
    return one_line(text_of(text))


def _itself(value: Any) -> Any:
    """Escape nothing: printing a value escapes it, and twice would be wrong."""
    return value


FILTERS: dict[str, Callable[..., Any]] = {
    **{name: charged(JINJA_FILTERS[name]) for name in _HARMLESS},
    "cut": _cut,
    "e": _itself,
    "escape": _itself,
    "gsm": gsm,
    "join": _join,
    "list": _list,
    "one_line": _one_line,
    "preview": _preview,
    "replace": charged(_replace),
    "round": _round,
    "rows": rows,
    "sms_line": sms_line,
    "tojson": _tojson,
    "truncate": _cut,
}
