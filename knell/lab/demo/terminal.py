"""The terminal: a heading for each chapter, a line for each thing that happens, a table at the end."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Protocol
from unicodedata import east_asian_width

from knell.lab.demo.cast import ALL
from knell.lab.demo.figures import Figures
from knell.lab.demo.ledger import Ledger
from knell.lab.demo.reporter import Line, Tone
from knell.templates.wording import Catalog, msg

WIDTH = 92
"""Columns of running text."""

_COLORS = {Tone.GOOD: "32", Tone.WAIT: "33", Tone.BAD: "31", Tone.PLAIN: "36"}
_BOLD, _DIM = "1", "2"
_HEADS = (msg("delivered"), msg("messages"), msg("retries"), msg("restarts"))


class Out(Protocol):
    """What can be written to."""

    def write(self, text: str, /) -> object:
        """Write a text."""

    def flush(self) -> object:
        """Let it be seen."""


class Terminal:
    """Writes for people.

    Args:
        out: where to.
        words: the language.
        color: whether colours may be used.
    """

    def __init__(self, out: Out, words: Catalog, *, color: bool) -> None:
        self._out = out
        self._words = words
        self._color = color

    def opening(self, url: str) -> None:
        """Say what this is, and where the page is."""
        what = self._words("a fake Slack, mail server, Discord, webhook receiver and phone on 127.0.0.1")
        self.text(f"{self._styled('knell demo', _BOLD)}: {what}")
        self.text(self._words("Nothing leaves this machine, and nothing stays on it."))
        if url:
            self.text(f"\n{self._words('Open')} {self._styled(url, _BOLD)}")

    def chapter(self, number: str, title: str, text: str) -> None:
        """Begin a chapter."""
        self.text("\n" + self._styled(f"{number}  {title}".strip(), _BOLD))
        for part in wrap(text, WIDTH) if text.isascii() else [text]:
            self.text(self._styled(part, _DIM))

    def keys(self, labels: Mapping[str, str], quit_key: str) -> None:
        """Name the keys there are; without a keyboard there is only Ctrl-C."""
        if not labels:
            self.text(self._words("Ctrl-C ends it."))
            return
        named = {**labels, quit_key: msg("Quit")}
        self.text("   ".join(f"{self._styled(key, _BOLD)} {self._words(named[key])}" for key in named))

    def line(self, line: Line) -> None:
        """Print one thing that happened."""
        time = self._styled(f"{line.at:6.2f} s", _DIM)
        text = self._styled(line.text, _COLORS[line.tone])
        self.text(f"{time}  {line.event:<14}  {line.channel:<7}  {text}")

    def summary(self, ledger: Ledger, figures: Figures, missing: str) -> None:
        """Print what became of all events; `missing` heads the column of what has not arrived."""
        lacking = ledger.missing()
        rows = [
            [
                *(ledger.arrived[channel], ledger.messages[channel]),
                *(figures.retries(channel), figures.restarts(channel)),
                lacking[channel],
            ]
            for channel in ALL
        ]
        told = self._words.fill("%(count)s events told", count=ledger.events)
        heads = [self._words(word) for word in _HEADS] + [missing]
        names = [told, *ALL, self._words("all")]
        body = [[str(n) for n in row] for row in (*rows, [sum(column) for column in zip(*rows, strict=True)])]
        first = max(_width(name) for name in names)
        self.text("")
        for name, cells in zip(names, [heads, *body], strict=True):
            filled = "  ".join(
                _right(cell, max(9, _width(head))) for cell, head in zip(cells, heads, strict=True)
            )
            text = f"{name}{' ' * (first - _width(name))}  {filled}"
            self.text(self._styled(text, _BOLD) if cells is heads else text)
        self.text("")

    def text(self, text: str, tone: Tone | None = None) -> None:
        """Print words."""
        self._out.write((self._styled(text, _COLORS[tone]) if tone else text) + "\n")
        self._out.flush()

    def _styled(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._color and text else text


def _width(text: str) -> int:
    """Return the columns a text takes: Chinese and Japanese characters take two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _right(text: str, width: int) -> str:
    return " " * (width - _width(text)) + text
