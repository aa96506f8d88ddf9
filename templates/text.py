"""Text for people: what is taken out of it, what is made visible, where it may be cut."""

import re
import unicodedata

_HAZARD = re.compile("\r\n?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_WEB_URL = re.compile(
    r"https?://(?:[^\s/?#@:\\\[\]<>\"]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:[/?#]\S*)?", re.IGNORECASE
)

MAX_URL = 3000
"""The longest link a Slack button takes (slack_sdk `block_elements.py`)."""

_GLUED = re.compile(
    "\u200d.|.[\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u1160-\u11ff]"
    "|[\u1100-\u115f][\u1100-\u115f\uac00-\ud7a3]|\r\n",
    re.DOTALL,
)
"""Pairs that belong together: joiners, skin tones, tags, Hangul letters; marks are found by category."""

_FLAG_LETTERS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_LONGEST_CLUSTER = 64


def clean(text: str) -> str:
    """Drop control characters but newline and tab, and show bidirectional controls by their code point.

    An override such as U+202E would let a title read as something else than it is.
    """
    return text if text.isprintable() else _HAZARD.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    character = found[0]
    if character[0] == "\r":
        return "\n"
    return f"[U+{ord(character):04X}]" if _BIDI.match(character) else ""


def one_line(text: str) -> str:
    """Put everything on one line, each run of white space as one space."""
    return " ".join(clean(text).split())


def cut(text: str, limit: int, end: str = "…") -> str:
    """Return at most `limit` characters, cut between graphemes and ended by `end` where something is lost."""
    if len(text) <= limit:
        return text
    at = max(limit - len(end), 0)
    for place in range(at, max(at - _LONGEST_CLUSTER, -1), -1):
        if place == 0 or _is_boundary(text, place):
            return text[:place].rstrip() + end[:limit]
    return text[:at] + end[:limit]


def _is_boundary(text: str, at: int) -> bool:
    """Whether a cut before `text[at]` keeps grapheme clusters whole (Unicode UAX #29, rules GB3 to GB13)."""
    pair = text[at - 1 : at + 1]
    if _GLUED.fullmatch(pair) or unicodedata.category(pair[1]).startswith("M"):
        return False
    return pair[1] not in _FLAG_LETTERS or (at - len(text[:at].rstrip(_FLAG_LETTERS))) % 2 == 0


def is_web_url(text: str) -> bool:
    """Whether a link is safe to show: http or https, a host, no user name or password, nothing invisible."""
    return len(text) <= MAX_URL and text.isprintable() and _WEB_URL.fullmatch(text) is not None
