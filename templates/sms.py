r"""Text messages: what one segment holds, and how a notification is put in one line of it.

160 characters of GSM-7 (3GPP TS 23.038; `^ { } \ [ ] ~ | €` count twice), or 70 UTF-16 units where one
character is outside that alphabet. Parts of a longer message hold 153 and 67.
"""

from .meter import note_cut
from .text import cut, one_line

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[]~|€\f")

_TYPEWRITER = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032`\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2022\u00b7", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f\u3000", " "),
        "\u2026": "...",
        "\u00d7": "x",
        "\u2192": "->",
        "\u2190": "<-",
    }
)
"""Typographic characters that would double the price of a message, and what a typewriter has for them."""

ONE_PART = 160
TWO_PARTS = 2 * 153
TWO_UNICODE_PARTS = 2 * 67
"""Septets of one part and of two, and UTF-16 units of two (3GPP TS 23.040; see `channels.segments`)."""

_LONG_LINK = 70
_LONGEST_BODY = 2000


def gsm(text: str) -> str:
    """Write a text in GSM-7 if typographic characters are all that stands against it."""
    plain = text.translate(_TYPEWRITER)
    return plain if is_gsm(plain) else text


def is_gsm(text: str) -> bool:
    """Whether a text needs nothing but GSM-7."""
    return all(character in _BASIC or character in _EXTENDED for character in text)


def length(text: str) -> int:
    """Return what a text takes of a message: septets in GSM-7, else UTF-16 units."""
    return _septets(text) if is_gsm(text) else _units(text)


def _septets(text: str) -> int:
    return len(text) + sum(character in _EXTENDED for character in text)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def sms_line(body: str, lead: str = "", link: str = "") -> str:
    """Put a notification in one line.

    The lead (status and job) and the link stay whole, the body is cut. One part is aimed at, two where the
    link is long or the text is outside GSM-7: one part of 70 characters would say nothing.
    """
    told, lead, link = body, one_line(lead), one_line(link)
    body = gsm(one_line(body[:_LONGEST_BODY]))
    most = len(body) + max(0, len(told) - _LONGEST_BODY)
    whole = gsm(_spaced(lead, body, link))
    if is_gsm(whole):
        lead, body = gsm(lead), gsm(body)
        measure, end, limit = _septets, "...", TWO_PARTS if len(link) > _LONG_LINK else ONE_PART
    else:
        measure, end, limit = _units, "…", TWO_UNICODE_PARTS
    if measure(whole) <= limit:
        return whole
    room = limit - measure(_spaced(lead, end, link))
    while body and measure(body) > room:
        # A character takes two units at most, so half of what is too much is never too much to drop.
        body = cut(body, len(body) - max(1, (measure(body) - room) // 2), "")
    # The share of what would be shown: a sign that is spelled out has many characters there.
    note_cut(told, -(-len(told) * (most - len(body)) // most) if most else 0)
    return _spaced(lead, body.rstrip() + end if body else "", link)


def _spaced(*parts: str) -> str:
    return " ".join(part for part in parts if part)
