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

_ZWJ = "\u200d"
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
    for place in range(at, max(at - _LONGEST_CLUSTER, 0), -1):
        if _is_boundary(text, place):
            return text[:place].rstrip() + end[:limit]
    return text[:at] + end[:limit]


def _is_boundary(text: str, at: int) -> bool:
    """Whether a cut before `text[at]` keeps grapheme clusters whole (Unicode UAX #29, rules GB3 to GB13)."""
    left, right = text[at - 1], text[at]
    if left == _ZWJ or right == _ZWJ or _extends(right) or (left, right) == ("\r", "\n"):
        return False
    if _is_jamo(left, 0x1100, 0x115F) and (
        _is_jamo(right, 0x1100, 0x11FF) or _is_jamo(right, 0xAC00, 0xD7A3)
    ):
        return False
    if _is_jamo(right, 0x1160, 0x11FF):
        return False
    return not (_is_flag(left) and _is_flag(right) and _flags_before(text, at) % 2)


def _extends(character: str) -> bool:
    code = ord(character)
    return (
        unicodedata.category(character)[0] == "M" or 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F
    )


def _is_jamo(character: str, first: int, last: int) -> bool:
    return first <= ord(character) <= last


def _is_flag(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _flags_before(text: str, at: int) -> int:
    start = at
    while start > 0 and _is_flag(text[start - 1]):
        start -= 1
    return at - start


def is_web_url(text: str) -> bool:
    """Whether a link is safe to show: http or https, a host, no user name or password, nothing invisible."""
    return len(text) <= MAX_URL and text.isprintable() and _WEB_URL.fullmatch(text) is not None
