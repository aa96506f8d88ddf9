"""Cutting a message to the limits of Slack and Discord, which refuse the whole message for one character.

In this order: each text is shortened between graphemes, ended by "…"; surplus items go from the end, and a
note says how many; and where a sum is over its limit the longest texts give way first, so that a button
behind a long description survives. What is within the limits stays byte for byte. A character is a code
point, as in slack_sdk.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from copy import deepcopy
from operator import is_
from typing import Any, NamedTuple, TypeGuard

from ..templates.text import cut

Json = dict[str, Any]
Slot = tuple[Json, str]
"""Where a text is: the object, and the key in it."""

MAX_TEXT = 40_000
"""Slack's top-level text is cut here (slack_sdk `models/messages/message.py`)."""

MAX_BLOCKS, MAX_ATTACHMENTS, MAX_FOOTER = 50, 100, 300
"""bolt-js #2509; slack_sdk `message.py`; grafana/alerting's Slack receiver."""

MAX_BLOCK_TEXT = 12_000
"""All texts of the blocks together: undocumented, refused from about 13,172 on (bolt-js #2509)."""


class _Rule(NamedTuple):
    """What one key of an object may hold.

    Attributes:
        chars: of the text, or of each text in the list.
        items: in the list; a note tells of more where there is a place for it.
        whole: the text means something else when it is cut, so it is left out instead.
    """

    chars: int | None = None
    items: int | None = None
    noted: bool = False
    whole: bool = False


_Rules = dict[str, _Rule]
_FREE = _Rule()
_COMMON: _Rules = {
    "block_id": _Rule(255, whole=True),
    "action_id": _Rule(255, whole=True),
    "placeholder": _Rule(150),
    "options": _Rule(items=100),
    "option_groups": _Rule(items=100),
}
_BUTTON = {"text": _Rule(75), "url": _Rule(3_000, whole=True), "value": _Rule(2_000, whole=True)}
_SLACK: dict[str, _Rules] = {
    "header": _COMMON | {"text": _Rule(150)},
    "section": _COMMON | {"text": _Rule(3_000), "fields": _Rule(2_000, 10, noted=True)},
    "context": _COMMON | {"elements": _Rule(3_000, 10, noted=True)},
    "actions": _COMMON | {"elements": _Rule(items=25)},
    "markdown": _COMMON | {"text": _Rule(12_000)},
    "image": _COMMON
    | {"alt_text": _Rule(2_000), "title": _Rule(2_000), "image_url": _Rule(3_000, whole=True)},
    "button": _COMMON | _BUTTON,
    "confirm": _COMMON | {"title": _Rule(100), "text": _Rule(300), "confirm": _Rule(30), "deny": _Rule(30)},
}
"""By an object's type, or by the key it lies under when it has none (slack_sdk `models/blocks/blocks.py`,
`block_elements.py`, `basic_components.py`)."""

_NEEDS: dict[str, tuple[set[str], ...]] = {
    "header": ({"text"},),
    "markdown": ({"text"},),
    "section": ({"text", "fields"},),
    "context": ({"elements"},),
    "actions": ({"elements"},),
    "button": ({"text"},),
    "image": ({"alt_text"}, {"image_url", "slack_file"}),
    "plain_text": ({"text"},),
    "mrkdwn": ({"text"},),
}
"""One key of each set, or Slack refuses the message: an empty description must not cost the rest."""

MAX_CONTENT, MAX_EMBEDS, MAX_FIELDS, MAX_EMBED_TEXT = 2_000, 10, 25, 6_000
"""Discord's limits; the last is the sum over all embeds (discord-api-docs, message resource)."""

_EMBED_TEXTS = {"title": 256, "description": 4_096}
_EMBED_PARTS = {"footer": ("text", 2_048), "author": ("name", 256)}
_FIELD_TEXTS = {"name": 256, "value": 1_024}
_BLANK = "\u200b"
"""Discord refuses an empty field name or value; a zero-width space is neither empty nor visible."""

_LEAST = 40
"""Characters worth keeping of a text: before all shrink below it, an item is dropped (ours)."""

_MAX_DEPTH = 32
_BROKEN = re.compile(r"(?:&[a-z]{0,3}|<(?:[a-z]+:|[!@#])[^<>]*)…\Z")
"""The rest of an entity or a link that was cut in two."""


def fit_slack(content: Json) -> Json:
    """Return the content of a Slack message within Slack's limits."""
    fitted = dict(content)
    if isinstance(text := content.get("text"), str):
        fitted["text"] = shorten(text, MAX_TEXT)
    if "blocks" in content:
        _put(fitted, "blocks", _blocks(content["blocks"]))
    if attachments := _mappings(content.get("attachments")):
        fitted["attachments"] = [_attachment(item) for item in attachments[:MAX_ATTACHMENTS]]
    return fitted


def fit_discord(content: Json) -> Json:
    """Return the content of a Discord message within Discord's limits."""
    fitted = dict(content)
    if isinstance(text := content.get("content"), str):
        fitted["content"] = cut(text, MAX_CONTENT)
    if embeds := [_embed(item) for item in _mappings(content.get("embeds"))]:
        fitted["embeds"] = _within(embeds, MAX_EMBEDS, MAX_EMBED_TEXT, _embed_slots, _embed_note)
    return fitted


def shorten(text: str, limit: int) -> str:
    """Cut mrkdwn without leaving half an entity or half a link."""
    return text if len(text) <= limit else _BROKEN.sub("…", cut(text, limit))


def cut_escaped(text: str, limit: int, escape: Callable[[str], str]) -> str:
    """Cut a text that is yet to be escaped, so that afterwards it is within the limit."""
    if len(escape(text)) <= limit:
        return text
    fits = bisect_right(range(len(text)), limit, key=lambda length: len(escape(text[:length]))) - 1
    return cut(text, fits)


def _blocks(value: Any) -> Any:
    blocks = _part(value, _FREE, "blocks", 0)
    if not _is_list(blocks):
        return blocks
    return _within(_without_repeated_ids(blocks), MAX_BLOCKS, MAX_BLOCK_TEXT, _block_slots, _block_note)


def _attachment(value: Json) -> Json:
    fitted = dict(value)
    if isinstance(footer := value.get("footer"), str):
        fitted["footer"] = shorten(footer, MAX_FOOTER)
    if "blocks" in value:
        _put(fitted, "blocks", _blocks(value["blocks"]))
    return fitted


def _part(value: Any, rule: _Rule, key: str, depth: int) -> Any:
    """Return a part of the blocks with every limit but the sum kept; None for what must be left out.

    What is within the limits is returned itself, not copied: that is nearly all of nearly every message.
    """
    if isinstance(value, str):
        if rule.chars is None or 0 < len(value) <= rule.chars:
            return value
        return None if rule.whole else shorten(value, rule.chars) or None
    if _is_list(value):
        return None if depth > _MAX_DEPTH else _list(value, rule, key, depth)
    if _is_object(value):
        return None if depth > _MAX_DEPTH else _object(value, rule, key, depth)
    return value


def _list(values: list[Any], rule: _Rule, key: str, depth: int) -> list[Any] | None:
    parts = [_part(value, rule, key, depth + 1) for value in values]
    items = [part for part in parts if part is not None]
    if rule.items is not None and len(items) > rule.items:
        kept = rule.items - rule.noted
        note = {"type": "mrkdwn", "text": _left_out(len(items) - kept)}
        items = items[:kept] + [note] * rule.noted
    unchanged = len(items) == len(values) and all(map(is_, items, values))
    return (values if unchanged else items) or None


def _object(value: Json, rule: _Rule, key: str, depth: int) -> Json | None:
    kind = value.get("type")
    kind = kind if isinstance(kind, str) else key
    rules = _SLACK.get(kind, _COMMON)
    # The limit of a text object is the limit of where it stands.
    inherits = kind in {"plain_text", "mrkdwn"}
    changes: Json = {}
    for name, item in value.items():
        own = rule if inherits and name == "text" else rules.get(name, _FREE)
        if (part := _part(item, own, name, depth + 1)) is not item:
            changes[name] = part
    if changes:
        value = {name: item for name, item in {**value, **changes}.items() if item is not None}
    return value if all(not keys.isdisjoint(value) for keys in _NEEDS.get(kind, ())) else None


def _without_repeated_ids(blocks: list[Any]) -> list[Any]:
    seen: set[str] = set()
    kept: list[Any] = []
    for block in blocks:
        name = _mapping(block).get("block_id")
        repeated = isinstance(name, str) and name in seen
        kept.append({key: item for key, item in block.items() if key != "block_id"} if repeated else block)
        seen.add(str(name))
    return kept


def _embed(value: Json) -> Json:
    fitted = dict(value)
    for key, limit in _EMBED_TEXTS.items():
        if isinstance(text := value.get(key), str):
            fitted[key] = cut(text, limit)
    for part, (key, limit) in _EMBED_PARTS.items():
        if isinstance(text := _mapping(value.get(part)).get(key), str):
            fitted[part] = {**value[part], key: cut(text, limit)}
    fields = [_field(item) for item in _mappings(value.get("fields"))]
    if len(fields) > MAX_FIELDS:
        more = {"name": _BLANK, "value": _left_out(len(fields) - MAX_FIELDS + 1)}
        fields = [*fields[: MAX_FIELDS - 1], more]
    if fields:
        fitted["fields"] = fields
    return fitted


def _field(value: Json) -> Json:
    texts = {key: str(value.get(key) or "") for key in _FIELD_TEXTS}
    return {
        **value,
        **{key: cut(text, _FIELD_TEXTS[key]) if text.strip() else _BLANK for key, text in texts.items()},
    }


def _within(
    items: list[Any],
    most: int,
    budget: int,
    slots: Callable[[list[Any]], list[Slot]],
    note: Callable[[int], Json],
) -> list[Any]:
    """Return at most so many items whose texts have at most `budget` characters together."""
    kept = len(items) if len(items) <= most else most - 1
    while True:
        shown = items[:kept] + ([note(len(items) - kept)] if kept < len(items) else [])
        longest = _level([len(holder[key]) for holder, key in slots(shown)], budget)
        if longest is None:
            return shown
        if longest >= _LEAST:
            shown = deepcopy(shown)
            for holder, key in slots(shown):
                holder[key] = shorten(holder[key], longest)
            return shown
        kept -= 1


def _level(lengths: list[int], budget: int) -> int | None:
    """Return how long the longest texts may be so that all fit; None when they fit as they are."""
    if sum(lengths) <= budget:
        return None
    room, rest = budget, len(lengths)
    for length in sorted(lengths):
        if length * rest > room:
            break
        room, rest = room - length, rest - 1
    return room // rest


def _block_slots(value: Any) -> list[Slot]:
    slots: list[Slot] = []
    left = [value]
    while left:
        holder = left.pop()
        if _is_list(holder):
            left += holder
        elif _is_object(holder):
            for key, item in holder.items():
                if not isinstance(item, str):
                    left.append(item)
                elif key in {"text", "alt_text"}:
                    slots.append((holder, key))
    return slots


def _embed_slots(embeds: list[Any]) -> list[Slot]:
    holders: list[Slot] = []
    for embed in embeds:
        holders += [(embed, key) for key in _EMBED_TEXTS]
        holders += [(_mapping(embed.get(part)), key) for part, (key, _) in _EMBED_PARTS.items()]
        holders += [(field, key) for field in _mappings(embed.get("fields")) for key in _FIELD_TEXTS]
    return [(holder, key) for holder, key in holders if isinstance(holder.get(key), str)]


def _block_note(left_out: int) -> Json:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": _left_out(left_out)}]}


def _embed_note(left_out: int) -> Json:
    return {"description": _left_out(left_out)}


def _left_out(count: int) -> str:
    """Say in any language that there was more."""
    return f"… +{count}"


def _put(target: Json, key: str, value: Any) -> None:
    if value is None:
        target.pop(key, None)
    else:
        target[key] = value


def _mapping(value: Any) -> Json:
    return value if _is_object(value) else {}


def _mappings(value: Any) -> list[Json]:
    """Return the objects of a list; whatever else is in it, no provider would take."""
    return [item for item in value if _is_object(item)] if _is_list(value) else []


def _is_object(value: Any) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
