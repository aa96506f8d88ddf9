"""A finding about the configuration, with its place and the source line it is about."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn
from unicodedata import east_asian_width

from knell.errors import ConfigError

_WIDTH = 110
"""Most characters of a source line that are shown; a window around the caret of a longer one."""

_LONGEST = 1000
"""Characters of the longest line that is shown at all; people write no longer ones."""

_KEY = re.compile(r"""(?<![\w-])([\w-]++)["']?\s*+:\s++(?=\S)""")
_TELLING = re.compile(
    "passw|passphrase|secret|token|credential|authorization|api[_-]?key|private[_-]?key"
    "|webhook_url|account_sid|dsn",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"""["']?\$\{[^{}]*\}["']?\s*(?:[,\]}#]|$)""")
_CREDENTIAL = re.compile(
    r"""(://)[^/\s"'@]++(@)|(hooks\.slack\.com/|/api/webhooks/|\bxox[a-z]-|\bwhsec_|\bBearer\s+)(?!\$\{)[^\s"']+"""
)
"""The account in a URL, and what providers' credentials look like."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: where, what, and what would be right.

    `line` and `column` count from 1; both are 0 when the finding is about a whole file, and when the
    settings came as a mapping, whose key `path` then names. `excerpt` is the source line with its caret.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    excerpt: str = ""
    path: str = ""

    @property
    def where(self) -> str:
        """The place in the form editors and terminals can jump to."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.path or self.file

    def __str__(self) -> str:
        """Read as one line for a log, then the source line and the caret."""
        text = ", ".join(filter(None, (f"{self.where}: {self.message}", self.hint)))
        return f"{text}\n{self.excerpt}" if self.excerpt else text


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return each finding once, by file and position."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda found: (found.file, found.line, found.column)))


def refuse(problems: Iterable[Problem]) -> NoReturn:
    """Raise a `ConfigError` that holds and prints every finding."""
    found = in_order(problems)
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    raise ConfigError("\n".join((f"{count} in the configuration", *map(str, found))), found)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the hint for a misspelt word, or nothing when no known word is near."""
    close = get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def excerpt(line: str, column: int, *, hidden: bool = False) -> str:
    """Return a source line and a line with a caret under the column (from 1).

    What looks like a credential is masked; with `hidden` everything from the column on is. Of a line too
    long for people nothing is shown: what of it would be a credential is hard to tell.
    """
    if len(line) > _LONGEST:
        return ""
    before, after = line[: column - 1], line[column - 1 :]
    if hidden:
        after = "***"
    elif (masked := _masked(line)) != line:
        before, after = _cut_in_common(masked, before)
    start = max(0, len(before) - _WIDTH * 2 // 3)
    shown = "".join(map(_printable, before[start:]))
    caret = "".join(map(_blank, shown))
    return f"  {shown}{''.join(map(_printable, after[: _WIDTH - len(shown)]))}\n  {caret}^"


def _masked(line: str) -> str:
    """Mask what may be a credential in a line: people are shown it, and it lands in logs."""
    for key in _KEY.finditer(line):
        if _TELLING.search(key[1]) and not _REFERENCE.match(line, key.end()):
            line = f"{line[: key.end()]}***"
            break
    return _CREDENTIAL.sub(lambda found: f"{found[1] or found[3]}***{found[2] or ''}", line)


def _cut_in_common(masked: str, before: str) -> tuple[str, str]:
    """Split a masked line at the caret, or at its end when the caret stands in what is masked."""
    if masked.startswith(before):
        return before, masked[len(before) :]
    return masked, ""


def _printable(char: str) -> str:
    return char if char.isprintable() or char == "\t" else "\ufffd"


def _blank(char: str) -> str:
    """Return white space as wide as a character, so that the caret stands under its column."""
    if char == "\t":
        return char
    return "  " if east_asian_width(char) in "WF" else " "
