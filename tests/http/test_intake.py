import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.events import NotificationEvent
from knell.http.intake import events_in
from knell.http.problems import Problem

EVENT: dict[str, Any] = {"event_type": "job_failed", "source": "dispatcher", "title": "nightly"}


def refused(found: Any) -> dict[str, str]:
    """Return the mistakes found, by field."""
    with pytest.raises(Problem) as caught:
        events_in(found)
    assert caught.value.status is HTTPStatus.UNPROCESSABLE_ENTITY
    return {error.field: error.message for error in caught.value.more["errors"]}


def test_an_event_is_taken_as_it_is() -> None:
    """Every field arrives."""
    given_fields = {
        **EVENT,
        "description": "d",
        "severity": "error",
        "metadata": {"a": [1, None, {"b": 2.5}]},
        "links": [{"url": "https://ci.example.com/1", "text": "Log"}, {"url": "x"}],
        "timestamp": "2026-01-31T12:00:00+09:00",
        "event_id": "e1",
    }
    (sealed,) = events_in(given_fields)
    assert isinstance(sealed.event, NotificationEvent)
    assert sealed.event.metadata == given_fields["metadata"]
    assert sealed.event.links[0].text == "Log"
    assert sealed.event.timestamp.isoformat() == "2026-01-31T03:00:00+00:00"
    assert b'"event_id":"e1"' in sealed.body


def test_what_is_stored_holds_the_id_and_the_time_that_were_left_out() -> None:
    """The stored event must be the same one each time it is read."""
    (sealed,) = events_in(EVENT)
    assert sealed.event.event_id.encode() in sealed.body
    assert b'"timestamp"' in sealed.body


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"event_type": "a b"}, "event_type", "letters, digits"),
        ({"event_type": None}, "event_type", "letters, digits"),
        ({"source": " "}, "source", "not blank"),
        ({"title": ""}, "title", "not blank"),
        ({"title": 7}, "title", "not blank"),
        ({"description": ["x"]}, "description", "expected text"),
        ({"severity": "eror"}, "severity", "did you mean 'error'?"),
        ({"severity": 3}, "severity", "one of info, warning, error, critical"),
        ({"metadata": [1]}, "metadata", "an object"),
        ({"links": "https://x"}, "links", "a list of objects"),
        ({"links": [{"url": "u"}, 3]}, "links[1]", "a list of objects"),
        ({"links": [{"url": "u"}, {"url": 3}]}, "links[1].url", "not blank"),
        ({"links": [{"url": "u", "text": 3}]}, "links[0].text", "expected text"),
        ({"links": [{"url": "u", "txet": "x"}]}, "links[0].txet", "did you mean 'text'?"),
        ({"timestamp": "yesterday"}, "timestamp", "RFC 3339"),
        ({"timestamp": 1700000000}, "timestamp", "RFC 3339"),
        ({"timestamp": "0001-01-01T00:00:00+23:59"}, "timestamp", "out of range"),
        ({"event_id": "no spaces"}, "event_id", "letters, digits"),
        ({"severty": "error"}, "severty", "is no field of an event, did you mean 'severity'?"),
    ],
)
def test_a_mistake_names_its_field_and_what_would_be_right(
    change: dict[str, Any], field: str, words: str
) -> None:
    """The sender can mend it without the documentation."""
    errors = refused({**EVENT, **change})
    assert list(errors) == [field]
    assert words in errors[field]


def test_all_mistakes_come_at_once() -> None:
    """One round trip is enough."""
    assert set(refused({"severity": "x", "titel": "y", "links": 1})) == {
        *("event_type", "source", "title", "severity", "titel", "links")
    }


def test_a_list_says_which_event_is_wrong_and_takes_none() -> None:
    """All or nothing: the sender repeats the request, mended."""
    errors = refused([EVENT, {**EVENT, "title": ""}, 3, {}])
    assert list(errors) == ["[1].title", "[2]", "[3].event_type", "[3].source", "[3].title"]


@pytest.mark.parametrize("found", [None, True, 3, "x", []])
def test_what_is_no_event_is_refused(found: Any) -> None:
    """JSON of another kind has no field to name."""
    assert list(refused(found)) == [""]


def test_a_long_name_is_not_repeated_in_full() -> None:
    """An answer is no amplifier."""
    assert [len(field) for field in refused({**EVENT, "x" * 10_000: 1})] == [100]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"a\ud800": 1}, ["a?"]),
        ({"links": [{"url": "https://x.example", "b\udfff": 1}]}, ["links", "links[0].b?"]),
        ({"severity": "\ud800"}, ["severity"]),
    ],
)
def test_half_of_a_surrogate_pair_is_the_senders_mistake(change: dict[str, Any], fields: list[str]) -> None:
    """It can stand in JSON, and in no answer: the refusal shows what can be shown."""
    with pytest.raises(Problem) as caught:
        events_in({**EVENT, **change})
    body = json.loads(bytes(caught.value.response().body))  # type: ignore[arg-type]
    assert [error["field"] for error in body["errors"]] == fields


def test_what_no_provider_takes_is_replaced() -> None:
    """NUL and halves of surrogate pairs never reach the store."""
    (sealed,) = events_in({**EVENT, "title": "a\0b\ud800"})
    assert sealed.event.title == "a\ufffdb\ufffd"


def test_a_key_makes_the_id_unless_one_is_given() -> None:
    """The same key, the same id, whenever and wherever."""
    ids = [events_in(EVENT, key)[0].event.event_id for key in ("k", "k", "other")]
    assert ids[0] == ids[1] != ids[2]
    assert events_in({**EVENT, "event_id": "mine"}, "k")[0].event.event_id == "mine"


_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=10,
)
_FIELDS = ("event_type", "source", "title", "description", "severity", "metadata", "links", "timestamp")


@given(_JSON | st.dictionaries(st.sampled_from(_FIELDS), _JSON).map(lambda part: {**EVENT, **part}))
def test_no_json_does_harm(found: Any) -> None:
    """Whatever comes is an event, or a problem that names a field."""
    try:
        events_in(found)
    except Problem as problem:
        assert problem.status is HTTPStatus.UNPROCESSABLE_ENTITY  # noqa: PT017 - both ends are right
        assert problem.more["errors"]  # noqa: PT017
        assert problem.response().status == problem.status  # noqa: PT017 - it can be written
