"""Event data in JSON templates: marked while the text is rendered, made harmless where it lands.

Every value a JSON template prints is escaped for JSON and put between two marks, so it can neither end the
string it stands in nor pass for the template's own words. After decoding, each text is a sequence of
literals and data, and the provider's dialect decides what data has to look like there.

The marks are Unicode noncharacters: no text for people holds them, and data that does loses them.
"""

import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import TypeAlias

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


Part = tuple[str, bool, str]
"""A part of a text, whether it is event data, and the address if it is a link made of event data."""


def unmarked(text: str) -> str:
    """Take the marks out of data."""
    return text if text.isprintable() else _MARKS.sub("", text)


def marked(text: str) -> str:
    """Write data into the string of a JSON template."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f"{OPEN}{text}{CLOSE}"
    return f"{OPEN}{_escaped(text)}{CLOSE}"


def marked_link(url: str, text: str) -> str:
    """Write a link into the string of a JSON template; the dialect gives it its form."""
    return f"{OPEN}{LINK}{_escaped(url)}{LINK}{_escaped(text)}{CLOSE}"


def _escaped(text: str) -> str:
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


def parts(text: str) -> list[Part]:
    """Take a marked text apart.

    Marks out of order (a template has turned a text around or cut it) make the whole text data.
    """
    literal, *rest = text.split(OPEN)
    if CLOSE in literal or any(piece.count(CLOSE) != 1 for piece in rest):
        return [(_MARKS.sub("", text), True, "")]
    found: list[Part] = [(literal, False, "")] if literal else []
    for piece in rest:
        data, _, after = piece.partition(CLOSE)
        if data[:1] == LINK:
            url, _, label = data[1:].partition(LINK)
            found.append((label, True, url))
        elif data:
            found.append((data, True, ""))
        if after:
            found.append((after, False, ""))
    return found


def settle(tree: dict[str, Json], dialect: Dialect) -> dict[str, Json]:
    """Write the data of a decoded template for the provider, in place, and leave out what is omitted."""
    _settle_mapping(tree, dialect, "")
    return tree


class _Gone:
    """The type of what shall not be there."""


_GONE = _Gone()


def _settled(node: Json, dialect: Dialect, under: str) -> Json | _Gone:
    if isinstance(node, dict):
        return _settle_mapping(node, dialect, under)
    if isinstance(node, list):
        kept = [value for item in node if not isinstance(value := _settled(item, dialect, under), _Gone)]
        return kept if kept or not node else _GONE
    if isinstance(node, str) and not node.isprintable():
        return _settled_text(node, dialect({}, under, under))
    return node


def _settle_mapping(node: dict[str, Json], dialect: Dialect, under: str) -> dict[str, Json] | _Gone:
    gone: list[str] = []
    written: Json | _Gone
    for key, value in node.items():
        if not key.isascii() and OPEN in key:
            raise ValueError(f"event data cannot name a key: {unmarked(key)!r}")
        if type(value) is str:
            if value.isprintable():
                continue
            written = _settled_text(value, dialect(node, key, under))
        elif type(value) is dict or type(value) is list:
            written = _settled(value, dialect, key)
        else:
            continue
        if isinstance(written, _Gone):
            gone.append(key)
        else:
            node[key] = written
    return _without(node, gone, under) if gone else node


_LINK_ELEMENTS = ("button", "image", "video", "link", 2)
"""What is pointless without its link: Slack's elements, and Discord's button (component type 2)."""

_ESSENTIAL = frozenset({"url", "image_url", "video_url"})


def _without(node: dict[str, Json], gone: list[str], under: str) -> dict[str, Json] | _Gone:
    """Leave keys out; an inner mapping altogether where nothing but its type remains."""
    if node.get("type") in _LINK_ELEMENTS and not _ESSENTIAL.isdisjoint(gone):
        return _GONE
    for key in gone:
        del node[key]
    return _GONE if under and not node.keys() - {"type", "block_id"} else node


def _settled_text(text: str, place: Place) -> str | _Gone:
    if text == OMIT:
        return _GONE
    if OPEN not in text and CLOSE not in text:
        return text
    written = place(text)
    return _GONE if written is None else written
