"""Text for people: what is taken out of it, what is made visible, where it may be cut."""

import re

from wcwidth import grapheme_boundary_before

_HAZARD = re.compile("\r\n?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_WEB_URL = re.compile(
    r"https?://(?:[^\s/?#@:\\\[\]<>\"]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?(?:[/?#]\S*)?", re.IGNORECASE
)

MAX_URL = 3000
"""The longest link a Slack button takes (slack_sdk `block_elements.py`)."""

_LONGEST_CLUSTER = 64
"""Code points of one character that is kept whole; ours: a stack of a thousand accents is no character."""


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
    """Return at most `limit` code points, cut between graphemes and ended by `end` if something is lost."""
    if len(text) <= limit:
        return text
    at = max(limit - len(end), 0)
    boundary = grapheme_boundary_before(text, at + 1)  # Unicode UAX #29
    if at - boundary >= _LONGEST_CLUSTER:
        return text[:at] + end[:limit]
    return text[:boundary].rstrip() + end[:limit]


def is_web_url(text: str) -> bool:
    """Whether a link is safe to show: http or https, a host, no user name or password, nothing invisible."""
    return len(text) <= MAX_URL and text.isprintable() and _WEB_URL.fullmatch(text) is not None
