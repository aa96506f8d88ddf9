"""YAML without surprises: one meaning per text, every place known, and no bomb goes off.

PyYAML parses; what its loader would make of the result is replaced. Only `true` and `false` are booleans,
only numbers as JSON writes them are numbers, so `no`, `on`, `12:30`, `0123`, `1_000` and `+81...` stay text
(YAML 1.2 instead of 1.1). Duplicate keys, tags and several documents are errors. Aliases share the tree
of their anchor, so that a file cannot grow while it is read, and what they stand for is counted.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from .problems import Problem
from .tree import MAX_DEPTH, Items, Leaf, Mark, Node, Source, Table
from .yaml_errors import in_plain_words

MAX_BYTES = 1024 * 1024
MAX_ALIASES = 64
"""Of one file; ours. Nobody writes so much by hand, and an alias multiplies what it stands for."""

MAX_VALUES = 20_000
"""Values in one file with every alias counted as what it stands for; 200 lines have about 150."""

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,31})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,31})(?:\.[0-9]{1,32})?(?:[eE][-+]?[0-9]{1,2})?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path, problems: list[Problem]) -> Node | None:
    """Read a file of settings.

    Returns:
        Its tree, or nothing when it cannot be read at all. Findings are added to `problems` either way.
    """
    source = Source(str(path), (), path.parent)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        problems.append(Mark(source).problem(f"cannot be read: {getattr(error, 'strerror', None) or error}"))
        return None
    if len(raw) > MAX_BYTES:
        problems.append(Mark(source).problem(f"larger than {MAX_BYTES} bytes"))
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.append(Mark(source, raw.count(b"\n", 0, error.start) + 1, 1).problem("not UTF-8 text"))
        return None
    return parse(text, str(path), problems, folder=path.parent)


def parse(text: str, name: str, problems: list[Problem], *, folder: Path | None = None) -> Node | None:
    """Read settings from text; `name` is what findings call the file."""
    source = Source(name, tuple(_LINE_BREAK.split(text)), folder or Path())
    if (found := _UNPRINTABLE.search(text)) is not None:
        before = _LINE_BREAK.split(text[: found.start()])
        mark = Mark(source, len(before), len(before[-1]) + 1)
        problems.append(mark.problem(f"a character that cannot be printed (U+{ord(found[0]):04X})"))
        return None
    reader = _Reader(source, problems)
    try:
        return reader.document(text)
    except _Refused as refused:
        problems.append(refused.problem)
    except yaml.MarkedYAMLError as error:
        problems.append(in_plain_words(error, source, reader.brackets[-1] if reader.brackets else None))
    return None


class _Refused(Exception):  # noqa: N818 - it ends the reading, it is no error of the program
    """The file cannot be read any further."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem


class _Reader:
    """Turns the parser's events into a tree, one recursion per level, at most `MAX_DEPTH` of them."""

    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.aliases = 0
        self.values = 0
        self.brackets: list[Mark] = []

    def document(self, text: str) -> Node:
        events: Iterator[Event] = iter(yaml.parse(text, _PARSER))
        root: Node = Table({}, Mark(self.source, 1, 1), Mark(self.source, 1, 1))
        documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(self._mark(event).problem("a second document: one file holds one"))
                root = self._node(next(events), events, 0)
        if isinstance(root, Leaf) and root.value is None:
            return Table({}, root.at, root.key)
        return root

    def _node(self, event: Event, events: Iterator[Event], depth: int, key: Mark | None = None) -> Node:
        mark = self._mark(event)
        if isinstance(event, AliasEvent):
            return replace(self._shared(event, mark), key=key or mark)
        self._count(1, mark)
        if getattr(event, "tag", None) is not None:
            raise _Refused(mark.problem("tags are not supported", "leave out what starts with '!'"))
        anchor: str | None = getattr(event, "anchor", None)
        before = self.values
        if anchor is not None:
            self.anchors[anchor] = None
        node = self._value(event, events, depth, mark, key or mark)
        if anchor is not None:
            self.anchors[anchor] = node, self.values - before + 1
        return node

    def _value(self, event: Event, events: Iterator[Event], depth: int, mark: Mark, key: Mark) -> Node:
        if isinstance(event, ScalarEvent):
            return Leaf(self._scalar(event, mark), mark, key)
        if depth >= MAX_DEPTH:
            raise _Refused(mark.problem(f"nested deeper than {MAX_DEPTH}"))
        if flow := bool(getattr(event, "flow_style", False)):
            self.brackets.append(mark)
        node: Node
        if isinstance(event, MappingStartEvent):
            node = Table(self._entries(events, depth + 1), mark, key)
        else:
            node = Items(self._items(events, depth + 1), mark, key)
        if flow:
            self.brackets.pop()
        return node

    def _items(self, events: Iterator[Event], depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            items.append(self._node(event, events, depth))
        return items

    def _entries(self, events: Iterator[Event], depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        defaults: dict[str, Node] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            mark = self._mark(event)
            if not isinstance(event, ScalarEvent) or event.tag is not None:
                raise _Refused(mark.problem("a key must be text"))
            value = self._node(next(events), events, depth, mark)
            if event.value == "<<" and not event.style:
                defaults = {**self._merged(value, mark), **defaults}
            elif event.value in entries:
                first = entries[event.value].key.line
                self.problems.append(mark.problem(f"duplicate key {event.value!r}, first in line {first}"))
            else:
                entries[event.value] = value
        return {**defaults, **entries} if defaults else entries

    def _merged(self, value: Node, mark: Mark) -> dict[str, Node]:
        """Return the keys that `<<:` brings in; of several mappings the first one wins."""
        tables = value.items if isinstance(value, Items) else [value]
        merged: dict[str, Node] = {}
        for table in tables:
            if not isinstance(table, Table):
                raise _Refused(mark.problem("'<<' takes a mapping, as in '<<: *name'"))
            merged = {**table.entries, **merged}
        return merged

    def _shared(self, event: AliasEvent, mark: Mark) -> Node:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _Refused(mark.problem(f"more than {MAX_ALIASES} aliases"))
        if event.anchor not in self.anchors:
            raise _Refused(mark.problem(f"nothing above is named '&{event.anchor}'", _IN_QUOTES))
        anchored = self.anchors[event.anchor]
        if anchored is None:
            raise _Refused(mark.problem(f"'*{event.anchor}' stands within what it names"))
        node, size = anchored
        self._count(size, mark)
        return node

    def _count(self, values: int, mark: Mark) -> None:
        self.values += values
        if self.values > MAX_VALUES:
            raise _Refused(mark.problem(f"more than {MAX_VALUES} values, aliases included"))

    def _scalar(self, event: ScalarEvent, mark: Mark) -> Any:
        text: str = event.value
        if event.style:
            return text
        if text in _WORDS:
            if not text:
                self._check_comment(mark)
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _check_comment(self, mark: Mark) -> None:
        """Report `channel: #ops`: YAML takes the name of the channel for a comment."""
        line = self.source.lines[mark.line - 1] if mark.line <= len(self.source.lines) else ""
        found = re.match(r"[\s:,-]*(#[^\s#]\S*)", line[max(0, mark.column - 1) :])
        if found:
            place = replace(mark, column=max(1, mark.column) + found.start(1))
            self.problems.append(
                place.problem("a comment where a value belongs", "put text with '#' in quotes")
            )

    def _mark(self, event: Event) -> Mark:
        start: Any = event.start_mark
        return Mark(self.source, start.line + 1, start.column + 1)


_IN_QUOTES = "put text that starts with '*' in quotes"
