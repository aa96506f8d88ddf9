"""How a template's file type writes a value: the one way by which data gets into a text."""

import math
from collections.abc import Callable
from typing import Any, cast

import msgspec
from jinja2 import Undefined
from jinja2.runtime import ChainableUndefined
from markupsafe import Markup, escape

from .dialects import escape_markdown, markdown_link
from .taint import Json, marked, marked_link
from .text import clean, is_web_url


class Absent(ChainableUndefined):
    """A fact or a metadata key the event does not have: false, undefined, and a dash for the reader."""

    __slots__ = ()

    def __str__(self) -> str:
        """Show that there is nothing."""
        return "\N{EN DASH}"

    def __bool__(self) -> bool:
        """Be false."""
        return False

    def __eq__(self, other: object) -> bool:
        """Equal what is absent as well."""
        return other is None or isinstance(other, Absent)

    __hash__ = ChainableUndefined.__hash__

    def __lt__(self, other: object) -> bool:  # type: ignore[override] # the base raises, this answers
        """Be neither less nor more than anything, so that `metadata.retries > 3` needs no test before it."""
        return False

    __le__ = __gt__ = __ge__ = __lt__  # type: ignore[assignment] # see above


ABSENT = Absent("the event does not have this value")


class Lenient(dict[str, Any]):
    """Metadata as templates see it: a key that is not there is absent, not an error."""

    __slots__ = ()

    def __missing__(self, key: str) -> Any:
        """Return what prints as a dash."""
        if key.startswith("__"):
            raise KeyError(key)
        return ABSENT


def lenient(value: Json) -> Json:
    """Return plain data in which every mapping is lenient."""
    if isinstance(value, dict):
        return Lenient(
            {key: lenient(item) if isinstance(item, dict | list) else item for key, item in value.items()}
        )
    return [lenient(item) for item in value] if isinstance(value, list) else value


def text_of(value: object) -> str:
    """Return a value as a reader wants it: lists with commas, mappings as JSON, nothing as a dash.

    Raises:
        TypeError: it is neither plain data nor undefined, but a function or the like.
    """
    if isinstance(value, str):
        return str(value)
    if value is None:
        return str(ABSENT)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        items = cast("list[object]", value)
        if not any(isinstance(item, dict | list | tuple) for item in items):
            return ", ".join(text_of(item) for item in items)
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value).decode()
    if isinstance(value, int | float | Undefined):
        return str(value)
    raise TypeError(f"a {type(value).__name__} cannot be printed")


class Syntax(msgspec.Struct, frozen=True):
    """One file type: how it writes text, and how it writes a link."""

    text: Callable[[str], str]
    link: Callable[[str, str], str]
    bare_numbers: bool = False

    def writer(self) -> Callable[[Any], str]:
        """Return a function that writes any value; what is markup already stays as it is."""
        text, bare_numbers = self.text, self.bare_numbers

        def write(value: Any) -> str:
            if type(value) is str:
                return text(value)
            if isinstance(value, Markup):
                return value
            if bare_numbers and isinstance(value, int | float) and math.isfinite(value):
                return text_of(value)
            return text(text_of(value))

        return write


def _html_link(url: str, text: str) -> str:
    label = escape(clean(text) or url)
    return f'<a href="{escape(url)}">{label}</a>' if is_web_url(url) else label


def _text_link(url: str, text: str) -> str:
    if not is_web_url(url):
        return clean(text)
    return f"{clean(text)}: {url}" if text else url


SYNTAXES = {
    ".json": Syntax(marked, marked_link, bare_numbers=True),
    ".html": Syntax(lambda text: str(escape(clean(text))), _html_link),
    ".md": Syntax(escape_markdown, markdown_link),
    ".txt": Syntax(clean, _text_link),
}
"""The file types a template can have."""


class _Printed(str):
    """Data for a template of another environment, where printing goes through `str`."""

    __slots__ = ("shown",)

    shown: str

    def __str__(self) -> str:
        """Return the data as the file type writes it."""
        return self.shown

    __html__ = __str__


def printed_data(value: Json, syntax: Syntax) -> Json:
    """Return plain data whose texts print themselves as the file type writes them."""
    if isinstance(value, str):
        printed = _Printed(value)
        printed.shown = syntax.text(value)
        return printed
    if isinstance(value, dict):
        return Lenient({key: printed_data(item, syntax) for key, item in value.items()})
    return [printed_data(item, syntax) for item in value] if isinstance(value, list) else value
