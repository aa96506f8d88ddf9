"""What the terminal shows."""

from io import StringIO

import pytest

from knell.lab.demo.cast import ALL
from knell.lab.demo.chapters import STORY
from knell.lab.demo.figures import Actor, Channel, Figures
from knell.lab.demo.ledger import Ledger
from knell.lab.demo.reporter import Line, Tone
from knell.lab.demo.terminal import Terminal, width
from knell.lab.demo.words import words

WIDTH = 96
"""Columns that a line may take."""


def printed(out: StringIO) -> list[str]:
    """Return the lines."""
    return out.getvalue().splitlines()


def test_lines_stand_in_columns() -> None:
    """One line for each thing: time, event, channel, what."""
    out = StringIO()
    terminal = Terminal(out, words("en"), color=False)
    terminal.line(Line(1.5, Tone.GOOD, "job_failed", "slack", "ok in 9 ms"))
    terminal.line(Line(12.25, Tone.BAD, "", "webhook", "the actor crashed"))
    assert printed(out) == [
        "  1.50 s  job_failed      slack    ok in 9 ms",
        " 12.25 s                  webhook  the actor crashed",
    ]


def test_colours_are_used_only_where_they_are_wanted() -> None:
    """Without them there is not one control character."""
    plain, coloured = StringIO(), StringIO()
    for out in (plain, coloured):
        Terminal(out, words("en"), color=out is coloured).line(Line(1.0, Tone.BAD, "", "slack", "x"))
    assert "\033" not in plain.getvalue()
    assert "\033[31mx\033[0m" in coloured.getvalue()


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_table_is_straight(lang: str) -> None:
    """Columns end at the same place, whatever the script of their heads."""
    out = StringIO()
    figures = Figures({"channels/slack": Actor(restarts=1)}, {"discord": Channel(retries=51)})
    Terminal(out, words(lang), color=False).summary(Ledger(), figures, words(lang)("lost"))
    rows = [line for line in printed(out) if line]
    assert len({width(row) for row in rows}) == 1
    assert [row.split()[0] for row in rows[1:-1]] == list(ALL)
    assert rows[1].split() == ["slack", "0", "0", "0", "1", "0"]
    assert rows[3].split() == ["discord", "0", "0", "51", "0", "0"]
    assert rows[-1].split()[1:] == ["0", "0", "51", "1", "0"]


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_story_fits_a_terminal(lang: str) -> None:
    """No heading and no text is wider than the terminals of people."""
    out = StringIO()
    terminal = Terminal(out, words(lang), color=False)
    for number, chapter in enumerate(STORY, 1):
        terminal.chapter(f"{number}/6", words(lang)(chapter.title), words(lang)(chapter.text))
    assert [line for line in printed(out) if width(line) > WIDTH] == []


def test_keys_are_named_only_with_a_keyboard() -> None:
    """Without one there is Ctrl-C."""
    out = StringIO()
    terminal = Terminal(out, words("en"), color=False)
    terminal.keys({"f": "A job fails"}, "q")
    terminal.keys({}, "q")
    assert printed(out) == ["f A job fails   q Quit", "Ctrl-C ends it."]
