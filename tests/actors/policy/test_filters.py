from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.actors.policy.filters import compile_filter
from knell.events import NotificationEvent, Severity
from knell.filters import OPERATORS, parse

MakeEvent = Callable[..., NotificationEvent]


@pytest.fixture
def passes(make_event: MakeEvent) -> Callable[..., bool]:
    """Return a function that says whether an event of these fields passes a filter."""

    def check(raw: object, **fields: Any) -> bool:
        return compile_filter(parse(raw))(make_event(**fields))

    return check


Passes = Callable[..., bool]


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ({"eq": "a"}, "a", True),
        ({"eq": "a"}, "A", False),
        ({"eq": 3}, 3, True),
        ({"eq": 3}, 3.0, True),
        ({"eq": 3}, "3", False),
        ({"eq": 1}, True, False),
        ({"eq": True}, True, True),
        ({"eq": True}, 1, False),
        ({"eq": None}, None, True),
        ({"eq": "a"}, ["b", "a"], True),
        ({"eq": "a"}, ["b"], False),
        ({"eq": "a"}, {"a": 1}, False),
        ({"ne": "a"}, "b", True),
        ({"ne": "a"}, "a", False),
        ({"ne": "a"}, ["a", "b"], False),
        ({"in": ["a", 3]}, 3, True),
        ({"in": ["a", 3]}, "b", False),
        ({"in": ["a"]}, ["b", "a"], True),
        ({"in": []}, "a", False),
        ({"not_in": ["a"]}, "b", True),
        ({"not_in": ["a"]}, "a", False),
        ({"not_in": []}, "a", True),
        ({"gt": 3}, 4, True),
        ({"gt": 3}, 3, False),
        ({"gte": 3}, 3, True),
        ({"gte": 3}, 2.9, False),
        ({"lt": 3}, 2, True),
        ({"lt": 3}, 3, False),
        ({"lte": 3}, 3, True),
        ({"lte": 3}, 4, False),
        ({"gt": "a"}, "b", True),
        ({"gt": 3}, "4", False),
        ({"lt": 3}, None, False),
        ({"lt": 3}, [1], False),
        ({"contains": "b"}, "abc", True),
        ({"contains": "x"}, "abc", False),
        ({"contains": "a"}, ["a", "b"], True),
        ({"contains": "ab"}, ["abc"], False),
        ({"contains": 3}, [3], True),
        ({"contains": 3}, "3", False),
        ({"contains": "a"}, 3, False),
        ({"starts_with": "ab"}, "abc", True),
        ({"starts_with": "bc"}, "abc", False),
        ({"starts_with": "a"}, 3, False),
        ({"ends_with": "bc"}, "abc", True),
        ({"ends_with": "ab"}, "abc", False),
        ({"ends_with": "a"}, ["a"], False),
        ({"glob": "rel*-?"}, "release-1", True),
        ({"glob": "rel*-?"}, "release-12", False),
        ({"glob": "[ab]c"}, "bc", True),
        ({"glob": "a"}, "ab", False),
        ({"glob": "a*"}, "a\nb", True),
        ({"glob": "*"}, 3, False),
        ({"matches": "b+"}, "abbc", True),
        ({"matches": "^b"}, "abc", False),
        ({"matches": "(?i)ABC"}, "xabc", True),
        ({"matches": "3"}, 3, False),
        ({"exists": True}, None, True),
        ({"exists": True}, "", True),
        ({"exists": False}, "a", False),
    ],
)
def test_every_operator(passes: Passes, condition: Any, value: Any, *, expected: bool) -> None:
    """Text, numbers, truth, nothing and lists, for each operator."""
    assert passes({"metadata.key": condition}, metadata={"key": value}) is expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_key_matches_only_what_denies(passes: Passes, operator: str) -> None:
    """`exists: false`, `ne` and `not_in` pass; every other test fails."""
    operand: Any = {"in": ["a"], "not_in": ["a"], "exists": False}.get(operator, "a")
    expected = operator in {"ne", "not_in", "exists"}
    assert passes({"metadata.key": {operator: operand}}) is expected
    assert passes({"not": {"metadata.key": {operator: operand}}}) is not expected


def test_a_missing_key_does_not_exist(passes: Passes) -> None:
    """`exists: true` needs it."""
    assert not passes({"metadata.key": {"exists": True}})


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"a": {"b": {"c": 1}}}, True),
        ({"a": {"b": {"c": 2}}}, False),
        ({"a": {"b": 1}}, False),
        ({"a": [{"b": {"c": 1}}]}, False),
        ({"a": None}, False),
        ({"a.b.c": 1}, False),
        ({}, False),
    ],
)
def test_a_path_walks_through_mappings(passes: Passes, metadata: dict[str, Any], *, expected: bool) -> None:
    """`metadata.a.b.c`; through nothing else."""
    assert passes({"metadata.a.b.c": 1}, metadata=metadata) is expected


@pytest.mark.parametrize(
    ("condition", "matching"),
    [
        ("error", {"error"}),
        (["warning", "error"], {"warning", "error"}),
        ({"ne": "error"}, {"info", "warning", "critical"}),
        ({"gt": "warning"}, {"error", "critical"}),
        ({"gte": "warning"}, {"warning", "error", "critical"}),
        ({"lt": "warning"}, {"info"}),
        ({"lte": "warning"}, {"info", "warning"}),
        ({"gte": "warning", "lt": "critical"}, {"warning", "error"}),
        ({"not_in": ["info"]}, {"warning", "error", "critical"}),
        ({"starts_with": "c"}, {"critical"}),
        ({"exists": True}, set(Severity)),
    ],
)
def test_severities_are_ordered_by_what_they_mean(passes: Passes, condition: Any, matching: set[str]) -> None:
    """Not by the alphabet, in which critical comes first."""
    found = {severity for severity in Severity if passes({"severity": condition}, severity=severity)}
    assert found == matching


@pytest.mark.parametrize(
    ("field", "value"),
    [("event_type", "job_failed"), ("source", "ci"), ("title", "x"), ("description", "y")],
)
def test_every_field_can_be_tested(passes: Passes, field: str, value: str) -> None:
    """Besides severity and metadata."""
    assert passes({field: value}, **{field: value})
    assert not passes({field: "else"}, **{field: value})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ([], True),
        ([{"source": "a"}, {"title": "b"}], True),
        ([{"source": "a"}, {"title": "x"}], False),
        ({"source": "a", "title": "b"}, True),
        ({"source": "a", "title": "x"}, False),
        ({"any": [{"source": "x"}, {"title": "b"}]}, True),
        ({"any": [{"source": "x"}, {"title": "x"}]}, False),
        ({"all": [{"source": "a"}, {"any": [{"title": "x"}, {"title": "b"}]}]}, True),
        ({"not": {"source": "a"}}, False),
        ({"not": [{"source": "a"}, {"title": "x"}]}, True),
        ({"not": {"not": {"source": "a"}}}, True),
    ],
)
def test_and_or_and_not(passes: Passes, raw: object, *, expected: bool) -> None:
    """In every nesting."""
    assert passes(raw, source="a", title="b") is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("(a+)+$", False), ("(a|aa)+$", False), ("(.*a){20}", True), ("^(a?){50}a{50}$", False)],
)
def test_matches_takes_linear_time(passes: Passes, pattern: str, *, expected: bool) -> None:
    """Patterns that take a backtracking engine for ever are answered at once, on 100,000 characters."""
    assert passes({"title": {"matches": pattern}}, title="a" * 100_000 + "!") is expected


def test_a_glob_of_many_stars_does_not_explode(passes: Passes) -> None:
    """The other pattern language backtracks no further than each star."""
    assert not passes({"title": {"glob": "*a" * 25 + "b"}}, title="a" * 5_000)


_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", "ab", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner),
    max_leaves=4,
)
_singles = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", "ab", ""])


@given(metadata=st.dictionaries(st.just("key"), _values), operand=_singles)
def test_opposites_are_opposites(make_event: MakeEvent, metadata: dict[str, Any], operand: Any) -> None:
    """`ne` is not `eq`, `not_in` is not `in`, `exists` is one or the other, for any value or none."""
    event = make_event(metadata=metadata)

    def check(condition: dict[str, Any]) -> bool:
        return compile_filter(parse({"metadata.key": condition}))(event)

    assert check({"ne": operand}) is not check({"eq": operand})
    assert check({"not_in": [operand]}) is not check({"in": [operand]})
    assert check({"in": [operand]}) is check({"eq": operand})
    assert check({"exists": True}) is not check({"exists": False})


def test_only_a_parsed_expression_is_compiled() -> None:
    """Anything else is a mistake of the program."""
    with pytest.raises(AssertionError):
        compile_filter("severity")  # type: ignore[arg-type]  # what is tested
