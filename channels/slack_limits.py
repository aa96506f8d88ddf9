"""The limits of Slack, and a message laid out under them (slack_sdk `models/`, bolt-js #2509)."""

from collections.abc import Callable
from functools import partial
from typing import Any

from knell.messages import FormattedMessage, MessageFormat

from ..templates.text import cut
from .base import titles
from .fit import (
    Json,
    Limits,
    Rule,
    Rules,
    is_list,
    is_object,
    lay_out,
    left_out,
    mappings,
    replaced,
    shortened,
)
from .fit_file import with_file
from .fit_text import Cutter, cut_escaped, says, shorten, shorten_markdown
from .fit_usual import form, is_usual, some, string

MAX_TEXT = 40_000
"""Slack's top-level text is cut here (slack_sdk `models/messages/message.py`)."""

MAX_BLOCKS, MAX_ATTACHMENTS, MAX_FOOTER = 50, 100, 300
"""bolt-js #2509; slack_sdk `message.py`; grafana/alerting's Slack receiver."""

MAX_BLOCK_TEXT = 12_000
"""All texts of the blocks together: undocumented, refused from about 13,172 on (bolt-js #2509)."""

_ESCAPED = 5
"""Characters that escaping makes of one at most: `&amp;`."""

_COMMON: Rules = {
    "block_id": Rule(255, whole=True),
    "action_id": Rule(255, whole=True),
    "placeholder": Rule(150),
    "options": Rule(items=100),
    "option_groups": Rule(items=100),
}
_KINDS: dict[str, dict[str, Rule]] = {
    "header": {"text": Rule(150)},
    "section": {"text": Rule(3_000), "fields": Rule(2_000, 10)},
    "context": {"elements": Rule(3_000, 10)},
    "actions": {"elements": Rule(items=25)},
    "markdown": {"text": Rule(12_000, cut=shorten_markdown)},
    "image": {"alt_text": Rule(2_000), "title": Rule(2_000), "image_url": Rule(3_000, whole=True)},
    "button": {"text": Rule(75), "url": Rule(3_000, whole=True), "value": Rule(2_000, whole=True)},
    "confirm": {"title": Rule(100), "text": Rule(300), "confirm": Rule(30), "deny": Rule(30)},
}
"""By an object's type, or by the key it lies under when it has none (slack_sdk `models/blocks/blocks.py`,
`block_elements.py`, `basic_components.py`)."""

_NEEDS: dict[str, tuple[frozenset[str], ...]] = {
    "header": (frozenset({"text"}),),
    "markdown": (frozenset({"text"}),),
    "section": (frozenset({"text", "fields"}),),
    "context": (frozenset({"elements"}),),
    "actions": (frozenset({"elements"}),),
    "button": (frozenset({"text"}),),
    "image": (frozenset({"alt_text"}), frozenset({"image_url", "slack_file"})),
    "plain_text": (frozenset({"text"}),),
    "mrkdwn": (frozenset({"text"}),),
}


def _kind(value: Json, key: str) -> str:
    kind = value.get("type")
    return kind if isinstance(kind, str) else key


def _counts(_kind: str, key: str) -> bool:
    return key in {"text", "alt_text"}


def _note(kind: str, key: str, missing: int) -> Json | None:
    text: Json = {"type": "mrkdwn", "text": left_out(missing)}
    if (kind, key) in {("section", "fields"), ("context", "elements")}:
        return text
    return {"type": "context", "elements": [text]} if key == "blocks" else None


_LIMITS = Limits(
    total=MAX_BLOCK_TEXT,
    kinds={kind: {**_COMMON, **rules} for kind, rules in _KINDS.items()},
    kind=_kind,
    counts=_counts,
    note=_note,
    common=_COMMON,
    texts={"plain_text": cut, "mrkdwn": shorten},
    needs=_NEEDS,
    ranks={"header": 2, "actions": 2, "section": 1, "markdown": 1, "rich_text": 1, "image": 1},
    empty=False,
)


def fit_slack(message: FormattedMessage, escape: Callable[[str], str], *, files: bool) -> FormattedMessage:
    """Return a message within Slack's limits, and report in its `cuts` what is missing.

    Args:
        message: with content of any format.
        escape: what `send` does to plain text.
        files: whether a file can go with the message.
    """
    cuts: list[str] = []
    content = message.content
    if isinstance(content, dict):
        fitted: str | Json = _with_text(fit_content(content, cuts), message, escape)
    else:
        is_plain = message.format is MessageFormat.TEXT
        cutter: Cutter = partial(cut_escaped, escape=escape) if is_plain else shorten
        title = titles(message.events)
        text = content if says(content) else (title if is_plain else escape(title))
        fitted = shortened(text, MAX_TEXT, "text", cuts, cutter)
    return with_file(message, fitted, cuts, files=files)


def _with_text(content: Json, message: FormattedMessage, escape: Callable[[str], str]) -> Json:
    """Give a message without a text the one Slack shows as its notification, where titles are too long."""
    if says(content.get("text")) or len(titles(message.events)) * _ESCAPED <= MAX_TEXT:
        return content
    return {**content, "text": escape(cut_escaped(titles(message.events), MAX_TEXT, escape))}


def fit_content(content: Json, cuts: list[str]) -> Json:
    """Return the content of a message within Slack's limits; what is missing is added to `cuts`."""
    fitted = content
    if isinstance(text := content.get("text"), str) and len(text) > MAX_TEXT:
        fitted = {**fitted, "text": shortened(text, MAX_TEXT, "text", cuts, shorten)}
    if "blocks" in content:
        fitted = _with_blocks(fitted, "", cuts)
    if "attachments" in content:
        fitted = _with_attachments(fitted, cuts)
    return fitted


def _with_blocks(holder: Json, path: str, cuts: list[str]) -> Json:
    blocks = holder["blocks"]
    if _fits(blocks) or not is_list(blocks):
        return holder
    laid = lay_out(_without_repeated_ids(blocks), "blocks", _LIMITS, MAX_BLOCKS)
    cuts += [path + what for what in laid.cuts]
    return replaced(holder, "blocks", laid.value)


def _with_attachments(content: Json, cuts: list[str]) -> Json:
    given = mappings(content["attachments"])
    kept = [_attachment(item, f"attachments[{at}]", cuts) for at, item in enumerate(given[:MAX_ATTACHMENTS])]
    if missing := len(given) - len(kept):
        cuts.append(f"attachments: {missing} of {len(given)} left out")
    return replaced(content, "attachments", kept)


def _attachment(value: Json, path: str, cuts: list[str]) -> Json:
    if isinstance(footer := value.get("footer"), str) and len(footer) > MAX_FOOTER:
        value = {**value, "footer": shortened(footer, MAX_FOOTER, f"{path}.footer", cuts, shorten)}
    return _with_blocks(value, f"{path}.", cuts) if "blocks" in value else value


def _without_repeated_ids(blocks: list[Any]) -> list[Any]:
    """Leave out what must be unique within a message: the first keeps it."""
    seen: set[str] = set()
    kept: list[Any] = []
    for block in blocks:
        name = block.get("block_id") if is_object(block) else None
        repeated = isinstance(name, str) and name in seen
        kept.append({key: item for key, item in block.items() if key != "block_id"} if repeated else block)
        seen.add(str(name))
    return kept


def _fits(blocks: Any) -> bool:
    if not is_usual(blocks, _USUAL, MAX_BLOCK_TEXT):
        return False
    return not any(block["type"] == "section" and block.keys().isdisjoint(_SECTION) for block in blocks)


_SECTION = ("text", "fields")


def _text(kind: str, key: str) -> Any:
    text = {"text": string(_KINDS[kind][key].chars, 1)}
    return form("plain_text", text, tagged=True, emoji=bool) | form(
        "mrkdwn", text, tagged=True, verbatim=bool
    )


def _texts(kind: str, key: str) -> Any:
    return some(_text(kind, key), _KINDS[kind][key].items, 1)


def _usual() -> Any:
    url = string(_KINDS["button"]["url"].chars, 1)
    button = form("button", {"text": _text("button", "text")}, tagged=True, url=url, style=str)
    buttons = some(button, _KINDS["actions"]["elements"].items, 1)
    about: dict[str, Any] = {"text": _text("section", "text"), "fields": _texts("section", "fields")}
    return some(
        form("header", {"text": _text("header", "text")}, tagged=True)
        | form("section", {}, tagged=True, accessory=button, **about)
        | form("context", {"elements": _texts("context", "elements")}, tagged=True)
        | form("actions", {"elements": buttons}, tagged=True)
        | form("divider", {}, tagged=True),
        MAX_BLOCKS,
        1,
    )


_USUAL = _usual()
