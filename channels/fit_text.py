"""Cutting a text that is written in a provider's markup, or that is yet to be written in it.

A cut lies between graphemes and is marked by "…". It leaves no half entity, link or escape, and what follows
a code block that was cut open is no code: the block is closed.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from ..templates.text import cut

Cutter = Callable[[str, int], str]
"""Returns at most so many characters of a text."""

_FENCE = "```"
_PART_OF_FENCE = r"(?<!`)`{1,2}…\Z"
_HALF_MRKDWN = re.compile(rf"(?:&[a-z]{{0,3}}|<(?:[a-z]+:|[!@#])[^<>]*)…\Z|{_PART_OF_FENCE}")
_HALF_MARKDOWN = re.compile(
    rf"(?<!\\)(?:\\\\)*(\\)…\Z|(?<!\\)\[(?:[^\[\]\\]|\\.)*\]\([^()\s]*…\Z|(?<!\\){_PART_OF_FENCE}"
)
"""The rest of what was cut in two: an entity or a link; an escape or a link; the fence of a code block."""


def says(text: Any) -> bool:
    """Whether there is something to read in a text: providers refuse white space alone."""
    return text is not None and bool(str(text).strip())


def shorten(text: str, limit: int) -> str:
    """Cut mrkdwn, Slack's own markup."""
    return text if len(text) <= limit else _closed(text, limit, _HALF_MRKDWN, _FENCE)


def shorten_markdown(text: str, limit: int) -> str:
    """Cut Markdown as Discord reads it, where a fence that ends a block stands on its own line."""
    return text if len(text) <= limit else _closed(text, limit, _HALF_MARKDOWN, f"\n{_FENCE}")


def cut_escaped(text: str, limit: int, escape: Callable[[str], str]) -> str:
    """Cut a text that is yet to be escaped, so that afterwards it is within the limit."""
    if len(text) <= limit and len(escape(text)) <= limit:
        return text
    # No text gets shorter by being escaped, so that of one of megabytes only the beginning counts.
    start = text[: limit + 1]
    fits = bisect_right(range(len(start)), limit, key=lambda length: len(escape(start[:length]))) - 1
    shown = cut(text, fits)
    while len(escape(shown)) > limit:  # where the sign of the cut ends what had no effect before
        fits -= 1
        shown = cut(text, fits)
    return shown


def _closed(text: str, limit: int, half: re.Pattern[str], end: str) -> str:
    shown = _without(half, cut(text, limit))
    if shown.count(_FENCE) % 2 == 0 or limit <= len(end):
        return shown
    shown = _without(half, cut(text, limit - len(end)))
    return shown + end if shown.count(_FENCE) % 2 else shown


def _without(half: re.Pattern[str], shown: str) -> str:
    found = half.search(shown)
    if found is None:
        return shown
    at = found.start(1) if found.re.groups and found.start(1) >= 0 else found.start()
    return shown[:at].rstrip() + "…"
