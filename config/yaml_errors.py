"""What the YAML parser complains of, in plain words and at the place a person has to change.

PyYAML has two parsers, one on libyaml and one in Python, that word their complaints differently, so the
words come from what they were doing and from the character at the place.
"""

from typing import Any

from .problems import Problem
from .tree import MAX_DEPTH, Mark, Source

_BEGINNING, _END = True, False

_RULES = (
    # while (in PyYAML's words), complaint, where to point, what is wrong, advice
    ("", "nesting depth", _END, f"nested deeper than {MAX_DEPTH}", ""),  # libyaml counts before we can
    ("quoted scalar", "escape", _BEGINNING, "an unknown escape in this text", "use single quotes, or \\\\"),
    ("quoted scalar", "hex", _BEGINNING, "an unknown escape in this text", "use single quotes, or \\\\"),
    ("quoted scalar", "", _BEGINNING, "this quote is never closed", ""),
    ("block scalar", "", _END, "nothing but '-' or '+' may follow '|' and '>'", ""),
    ("alias", "", _BEGINNING, "{char} must be followed by a name", "put text that starts with it in quotes"),
    ("anchor", "", _BEGINNING, "{char} must be followed by a name", "put text that starts with it in quotes"),
    ("tag", "", _BEGINNING, "tags are not supported", "leave out what starts with '!'"),
    ("flow", "", _BEGINNING, "what {char} opens is never closed, or a ',' is missing in it", ""),
    ("next token", "", _END, "{char} cannot start a value", "put it in quotes"),
    ("block node", "", _END, "{char} cannot start a value", "put it in quotes"),
    (
        "",
        "mapping values",
        _END,
        "a second ':' in one value",
        "put it in quotes, or check the indentation",
    ),
    ("", "sequence entries", _END, "a list cannot start here", "begin it on a line of its own"),
    ("", "expected ':'", _BEGINNING, "expected 'key: value'", ""),
    ("block", "", _END, "does not fit the lines above", "check the indentation"),
)


def in_plain_words(error: Any, source: Source, opened: Mark | None = None) -> Problem:
    """Translate a `yaml.MarkedYAMLError`; `opened` is the innermost bracket that is still open."""
    context, complaint = str(error.context or ""), str(error.problem or "cannot be read")
    end = _mark(error.problem_mark or error.context_mark, source)
    beginning = _mark(error.context_mark, source) if error.context_mark else end
    if "flow" in context and opened is not None:
        beginning = opened
    if "next token" in context and _chars(end) == "\t":
        return end.problem("a tab in the indentation", "use spaces")
    if "flow" in context and _chars(end, before=1) == "${":
        return end.problem("'{' opens a mapping here", "put ${...} in quotes inside [...] and {...}")
    for doing, said, where, message, hint in _RULES:
        if doing in context and said in complaint:
            mark = beginning if where is _BEGINNING else end
            return mark.problem(message.format(char=repr(_chars(mark))), hint)
    return end.problem(complaint)


def _mark(found: Any, source: Source) -> Mark:
    return Mark(source, found.line + 1, found.column + 1)


def _chars(mark: Mark, *, before: int = 0) -> str:
    """Return the character at a place, with as many before it as wanted."""
    line = mark.source.lines[mark.line - 1] if mark.line <= len(mark.source.lines) else ""
    return line[max(0, mark.column - 1 - before) : mark.column]
