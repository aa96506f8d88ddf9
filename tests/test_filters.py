from typing import Any

import pytest

from knell.events import Severity
from knell.filters import EVERYTHING, OPERATORS, All, Any_, Condition, FilterError, Not, parse

# The grammar


def test_a_value_means_equal() -> None:
    """`severity: critical`, the specification's own form."""
    assert parse({"severity": "critical"}) == Condition(("severity",), "eq", Severity.CRITICAL)


def test_a_list_as_value_means_one_of() -> None:
    """`severity: [error, critical]`."""
    assert parse({"severity": ["error", "critical"]}) == Condition(
        ("severity",), "in", (Severity.ERROR, Severity.CRITICAL)
    )


def test_the_keys_of_a_mapping_all_count() -> None:
    """A mapping means AND of its keys, in their order."""
    assert parse({"source": "ci", "metadata.a.b": 1}) == All(
        (Condition(("source",), "eq", "ci"), Condition(("metadata", "a", "b"), "eq", 1))
    )


def test_the_items_of_a_list_all_count() -> None:
    """A list means AND, as `filters:` in the specification's examples."""
    assert parse([{"source": "ci"}, {"title": "x"}]) == All(
        (Condition(("source",), "eq", "ci"), Condition(("title",), "eq", "x"))
    )


@pytest.mark.parametrize("nothing", [[], {}, ()])
def test_no_filter_lets_everything_pass(nothing: object) -> None:
    """An empty list, as most configurations have it."""
    assert parse(nothing) == EVERYTHING


def test_all_any_and_not_nest() -> None:
    """Each holds filters of any shape."""
    raw = {"any": [{"all": [{"source": "a"}]}, {"not": [{"source": "b"}, {"title": "c"}]}]}
    assert parse(raw) == Any_(
        (
            All((Condition(("source",), "eq", "a"),)),
            Not(All((Condition(("source",), "eq", "b"), Condition(("title",), "eq", "c")))),
        )
    )


def test_operators_on_one_field_all_count() -> None:
    """`{gte: 3, lt: 9}` is a range."""
    assert parse({"metadata.n": {"gte": 3, "lt": 9}}) == All(
        (Condition(("metadata", "n"), "gte", 3), Condition(("metadata", "n"), "lt", 9))
    )


@pytest.mark.parametrize("operator", ["eq", "ne", "gt", "gte", "lt", "lte"])
def test_a_severity_is_read_as_one(operator: str) -> None:
    """So that it is compared by rank and not by the alphabet."""
    found = parse({"severity": {operator: "error"}})
    assert isinstance(found, Condition)
    assert found.operand is Severity.ERROR


@pytest.mark.parametrize("operator", ["in", "not_in"])
def test_severities_in_a_list_are_read_as_such(operator: str) -> None:
    """Each item of the list."""
    found = parse({"severity": {operator: ["error"]}})
    assert isinstance(found, Condition)
    assert found.operand[0] is Severity.ERROR


def test_a_condition_reads_like_a_sentence() -> None:
    """For `knell explain`."""
    assert str(Condition(("metadata", "repo"), "ne", "main")) == "metadata.repo ne main"


def test_null_is_a_value() -> None:
    """`metadata.error: null` asks for a key that holds nothing."""
    assert parse({"metadata.error": None}) == Condition(("metadata", "error"), "eq", None)


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator_of_the_contract_is_known(operator: str) -> None:
    """None is missing from the parser."""
    operand: Any = {"in": ["a"], "not_in": ["a"], "exists": True}.get(operator, "a")
    kept: Any = ("a",) if operator in {"in", "not_in"} else operand
    assert parse({"title": {operator: operand}}) == Condition(("title",), operator, kept)


# Mistakes


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("severity", "expected a mapping or a list, got text"),
        (5, "expected a mapping or a list, got a number"),
        (None, "expected a mapping or a list, got nothing"),
        ([True], "expected a mapping or a list, got true or false"),
        ({"severty": "error"}, "unknown field 'severty', did you mean 'severity'?"),
        ({"metdata": {}}, "unknown field 'metdata', did you mean 'metadata'?"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"severity.rank": 1}, "unknown field 'severity.rank', did you mean 'severity'?"),
        ({"metadata": 1}, "metadata: name a key of the metadata, as in metadata.repo"),
        ({"metadata.": 1}, "metadata.: name a key of the metadata, as in metadata.repo"),
        ({"metadata..a": 1}, "metadata..a: name a key of the metadata, as in metadata.repo"),
        (
            {"title": {"startswith": "x"}},
            "title: unknown operator 'startswith', did you mean 'starts_with'?",
        ),
        ({"title": {"zzz": "x"}}, "title: unknown operator 'zzz'"),
        ({"severity": "eror"}, "severity eq: 'eror' is no severity, did you mean 'error'?"),
        ({"severity": ["fatal"]}, "severity in: 'fatal' is no severity"),
        ({"severity": {"gte": 3}}, "severity gte: 3 is no severity"),
        ({"severity": {"not_in": [None]}}, "severity not_in: None is no severity"),
        ({"title": {"in": "x"}}, "title in: expected a list, got text"),
        ({"title": {"in": [["x"]]}}, "title in: expected a single value, got a list"),
        ({"title": [{"x": 1}]}, "title in: expected a single value, got a mapping"),
        ({"title": {"eq": [1]}}, "title eq: expected a single value, got a list"),
        ({"title": {"eq": {"a": 1}}}, "title eq: expected a single value, got a mapping"),
        ({"title": {"exists": "yes"}}, "title exists: expected true or false, got text"),
        ({"title": {"glob": 5}}, "title glob: expected text, got a number"),
        ({"title": {"starts_with": None}}, "title starts_with: expected text, got nothing"),
        ({"title": {"matches": "("}}, "title matches: missing ): ("),
        ({"title": {"matches": "(?=x)"}}, "title matches: invalid perl operator: (?="),
        ({"any": []}, "any: expected a list of filters, got nothing"),
        ({"all": {"title": "x"}}, "all: expected a list of filters, got a mapping"),
        ({"any": [5]}, "expected a mapping or a list, got a number"),
        ({"not": 5}, "expected a mapping or a list, got a number"),
    ],
)
def test_a_mistake_is_named(raw: object, message: str) -> None:
    """The message names the part, and the right word where one is near."""
    with pytest.raises(FilterError) as caught:
        parse(raw)
    assert str(caught.value) == message
