"""Event data in JSON templates: marked while the text is rendered, made harmless where it lands.

Every value a JSON template prints is escaped for JSON and put between two marks, so it can neither end the
string it stands in nor pass for the template's own words. After decoding, each text is a sequence of
literals and data, and the provider's dialect decides what data has to look like there.

The marks are Unicode noncharacters: no text for people holds them, and data that does loses them.
"""

import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import NamedTuple, TypeAlias

import msgspec

OPEN, CLOSE, LINK, OMIT = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
_MARKS = re.compile("[\ufdd0-\ufdd3]")

OMITTED = f'"{OMIT}"'
"""What a template prints as a list item or a value that shall not be there: `{{ omit }}`."""

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
"""Plain data."""

Place = Callable[[str], str | None]
"""Writes a marked text for one place; None where nothing safe can stand there."""

Dialect = Callable[[dict[str, Json], str, str], Place]
"""Finds the place of a text: the mapping that holds it, its key, the key of that mapping."""


class Segment(NamedTuple):
    """A part of a text: the template's own words, event data, or a link made of event data."""

    text: str
    is_data: bool
    url: str = ""


def unmarked(text: str) -> str:
    """Take the marks out of data."""
    return text if text.isprintable() else _MARKS.sub("", text)


def marked(text: str) -> str:
    """Write data into the string of a JSON template."""
    return f"{OPEN}{_escaped(text)}{CLOSE}"


def marked_link(url: str, text: str) -> str:
    """Write a link into the string of a JSON template; the dialect gives it its form."""
    return f"{OPEN}{LINK}{_escaped(url)}{LINK}{_escaped(text)}{CLOSE}"


def _escaped(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return encode_basestring(unmarked(text))[1:-1]


def marked_json(value: Json) -> str:
    """Write a whole value as JSON, with every text in it marked as data."""
    return msgspec.json.encode(_marked_tree(value)).decode()


def _marked_tree(value: Json) -> Json:
    if isinstance(value, str):
        return f"{OPEN}{unmarked(value)}{CLOSE}"
    if isinstance(value, dict):
        return {unmarked(str(key)): _marked_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_marked_tree(item) for item in value]
    return value


def segments(text: str) -> list[Segment]:
    """Take a marked text apart.

    Marks out of order (a template has turned a text around or cut it) make the whole text data.
    """
    literal, *rest = text.split(OPEN)
    found = [Segment(literal, is_data=False)]
    for part in rest:
        data, _, after = part.partition(CLOSE)
        found += (_data(data), Segment(after, is_data=False))
    if any(CLOSE in segment.text for segment in found):
        return [Segment(_MARKS.sub("", text), is_data=True)]
    return [segment for segment in found if segment.text or segment.url]


def _data(text: str) -> Segment:
    if not text.startswith(LINK):
        return Segment(_MARKS.sub("", text), is_data=True)
    url, _, label = text[1:].partition(LINK)
    return Segment(label, is_data=True, url=url)


def settle(tree: dict[str, Json], dialect: Dialect) -> dict[str, Json]:
    """Return a decoded template with its data written for the provider and its omitted parts left out."""
    settled = _settled_mapping(tree, dialect, "")
    return {} if isinstance(settled, _Gone) else settled


class _Gone:
    """The type of what shall not be there."""


_GONE = _Gone()


def _settled(node: Json, dialect: Dialect, under: str) -> Json | _Gone:
    if isinstance(node, dict):
        return _settled_mapping(node, dialect, under)
    if isinstance(node, list):
        return _settled_list(node, dialect, under)
    if isinstance(node, str) and not node.isprintable():
        return _settled_text(node, dialect({}, under, under))
    return node


def _settled_mapping(node: dict[str, Json], dialect: Dialect, under: str) -> dict[str, Json] | _Gone:
    result: dict[str, Json] = {}
    for key, value in node.items():
        if OPEN in key:
            raise ValueError(f"event data cannot name a key: {unmarked(key)!r}")
        if type(value) is str:
            written = value if value.isprintable() else _settled_text(value, dialect(node, key, under))
        elif type(value) is dict or type(value) is list:
            written = _settled(value, dialect, key)
        else:
            written = value
        if not isinstance(written, _Gone):
            result[key] = written
        elif key in _ESSENTIAL and node.get("type") in _LINK_ELEMENTS:
            return _GONE
    if len(result) < len(node) and under and not result.keys() - {"type", "block_id"}:
        return _GONE
    return result


_LINK_ELEMENTS = ("button", "image", "video", "link", 2)
"""What is pointless without its link: Slack's elements, and Discord's button (component type 2)."""

_ESSENTIAL = frozenset({"url", "image_url", "video_url"})


def _settled_list(node: list[Json], dialect: Dialect, under: str) -> list[Json] | _Gone:
    result = [value for item in node if not isinstance(value := _settled(item, dialect, under), _Gone)]
    return result if result or not node else _GONE


def _settled_text(text: str, place: Place) -> str | _Gone:
    if text == OMIT:
        return _GONE
    if OPEN not in text and CLOSE not in text:
        return text
    written = place(text)
    return _GONE if written is None else written
