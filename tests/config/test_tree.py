from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knell.config.problems import Problem
from knell.config.tree import Items, Leaf, Table, child, entries, find, from_mapping, kind, merge, plain

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


def _tree(data: Any) -> Table:
    problems = list[Problem]()
    tree = from_mapping(data, problems)
    assert problems == []
    assert isinstance(tree, Table)
    return tree


@settings(deadline=None)
@given(MAPPINGS)
def test_a_mapping_comes_back_as_it_was(data: dict[str, Any]) -> None:
    """A tree adds places and changes nothing."""
    assert plain(_tree(data)) == data


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below: Any = base.get(key)
        merged[key] = _merged(below, value) if type(below) is type(value) is dict else value
    return merged


@settings(deadline=None)
@given(MAPPINGS, MAPPINGS)
def test_merging_goes_deep_into_mappings_and_replaces_the_rest(
    base: dict[str, Any], over: dict[str, Any]
) -> None:
    """As a plain recursive merge does."""
    assert plain(merge(_tree(base), _tree(over))) == _merged(base, over)


@settings(deadline=None)
@given(MAPPINGS, MAPPINGS)
def test_merging_changes_neither_tree(base: dict[str, Any], over: dict[str, Any]) -> None:
    """Both files may be shown afterwards."""
    below, above = _tree(base), _tree(over)
    merge(below, above)
    assert (plain(below), plain(above)) == (base, over)


def test_a_path_is_followed_as_far_as_it_goes() -> None:
    """Steps of a validator that are no keys are left out."""
    tree = _tree({"a": [{"b": 1}]})
    node, taken = find(tree, ("a", "list[x]", 0, "b", "int"))
    assert (plain(node), taken) == (1, ("a", 0, "b"))
    assert find(tree, ("a", 5, -1, 0))[1] == ("a", 0)


def test_children_of_what_is_no_mapping_are_none() -> None:
    """Findings must not crash on a wrong shape."""
    tree = _tree({"a": [1]})
    assert child(child(tree, "a"), "x") is None
    assert child(None, "x") is None
    assert entries(child(tree, "a")) == {}


class _Colour(StrEnum):
    RED = "red"


def test_places_in_a_mapping_are_dotted_paths() -> None:
    """Tuples are lists, and names may be enums."""
    tree = _tree({"a": ({"b": 1},), _Colour.RED: 2})
    assert find(tree, ("a", 0, "b"))[0].at.path == "a[0].b"
    assert find(tree, ("red",))[0].at.path == "red"


def test_a_mapping_within_itself_is_a_problem() -> None:
    """At once, however often it holds itself."""
    inner: dict[str, Any] = {}
    inner |= dict.fromkeys("abcdefgh", inner)
    problems = list[Problem]()
    from_mapping({"x": inner}, problems)
    assert {problem.path for problem in problems} == {f"x.{key}" for key in "abcdefgh"}
    assert problems[0].message == "nested deeper than 32, or within itself"


def test_keys_that_are_no_text_are_a_problem() -> None:
    """They could not be written into a file either."""
    problems = list[Problem]()
    data: Any = {"a": {1: "x", None: "y"}}
    from_mapping(data, problems)
    assert [str(problem) for problem in problems] == [
        "a: a key must be text, got int",
        "a: a key must be text, got NoneType",
    ]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({}, "a mapping"),
        ([], "a list"),
        (None, "nothing"),
        (True, "true or false"),
        (1, "a number"),
        (1.5, "a number"),
        ("x", "text"),
        (b"x", "a bytes"),
    ],
)
def test_kinds_are_named_for_people(value: object, name: str) -> None:
    """Without a word about the value itself."""
    node = child(_tree({"a": value}), "a")
    assert isinstance(node, Leaf | Items | Table)
    assert kind(node) == name
