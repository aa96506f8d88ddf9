"""What a text costs as SMS: its encoding, its segments, and how to cut it to a number of them.

A segment is 140 octets, 6 of which name its place as soon as there are several: 160 or 153 septets of GSM-7,
70 or 67 units of UCS-2 (3GPP TS 23.038 and 23.040).
"""

import re
from bisect import bisect_right
from enum import Enum

from ..templates.text import cut
from .fit import characters

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The GSM 03.38 basic alphabet: one septet each (3GPP TS 23.038, section 6.2.1)."""

EXTENSION = frozenset("\f^{}\\[~]|€")
"""Characters behind an escape: two septets, and never one of them in each of two segments (6.2.1.1)."""

_SMART = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys(
            "\t\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f", " "
        ),
        **dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""),
        **dict.fromkeys("\u2022\u00b7", "*"),
        "\u2026": "...",
        "\u2039": "<",
        "\u203a": ">",
        "\u2044": "/",
        "\u00d7": "x",
        "\u2192": "->",
    }
)
"""Typographic characters and what says the same in GSM-7."""

LEAST_BEFORE_LINK = 20
"""Characters a link must leave to the text before it: a link alone tells nobody what has happened (ours)."""

_LAST_LINK = re.compile(r"\s+https?://\S+\Z")
_HALF_LINK = re.compile(r"\s\S*https?://\S*\Z")


class Encoding(Enum):
    """How a text goes over the air: units in a single message, and in each part of a longer one."""

    GSM7 = (160, 153)
    UCS2 = (70, 67)

    def __init__(self, single: int, part: int) -> None:
        self.single = single
        self.part = part


def encoding(text: str) -> Encoding:
    """Return GSM-7 where every character has a place in it: one that has not doubles the price of all."""
    return Encoding.GSM7 if BASIC.issuperset(text) or (BASIC | EXTENSION).issuperset(text) else Encoding.UCS2


def segments(text: str, *, toll_free: bool = False) -> int:
    """Return the number of segments a text is charged as; 0 for no text.

    Args:
        text: the message.
        toll_free: sent from a toll-free number of North America, whose parts are one unit shorter (Twilio).
    """
    kind = encoding(text)
    widths = [_width(char, kind) for char in text]
    if sum(widths) <= kind.single:
        return 1 if text else 0
    capacity = kind.part - toll_free
    parts, used = 1, 0
    for width in widths:
        used += width
        if used > capacity:  # neither an escape nor a surrogate pair is torn apart
            parts, used = parts + 1, width
    return parts


def fit(text: str, max_segments: int, *, toll_free: bool = False, cuts: list[str] | None = None) -> str:
    """Return the text as it should be sent: cheaper where that loses nothing, cut where it is too long.

    The cut is between graphemes, and what marks it does not change the encoding. It is added to `cuts`. A
    link at the end stays whole, or goes where it would leave no room: half a link leads nowhere.
    """

    def cost(candidate: str) -> int:
        return segments(candidate, toll_free=toll_free)

    def room(end: str) -> int:
        places = range(len(head) + 1)
        return bisect_right(places, max_segments, key=lambda limit: cost(_shortened(head, limit) + end)) - 1

    whole, most = len(text), max_segments * Encoding.GSM7.single
    head, link = _parted(text, most)
    # More characters than units cannot fit: the rest of a text of megabytes is not even looked at.
    too_long, head = len(head) > most, head[: most + 1]
    plain = head.translate(_SMART), link.translate(_SMART)
    if cost("".join(plain)) < cost(head + link):
        head, link = plain
    if cost(head + link) <= max_segments and not too_long:
        return head + link
    chars = room(link)
    if link and chars < LEAST_BEFORE_LINK:
        link, chars = "", room("")
    shown = _shortened(head, chars)
    if cuts is not None:
        cuts.append(characters("text", whole - len(shown.rstrip(".…")) - len(link), whole))
    return shown + link


def _parted(text: str, most: int) -> tuple[str, str]:
    """Return a text, and the link it ends with, if that has at most so many characters."""
    found = _LAST_LINK.search(text, max(0, len(text) - most))
    return (text[: found.start()], found[0]) if found else (text, "")


def _width(char: str, kind: Encoding) -> int:
    return 1 + (char in EXTENSION if kind is Encoding.GSM7 else char > "\uffff")


def _shortened(text: str, limit: int) -> str:
    kept = cut(text, limit, "")
    if len(kept) < len(text) and not text[len(kept)].isspace():
        kept = _HALF_LINK.sub("", kept)
    kept = kept.rstrip()
    return kept + ("..." if encoding(kept) is Encoding.GSM7 else "\N{HORIZONTAL ELLIPSIS}")
