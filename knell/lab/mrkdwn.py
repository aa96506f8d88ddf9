"""What a reader of Slack sees of a message, and whom it calls."""

import re
from dataclasses import dataclass, field
from typing import Any

from knell.lab.bodies import listing, mapping

_LIVE = re.compile(r"<([^<>]+)>")
_LINK = re.compile(r"(?:https?|mailto|tel|ftp|slack):", re.IGNORECASE)
_BARE_NAME = re.compile(r"@(channel|here|everyone|[a-z0-9._\-]+)", re.IGNORECASE)


@dataclass(slots=True)
class Reading:
    """The lines a reader sees, and who is called."""

    lines: list[str] = field(default_factory=list[str])
    mentions: list[str] = field(default_factory=list[str])
    title: str = ""

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    def add(self, text: object, *, names: bool = False) -> None:
        """Read mrkdwn; with `names` a bare @name is live as well (`link_names`, `parse: full`)."""
        if isinstance(text, str) and text:
            self.lines.append(self.mrkdwn(text, names=names))

    def mrkdwn(self, text: str, *, names: bool = False) -> str:
        """Return mrkdwn as a reader sees it."""
        seen: list[str] = []
        end = 0
        for live in _LIVE.finditer(text):
            seen += [self._plain(text[end : live.start()], names=names), self._special(live[1], live[0])]
            end = live.end()
        return "".join(seen) + self._plain(text[end:], names=names)

    def _plain(self, text: str, *, names: bool) -> str:
        if names:
            text = _BARE_NAME.sub(lambda name: self._mention(name[0]), text)
        return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    def _special(self, inner: str, whole: str) -> str:
        target, _, label = inner.partition("|")
        label = self._plain(label, names=False)
        if target.startswith("!date^"):
            return label
        if target.startswith("!"):
            return self._mention(f"@{target[1:]}")
        if target.startswith("@"):
            return self._mention(target)
        if target.startswith("#"):
            return f"#{label or target[1:]}"
        if _LINK.match(target):
            link = self._plain(target, names=False)
            return f"{label} ({link})" if label else link
        return whole

    def _mention(self, name: str) -> str:
        self.mentions.append(name)
        return f"[MENTION {name}]"


def read(payload: dict[str, Any]) -> Reading:
    """Read a message: its blocks or else its text, then its attachments.

    Beside blocks the top-level text is the push notification: it is not among the lines, but it rings.
    """
    reading = Reading()
    names = bool(payload.get("link_names")) or payload.get("parse") == "full"
    blocks = listing(payload.get("blocks"))
    if blocks:
        notification = payload.get("text")
        if isinstance(notification, str):
            reading.mrkdwn(notification, names=names)
        _read_blocks(blocks, reading)
    else:
        reading.add(payload.get("text"), names=names)
    for attachment in listing(payload.get("attachments")) or []:
        _read_attachment(mapping(attachment) or {}, reading)
    reading.title = reading.title or reading.text.partition("\n")[0]
    return reading


def _read_blocks(blocks: list[Any], reading: Reading) -> None:
    for item in blocks:
        block = mapping(item) or {}
        if block.get("type") == "header" and not reading.title:
            reading.title = str((mapping(block.get("text")) or {}).get("text", ""))
        _read_texts(block, reading)


def _read_texts(value: object, reading: Reading) -> None:
    """Read every text in document order; only mrkdwn knows escapes and mentions."""
    if (items := listing(value)) is not None:
        for inner in items:
            _read_texts(inner, reading)
    elif (item := mapping(value)) is not None:
        text = item.get("text")
        if isinstance(text, str):
            if item.get("type") == "plain_text":
                reading.lines.append(text)
            else:
                reading.add(text)
        for inner in item.values():
            _read_texts(inner, reading)


def _read_attachment(attachment: dict[str, Any], reading: Reading) -> None:
    for name in ("pretext", "author_name", "title", "text"):
        reading.add(attachment.get(name))
    for field_ in listing(attachment.get("fields")) or []:
        for name in ("title", "value"):
            reading.add((mapping(field_) or {}).get(name))
    _read_blocks(listing(attachment.get("blocks")) or [], reading)
    reading.add(attachment.get("footer"))
