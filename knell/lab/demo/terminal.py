"""The terminal: a heading for each chapter, a line for each thing that happens, a table at the end."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from unicodedata import east_asian_width

from knell.lab.demo.cast import ALL
from knell.lab.demo.figures import Figures
from knell.lab.demo.ledger import Ledger
from knell.lab.demo.reporter import Line, Tone
from knell.templates.wording import Catalog, msg

NUMBER = 9
"""Columns of a number in a table."""

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
        self.text(self._styled(text, _DIM))

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
        counts = [
            (
                *(ledger.arrived[channel], ledger.messages[channel]),
                *(figures.retries(channel), figures.restarts(channel)),
                lacking[channel],
            )
            for channel in ALL
        ]
        sums = tuple(sum(column) for column in zip(*counts, strict=True))
        told = self._words.fill("%(count)s events told", count=ledger.events)
        rows = [(told, [*(self._words(head) for head in _HEADS), missing])]
        names = (*ALL, self._words("all"))
        rows += [
            (name, [str(count) for count in row]) for name, row in zip(names, (*counts, sums), strict=True)
        ]
        self._table(rows)

    def text(self, text: str, tone: Tone | None = None) -> None:
        """Print words."""
        self._out.write((self._styled(text, _COLORS[tone]) if tone else text) + "\n")
        self._out.flush()

    def _table(self, rows: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Print rows, each a name and its numbers; the first row is the head."""
        first = max(width(name) for name, _ in rows)
        widths = [max(NUMBER, width(head)) for head in rows[0][1]]
        self.text("")
        for index, (name, cells) in enumerate(rows):
            filled = [" " * (most - width(cell)) + cell for cell, most in zip(cells, widths, strict=True)]
            text = "  ".join([name + " " * (first - width(name)), *filled])
            self.text(text if index else self._styled(text, _BOLD))
        self.text("")

    def _styled(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._color and text else text


def width(text: str) -> int:
    """Return the columns a text takes: Chinese and Japanese characters take two."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
