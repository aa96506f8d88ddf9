from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from knell.config import strict_yaml
from knell.config.problems import Problem
from knell.config.tree import Leaf, Table, child, find, plain

PARSERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


@pytest.fixture(params=PARSERS, ids=lambda parser: parser.__name__)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test with libyaml's parser and with the one in Python."""
    monkeypatch.setattr(strict_yaml, "_PARSER", request.param)


def _parsed(text: str) -> Any:
    problems = list[Problem]()
    tree = strict_yaml.parse(text, "n.yaml", problems)
    assert problems == []
    assert tree is not None
    return plain(tree)


def _complaints(text: str) -> list[tuple[int, int, str]]:
    problems = list[Problem]()
    strict_yaml.parse(text, "n.yaml", problems)
    assert problems
    return [(found.line, found.column, found.message) for found in problems]


SCALARS = [
    ("true", True),
    ("false", False),
    ("True", "True"),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("off", "off"),
    ("NO", "NO"),
    ("y", "y"),
    ("null", None),
    ("~", None),
    ("Null", "Null"),
    ("0", 0),
    ("-17", -17),
    ("587", 587),
    ("0123", "0123"),
    ("0o17", "0o17"),
    ("0x1f", "0x1f"),
    ("+5", "+5"),
    ("+819012345678", "+819012345678"),
    ("1_000", "1_000"),
    ("12:30:00", "12:30:00"),
    ("1.5", 1.5),
    ("-2e3", -2000.0),
    ("1.", "1."),
    (".5", ".5"),
    (".inf", ".inf"),
    (".nan", ".nan"),
    ("1e999", "1e999"),
    ("9" * 5000, "9" * 5000),
    ("1.2.3", "1.2.3"),
    ("2025-01-01", "2025-01-01"),
    ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
    ("=", "="),
    ("'5'", "5"),
    ('"true"', "true"),
    ("':robot:'", ":robot:"),
    (":robot_face", ":robot_face"),
    ("${VAR:-x}", "${VAR:-x}"),
    ("a#b", "a#b"),
    ("''", ""),
]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_a_scalar_means_one_thing(text: str, value: object) -> None:
    """Only true and false are booleans, only JSON's numbers are numbers; everything else is text."""
    got = _parsed(f"key: {text}")["key"]
    assert (type(got), got) == (type(value), value)


ERRORS = [
    ("a: b: c", 1, 5, "a second ':' in one value"),
    ("icon_emoji: :robot_face:", 1, 24, "a second ':' in one value"),
    ("a: 1\n b: 2", 2, 3, "a second ':' in one value"),
    ("a: [1, 2", 1, 4, "what '[' opens is never closed, or a ',' is missing in it"),
    ("a: {b: 1\nc: 2", 1, 4, "what '{' opens is never closed, or a ',' is missing in it"),
    ("a: [", 1, 4, "what '[' opens is never closed, or a ',' is missing in it"),
    ("a: {b: [1,\n\n", 1, 8, "what '[' opens is never closed, or a ',' is missing in it"),
    ("a: {b: [], c: [1], d:\n", 1, 4, "what '{' opens is never closed, or a ',' is missing in it"),
    ("a: {b: c d: e}", 1, 4, "what '{' opens is never closed, or a ',' is missing in it"),
    ("a: [1]]", 1, 7, "does not fit the lines above"),
    ("a: ]", 1, 4, "']' cannot start a value"),
    ("a: - b", 1, 4, "a list cannot start here"),
    ("a: |x\n b", 1, 5, "nothing but '-' or '+' may follow '|' and '>'"),
    ("a: !<x", 1, 4, "tags are not supported"),
    ('a: "\\x1"', 1, 4, "an unknown escape in this text"),
    ('a: "\n---\n"', 1, 4, "this quote is never closed"),
    ('a: "x', 1, 4, "this quote is never closed"),
    ("a: 'x\nb: 1", 1, 4, "this quote is never closed"),
    ('a: "\\q"', 1, 4, "an unknown escape in this text"),
    ("a:\n\tb: 1", 2, 1, "a tab in the indentation"),
    ("a: @x", 1, 4, "'@' cannot start a value"),
    ("a: %x", 1, 4, "'%' cannot start a value"),
    ("a: `x`", 1, 4, "'`' cannot start a value"),
    ("a:\n  - *", 2, 5, "'*' must be followed by a name"),
    ("a: & b", 1, 4, "'&' must be followed by a name"),
    ("a: {b: ${X}}", 1, 9, "'{' opens a mapping here"),
    ("a: 1\n- b", 2, 1, "does not fit the lines above"),
    ("a:\n  - b\n c: d", 3, 2, "does not fit the lines above"),
    ("a: 1\nb\nc: 2", 2, 1, "expected 'key: value'"),
    ("a: 1\na: 2", 2, 1, "duplicate key 'a', first in line 1"),
    ("x:\n  a: 1\n  'a': 2\n  \"a\": 3", 3, 3, "duplicate key 'a', first in line 2"),
    ("? [a]\n: b", 1, 3, "a key must be text"),
    ("a: &x {b: 1}\n*x : 2", 2, 1, "a key must be text"),
    ("a: !!python/object:os.system x", 1, 4, "tags are not supported"),
    ("a: !secret x", 1, 4, "tags are not supported"),
    ("a: !!int '5'", 1, 4, "tags are not supported"),
    ("a: 1\n---\nb: 2", 2, 1, "a second document: one file holds one"),
    ("a: *nobody", 1, 4, "nothing above is named '&nobody'"),
    ("a: &self [*self]", 1, 11, "'*self' stands within what it names"),
    ("a: 1\n<<: 5", 2, 1, "'<<' takes a mapping, as in '<<: *name'"),
    ("a: x\nb: \x07", 2, 4, "a character that cannot be printed (U+0007)"),
    ("slack:\n  channel: #ops\n  b: 1", 2, 12, "a comment where a value belongs"),
    ("to: [#ops\n]\na:\n  - #ops", 4, 5, "a comment where a value belongs"),
]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("text", "line", "column", "message"), ERRORS)
def test_an_error_is_placed_and_put_in_plain_words(text: str, line: int, column: int, message: str) -> None:
    """Both parsers lead to the same words at the place a person has to change."""
    assert _complaints(text)[0] == (line, column, message)


def test_every_duplicate_key_is_reported() -> None:
    """The first one does not hide the others."""
    assert _complaints("a: 1\na: 2\nb: {c: 1, c: 2, c: 3}") == [
        (2, 1, "duplicate key 'a', first in line 1"),
        (3, 11, "duplicate key 'c', first in line 3"),
        (3, 17, "duplicate key 'c', first in line 3"),
    ]


def test_a_comment_after_an_empty_value_is_allowed_when_it_looks_like_one() -> None:
    """Only `#word` without a space is likely to be meant as text."""
    assert _parsed("filters: # none yet\nb: 1") == {"filters": None, "b": 1}


def test_an_empty_file_is_an_empty_mapping() -> None:
    """A file of comments alone is no error."""
    assert _parsed("") == _parsed("# nothing\n") == {}


def test_keys_and_values_know_their_places() -> None:
    """Places are what every later finding points at."""
    tree = strict_yaml.parse("a:\n  - b: 通知\n    'c': [1, x]\n", "n.yaml", [])
    assert tree is not None
    node = find(tree, ("a", 0, "c", 1))[0]
    assert (node.at.line, node.at.column) == (3, 14)
    inner = find(tree, ("a", 0, "c"))[0]
    assert (inner.key.line, inner.key.column, inner.at.column) == (3, 5, 10)


def test_an_alias_means_what_its_anchor_means_under_its_own_key() -> None:
    """The value points at the anchor, the key at itself."""
    tree = strict_yaml.parse("a: &x {b: 1}\nc: *x\n", "n.yaml", [])
    assert tree is not None
    assert plain(tree) == {"a": {"b": 1}, "c": {"b": 1}}
    shared = child(tree, "c")
    assert shared is not None
    assert (shared.key.line, shared.at.line) == (2, 1)


def test_merge_keys_bring_in_what_is_not_there() -> None:
    """Own keys win over merged ones, and the first of several mappings wins."""
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\nw: {a: 0, <<: *x}\n'<<': 5"
    assert _parsed(text) == {
        "x": {"a": 1, "b": 1},
        "y": {"b": 2, "c": 2},
        "z": {"b": 1, "c": 2, "a": 0},
        "w": {"b": 1, "a": 0},
        "<<": 5,
    }


def _laughs(levels: int, width: int) -> str:
    lines = ["l0: &l0 [lol]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


BOMBS = {
    "billion laughs": (_laughs(10, 9), "values, aliases included"),
    "thirty doublings": (_laughs(31, 2), "values, aliases included"),
    "merged doublings": (
        "a0: &a0 {x: [1, 1, 1, 1]}\n"
        + "\n".join(f"a{n}: &a{n} {{p{n}: *a{n - 1}, <<: *a{n - 1}}}" for n in range(1, 30)),
        "values, aliases included",
    ),
    "many aliases": ("a: &a 1\nb: [" + "*a, " * 65 + "]", "more than 64 aliases"),
    "deep list": ("[" * 100_000, "nested deeper than 32"),
    "deep mapping": ("\n".join(" " * n + "a:" for n in range(500)), "nested deeper than 32"),
    "many values": ("- x\n" * 20_000, "values, aliases included"),
    "many keys": ("\n".join(f"k{n}:" for n in range(20_000)), "values, aliases included"),
}


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name: str) -> None:
    """What a small file stands for is counted before it is built."""
    text, message = BOMBS[name]
    assert message in _complaints(text)[0][2]


def test_sixty_four_aliases_are_allowed() -> None:
    """The limit is for bombs, not for people who do not like to repeat themselves."""
    assert _parsed("a: &a 1\nb: [" + ", ".join(["*a"] * 64) + "]")["b"] == [1] * 64


def test_a_file_is_read_with_its_name_and_folder(tmp_path: Path) -> None:
    """Relative paths in a file start at its folder."""
    path = tmp_path / "n.yaml"
    path.write_text("\ufeffa: 1\n", encoding="utf-8")
    problems = list[Problem]()
    tree = strict_yaml.read(path, problems)
    assert isinstance(tree, Table)
    assert plain(tree) == {"a": 1}
    assert tree.at.source.name == str(path)
    assert tree.at.source.folder == tmp_path
    assert problems == []


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Not an OSError, and with the reason the system gives."""
    problems = list[Problem]()
    assert strict_yaml.read(tmp_path / "missing.yaml", problems) is None
    assert strict_yaml.read(tmp_path, problems) is None
    assert strict_yaml.read(tmp_path / "nul\0byte", problems) is None
    assert [problem.message for problem in problems[:2]] == [
        "cannot be read: No such file or directory",
        "cannot be read: Is a directory",
    ]
    assert problems[2].message.startswith("cannot be read: ")


def test_a_file_above_a_mebibyte_is_refused(tmp_path: Path) -> None:
    """The size is checked before anything is parsed."""
    path = tmp_path / "n.yaml"
    path.write_bytes(b"# " + b"x" * strict_yaml.MAX_BYTES)
    problems = list[Problem]()
    assert strict_yaml.read(path, problems) is None
    assert problems[0].message == "larger than 1048576 bytes"


def test_a_file_that_is_not_utf8_is_a_problem_in_its_line(tmp_path: Path) -> None:
    """Latin-1 from an old editor is named as what it is."""
    path = tmp_path / "n.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    problems = list[Problem]()
    assert strict_yaml.read(path, problems) is None
    assert (problems[0].line, problems[0].message) == (2, "not UTF-8 text")


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_lines_are_counted_as_yaml_counts_them(line_break: str) -> None:
    """An excerpt of the wrong line would mislead."""
    problems = list[Problem]()
    strict_yaml.parse(f"a: 1{line_break}b: 2{line_break}a: 3", "n.yaml", problems)
    assert problems[0].line == 3
    assert problems[0].excerpt.startswith("  a: 3")


TEXTS = st.recursive(
    st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), TEXTS, max_size=5))
def test_text_a_dumper_wrote_is_read_back(data: dict[str, Any]) -> None:
    """Quoted text is text, whatever stands in it."""
    assert (
        _parsed(yaml.safe_dump(data, allow_unicode=True, default_flow_style=False, default_style='"')) == data
    )


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_tree_or_a_problem(text: str) -> None:
    """Nothing but findings comes out of a broken file."""
    problems = list[Problem]()
    tree = strict_yaml.parse(text, "n.yaml", problems)
    assert (tree is None) <= bool(problems)
    if isinstance(tree, Leaf):
        assert tree.value is not None
