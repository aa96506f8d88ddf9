"""What Slack accepts as Block Kit: types, properties, limits (slack_sdk `models/blocks`, bolt-js #2509)."""

import re
from collections.abc import Callable
from typing import Any

from knell.lab.bodies import listing, mapping

BLOCKS = 50
FIELDS, CONTEXT_ELEMENTS, ACTION_ELEMENTS, OPTIONS = 10, 10, 25, 100
HEADER_TEXT, SECTION_TEXT, FIELD_TEXT, MARKDOWN_TEXT = 150, 3_000, 2_000, 12_000
IMAGE_URL, IMAGE_WORDS = 3_000, 2_000
BUTTON_TEXT, BUTTON_URL, BUTTON_VALUE, IDENTIFIER = 75, 3_000, 2_000, 255
CONFIRM = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
PLACEHOLDER = 150

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(//)?[^\s/]\S*")
_OTHER_BLOCKS = {"rich_text", "video", "file", "input", "table"}
_SELECTS = {
    f"{prefix}{kind}_select"
    for prefix in ("", "multi_")
    for kind in ("static", "external", "users", "conversations", "channels")
}
_OTHER_ELEMENTS = {
    "overflow",
    "datepicker",
    "timepicker",
    "datetimepicker",
    "checkboxes",
    "radio_buttons",
    "workflow_button",
}

Rule = Callable[[dict[str, Any], str], None]


class BlockError(ValueError):
    """Why Slack says `invalid_blocks`, with a JSON pointer."""

    def __init__(self, at: str, problem: str) -> None:
        super().__init__(f"{at}: {problem}")


def check(blocks: object) -> None:
    """Check the blocks of one message.

    Raises:
        BlockError: Slack would refuse them.
    """
    items = _items(blocks, "/blocks", BLOCKS)
    seen: set[str] = set()
    for place, item in enumerate(items):
        at = f"/blocks/{place}"
        block = _object(item, at)
        _block(block, at)
        block_id = block.get("block_id")
        if block_id is not None:
            _string(block_id, f"{at}/block_id", IDENTIFIER)
            if block_id in seen:
                raise BlockError(f"{at}/block_id", "used twice")
            seen.add(block_id)


def total_text(value: object) -> int:
    """Count the characters of all texts in blocks."""
    if (items := listing(value)) is not None:
        return sum(total_text(item) for item in items)
    if (item := mapping(value)) is None:
        return 0
    own = item.get("text")
    counted = len(own) if isinstance(own, str) else 0
    return counted + sum(total_text(inner) for inner in item.values())


def _block(block: dict[str, Any], at: str) -> None:
    kind = block.get("type")
    if rule := _BLOCK_RULES.get(str(kind)):
        rule(block, at)
    elif kind not in _OTHER_BLOCKS:
        raise BlockError(f"{at}/type", f"unsupported block type {kind!r}")


def _header(block: dict[str, Any], at: str) -> None:
    _only(block, at, "text", "block_id", "level")
    _text(block.get("text"), f"{at}/text", HEADER_TEXT, plain=True)


def _section(block: dict[str, Any], at: str) -> None:
    _only(block, at, "text", "fields", "accessory", "expand", "block_id")
    if "text" not in block and "fields" not in block:
        raise BlockError(at, "a section needs text or fields")
    if "text" in block:
        _text(block["text"], f"{at}/text", SECTION_TEXT)
    if "fields" in block:
        for place, field in enumerate(_items(block["fields"], f"{at}/fields", FIELDS)):
            _text(field, f"{at}/fields/{place}", FIELD_TEXT)
    if "accessory" in block:
        _element(_object(block["accessory"], f"{at}/accessory"), f"{at}/accessory")


def _context(block: dict[str, Any], at: str) -> None:
    _only(block, at, "elements", "block_id")
    for place, item in enumerate(_items(block.get("elements"), f"{at}/elements", CONTEXT_ELEMENTS)):
        where = f"{at}/elements/{place}"
        element = _object(item, where)
        if element.get("type") == "image":
            _element(element, where)
        else:
            _text(element, where, SECTION_TEXT)


def _actions(block: dict[str, Any], at: str) -> None:
    _only(block, at, "elements", "block_id")
    seen: set[str] = set()
    for place, item in enumerate(_items(block.get("elements"), f"{at}/elements", ACTION_ELEMENTS)):
        where = f"{at}/elements/{place}"
        element = _object(item, where)
        if element.get("type") == "image":
            raise BlockError(where, "an image is no action")
        _element(element, where)
        action = element.get("action_id")
        if action in seen:
            raise BlockError(f"{where}/action_id", "used twice in one block")
        if action is not None:
            seen.add(action)


def _image(block: dict[str, Any], at: str) -> None:
    _only(block, at, "image_url", "slack_file", "alt_text", "title", "block_id")
    _picture(block, at)
    if "title" in block:
        _text(block["title"], f"{at}/title", IMAGE_WORDS, plain=True)


def _markdown(block: dict[str, Any], at: str) -> None:
    _only(block, at, "text", "block_id")
    _string(block.get("text"), f"{at}/text", MARKDOWN_TEXT)


def _divider(block: dict[str, Any], at: str) -> None:
    _only(block, at, "block_id")


def _element(element: dict[str, Any], at: str) -> None:
    kind = element.get("type")
    if "action_id" in element:
        _string(element["action_id"], f"{at}/action_id", IDENTIFIER)
    if "confirm" in element:
        _confirm(_object(element["confirm"], f"{at}/confirm"), f"{at}/confirm")
    if kind == "button":
        _button(element, at)
    elif kind == "image":
        _only(element, at, "image_url", "slack_file", "alt_text")
        _picture(element, at)
    elif kind in _SELECTS:
        _select(element, at)
    elif kind not in _OTHER_ELEMENTS:
        raise BlockError(f"{at}/type", f"unsupported element type {kind!r}")


def _button(button: dict[str, Any], at: str) -> None:
    _only(button, at, "text", "action_id", "url", "value", "style", "confirm", "accessibility_label")
    _text(button.get("text"), f"{at}/text", BUTTON_TEXT, plain=True)
    if "url" in button:
        _url(button["url"], f"{at}/url", BUTTON_URL)
    if "value" in button:
        _string(button["value"], f"{at}/value", BUTTON_VALUE)
    if button.get("style", "primary") not in {"primary", "danger"}:
        raise BlockError(f"{at}/style", "must be primary or danger")


def _select(element: dict[str, Any], at: str) -> None:
    if "placeholder" in element:
        _text(element["placeholder"], f"{at}/placeholder", PLACEHOLDER, plain=True)
    for name in ("options", "option_groups"):
        if name in element:
            _items(element[name], f"{at}/{name}", OPTIONS)


def _confirm(dialog: dict[str, Any], at: str) -> None:
    _only(dialog, at, *CONFIRM, "style")
    for name, limit in CONFIRM.items():
        _text(dialog.get(name), f"{at}/{name}", limit, plain=name != "text")


def _picture(image: dict[str, Any], at: str) -> None:
    if "slack_file" not in image:
        _url(image.get("image_url"), f"{at}/image_url", IMAGE_URL)
    _string(image.get("alt_text"), f"{at}/alt_text", IMAGE_WORDS)


def _text(value: object, at: str, limit: int, *, plain: bool = False) -> None:
    text = _object(value, at)
    kinds = {"plain_text": "emoji"} if plain else {"plain_text": "emoji", "mrkdwn": "verbatim"}
    kind = text.get("type")
    if kind not in kinds:
        raise BlockError(f"{at}/type", f"must be {' or '.join(kinds)}")
    _only(text, at, "text", kinds[kind])
    _string(text.get("text"), f"{at}/text", limit)


def _url(value: object, at: str, limit: int) -> None:
    if not _URL.fullmatch(_string(value, at, limit)):
        raise BlockError(at, "must be a valid URL")


def _string(value: object, at: str, limit: int) -> str:
    if not isinstance(value, str):
        raise BlockError(at, "must be a string")
    if not 0 < len(value) <= limit:
        raise BlockError(at, f"must have 1 to {limit} characters, has {len(value)}")
    return value


def _items(value: object, at: str, limit: int) -> list[Any]:
    items = listing(value)
    if items is None or not 0 < len(items) <= limit:
        raise BlockError(at, f"must be a list of 1 to {limit} items")
    return items


def _object(value: object, at: str) -> dict[str, Any]:
    if (found := mapping(value)) is None:
        raise BlockError(at, "must be an object")
    return found


def _only(value: dict[str, Any], at: str, *names: str) -> None:
    for name in value:
        if name != "type" and name not in names:
            raise BlockError(at, f"invalid additional property: {name}")


_BLOCK_RULES: dict[str, Rule] = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "markdown": _markdown,
    "divider": _divider,
}
