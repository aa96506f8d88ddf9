import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.errors import EventError
from knell.events import (
    MAX_DEPTH,
    MAX_EVENT_BYTES,
    EventType,
    Link,
    NotificationEvent,
    Severity,
    seal,
    unseal,
)

MakeEvent = Callable[..., NotificationEvent]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary(max_size=9)
    | st.builds(object)
    | st.builds(ValueError, st.text(st.characters(exclude_categories=()))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=())) | st.integers(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=10,
)


def _nested(depth: int, *, lists: bool = False) -> dict[str, Any]:
    """Return metadata of this depth, itself counted."""
    inner: Any = [] if lists else {}
    for _ in range(depth - 2):
        inner = [inner] if lists else {"a": inner}
    return {"a": inner}


def _body(**fields: Any) -> bytes:
    return json.dumps({"event_type": "job_failed", "source": "s", "title": "t", **fields}).encode()


def _texts(value: Any) -> list[str]:
    """Return every text in plain data."""
    if isinstance(value, str):
        return [value]
    parts: list[Any] = []
    if isinstance(value, list):
        parts = cast("list[Any]", value)
    elif isinstance(value, dict):
        parts = [*cast("dict[str, Any]", value), *cast("dict[str, Any]", value).values()]
    return [text for part in parts for text in _texts(part)]


# What a sender may leave out


def test_three_fields_are_enough() -> None:
    """The rest has defaults: a new UUIDv7, now in UTC, severity info, nothing else."""
    before = datetime.now(UTC)
    event = seal(NotificationEvent(event_type="job_failed", source="dispatcher", title="nightly")).event
    assert UUID(event.event_id).version == 7
    assert before <= event.timestamp <= datetime.now(UTC)
    assert event.timestamp.tzinfo is UTC
    assert event.severity is Severity.INFO
    assert (event.description, event.metadata, event.links) == ("", {}, [])


def test_defaults_are_not_shared(make_event: MakeEvent) -> None:
    """Two events never share their metadata."""
    first, second = make_event(), make_event()
    first.metadata["job_id"] = 1
    assert second.metadata == {}


def test_text_and_enums_are_the_same(make_event: MakeEvent) -> None:
    """Strings are accepted where the specification has enums, and the other way round."""
    by_text = seal(make_event("job_failed", severity="error", event_id="x", timestamp=datetime.now(UTC)))
    by_enum = seal(msgspec.structs.replace(by_text.event, event_type=EventType.JOB_FAILED))
    assert by_text.body == by_enum.body
    assert by_text.event.severity is Severity.ERROR


def test_an_unknown_event_type_is_a_custom_event(make_event: MakeEvent) -> None:
    """Any name of letters, digits and `_ . : -` is an event type."""
    assert seal(make_event("deploy.done:eu-1")).event.event_type == "deploy.done:eu-1"


def test_severities_are_ordered() -> None:
    """From info, the lowest, to critical."""
    assert sorted(Severity, key=lambda severity: severity.rank) == ["info", "warning", "error", "critical"]


def test_links_may_be_plain_mappings(make_event: MakeEvent) -> None:
    """A host that has a mapping need not build a `Link`."""
    event = seal(make_event(links=[{"url": "https://ci.example.com/1"}])).event
    assert event.links == [Link(url="https://ci.example.com/1")]


# Sealing


def test_a_sealed_event_is_the_senders_no_more(make_event: MakeEvent) -> None:
    """What the sender changes afterwards changes nothing: neither the event nor its JSON."""
    metadata = {"job": {"id": 1}}
    sealed = seal(make_event(metadata=metadata))
    metadata["job"]["id"] = 2
    assert sealed.event.metadata == {"job": {"id": 1}}
    assert unseal(sealed.body) == sealed


def test_sealing_twice_changes_nothing(make_event: MakeEvent) -> None:
    """A sealed event is its own copy."""
    sealed = seal(make_event(metadata={"when": datetime.now(UTC)}))
    assert seal(sealed.event) == sealed


def test_what_python_has_beyond_json_is_written_as_text(make_event: MakeEvent) -> None:
    """Dates, UUIDs, paths, decimals, enums and exceptions may stand in metadata."""

    class Stage(Enum):
        BUILD = "build"

    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    metadata = {
        "when": when,
        "id": UUID(int=5),
        "path": Path("/srv/x"),
        "cost": Decimal("1.50"),
        "stage": Stage.BUILD,
        "error": ValueError("no space left"),
        "set": {1},
    }
    assert seal(make_event(metadata=metadata)).event.metadata == {
        "when": "2026-01-02T03:04:05Z",
        "id": "00000000-0000-0000-0000-000000000005",
        "path": "/srv/x",
        "cost": "1.50",
        "stage": "build",
        "error": "no space left",
        "set": [1],
    }


def test_numbers_json_has_no_word_for_become_null(make_event: MakeEvent) -> None:
    """NaN and the infinities would make the stored JSON invalid for everyone else."""
    metadata = {"nan": float("nan"), "inf": float("inf"), "minus": float("-inf")}
    assert seal(make_event(metadata=metadata)).event.metadata == {"nan": None, "inf": None, "minus": None}


def test_a_huge_integer_survives_up_to_what_json_readers_take(make_event: MakeEvent) -> None:
    """50 digits are kept exactly; 5,000 are refused with a clear error and not with a crash."""
    assert seal(make_event(metadata={"n": 10**50})).event.metadata == {"n": 10**50}
    with pytest.raises(EventError, match="cannot be written as JSON"):
        seal(make_event(metadata={"n": 10**5000}))


@pytest.mark.parametrize(
    "value",
    [
        "\udcff",
        ["\udcff"],
        {"\udcff"},
        frozenset({"\udcff"}),
        ("\udcff",),
        Path("\udcff"),
        ValueError("\udcff"),
        {"\udcff": 1},
        dataclasses.make_dataclass("Place", ["name"])("\udcff"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_half_surrogates_are_replaced_wherever_they_are(make_event: MakeEvent, value: Any) -> None:
    """A file name that is no UTF-8 is text with half surrogates: it may not stop the notification."""
    sealed = seal(make_event(metadata={"value": value}))
    assert "\ufffd" in sealed.body.decode()
    assert unseal(sealed.body) == sealed


def test_two_halves_make_a_whole(make_event: MakeEvent) -> None:
    """A pair of surrogates is the character it stands for."""
    assert seal(make_event(title="\ud83d\ude00")).event.title == "\U0001f600"


def test_nul_is_replaced(make_event: MakeEvent) -> None:
    """No database and no provider takes NUL in a text."""
    sealed = seal(make_event(title="a\0b", metadata={"k\0": ["\0"]}, links=[Link(url="u\0")]))
    assert sealed.event.title == "a\ufffdb"
    assert sealed.event.metadata == {"k\ufffd": ["\ufffd"]}
    assert sealed.event.links == [Link(url="u\ufffd")]
    assert b"\\u0000" not in sealed.body


def test_the_escape_of_nul_as_text_is_text(make_event: MakeEvent) -> None:
    r"""A title that holds the six characters `\u0000` holds no NUL."""
    sealed = seal(make_event(title="a \\u0000 b"))
    assert sealed.event.title == "a \\u0000 b"
    assert unseal(sealed.body) == sealed


# Time


@pytest.fixture
def _in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_tokyo")
def test_a_naive_timestamp_is_local_time(make_event: MakeEvent) -> None:
    """A host that says 12:00 means its own noon."""
    noon = datetime(2026, 7, 1, 12)  # noqa: DTZ001 - naive on purpose
    assert seal(make_event(timestamp=noon)).event.timestamp == datetime(2026, 7, 1, 3, tzinfo=UTC)


def test_any_offset_becomes_utc(make_event: MakeEvent) -> None:
    """The moment stays the same, and the stored text too says it in UTC."""
    tokyo = timezone(timedelta(hours=9))
    sealed = seal(make_event(timestamp=datetime(2026, 7, 1, 12, tzinfo=tokyo)))
    assert sealed.event.timestamp == datetime(2026, 7, 1, 3, tzinfo=UTC)
    assert b'"2026-07-01T03:00:00Z"' in sealed.body


@pytest.mark.parametrize(
    "moment",
    [
        datetime.min,  # noqa: DTZ901 - a naive time is what is tested
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    ],
)
def test_a_time_that_utc_cannot_hold_is_refused(make_event: MakeEvent, moment: datetime) -> None:
    """The ends of the calendar are an error of the event, not a crash."""
    with pytest.raises(EventError, match="timestamp"):
        seal(make_event(timestamp=moment))


# What is refused


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"event_type": ""}, "event_type"),
        ({"event_type": "a b"}, "event_type"),
        ({"event_type": "a\n"}, "event_type"),
        ({"event_type": "x" * 101}, "event_type"),
        ({"event_type": None}, "event_type"),
        ({"source": " "}, "source"),
        ({"title": ""}, "title"),
        ({"title": 5}, "title"),
        ({"severity": "fatal"}, "severity"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": {(1, 2): 3}}, "JSON"),
        ({"metadata": {"x": object()}}, "type object"),
        ({"links": [{"url": ""}]}, r"links\[0\].url"),
        ({"links": [{"text": "no url"}]}, "links"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": 5}, "timestamp"),
        ({"event_id": ""}, "event_id"),
        ({"event_id": "a b"}, "event_id"),
        ({"event_id": "x" * 201}, "event_id"),
    ],
)
def test_a_wrong_field_is_named(make_event: MakeEvent, fields: dict[str, Any], problem: str) -> None:
    """The error says which field is wrong."""
    with pytest.raises(EventError, match=problem):
        seal(make_event(**fields))


@pytest.mark.parametrize("thing", [None, "job_failed", {"event_type": "x"}, Exception()])
def test_only_an_event_can_be_sealed(thing: object) -> None:
    """Anything else told to the router is an error that names its type."""
    with pytest.raises(EventError, match=f"got {type(thing).__name__}"):
        seal(thing)


@pytest.mark.parametrize("lists", [False, True])
def test_metadata_nests_as_deep_as_allowed_and_no_deeper(make_event: MakeEvent, *, lists: bool) -> None:
    """The limit is exact, for mappings and for lists."""
    seal(make_event(metadata=_nested(MAX_DEPTH, lists=lists)))
    with pytest.raises(EventError, match="nested deeper"):
        seal(make_event(metadata=_nested(MAX_DEPTH + 1, lists=lists)))


@pytest.mark.parametrize("text", ["plain", "\udcff"])
def test_metadata_within_itself_is_refused(make_event: MakeEvent, text: str) -> None:
    """A circle ends in an error, also when there is something to be replaced in it."""
    metadata: dict[str, Any] = {"text": text}
    metadata["self"] = metadata
    with pytest.raises(EventError, match="within itself"):
        seal(make_event(metadata=metadata))


def test_the_size_limit_is_exact(make_event: MakeEvent) -> None:
    """One byte more than the limit is refused."""
    spare = MAX_EVENT_BYTES - len(seal(make_event(description="")).body)
    assert len(seal(make_event(description="x" * spare)).body) == MAX_EVENT_BYTES
    with pytest.raises(EventError, match=str(MAX_EVENT_BYTES + 1)):
        seal(make_event(description="x" * (spare + 1)))


def test_an_object_that_raises_is_an_error_of_the_event(make_event: MakeEvent) -> None:
    """Whatever a host's own object does while it is written, the sender gets an `EventError`."""

    class Hostile(Exception):  # noqa: N818 - not raised
        def __str__(self) -> str:
            raise ZeroDivisionError("hostile")

    with pytest.raises(EventError, match="hostile"):
        seal(make_event(metadata={"error": Hostile()}))


# JSON


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b'{"event_type": "x", "source": "s", "title": "\xff"}',
        b'{"event_type": "x", "source": "s", "title": "\\ud800"}',
        b'{"event_type": "x", "source": "s", "title": "t", "metadata": {"x": NaN}}',
        b'{"event_type": "x", "source": "s", "title": "t", "metadata": {"x": 1e999}}',
        b'{"event_type": "x", "source": "s", "title": "t", "metadata": {"x": ' + b"9" * 5000 + b"}}",
        b'{"event_type": "x", "source": "s", "title": "t", "metadata": '
        + b'{"a":' * 9000
        + b"1"
        + b"}" * 9001,
        b'{"event_type": "x", "source": "s", "title": "t", "other": ' + b"[" * 99000 + b"]" * 99000 + b"}",
    ],
    ids=range(12),
)
def test_hostile_json_is_refused(body: bytes) -> None:
    """Malformed, not UTF-8, half surrogates, numbers out of range, nested without end."""
    with pytest.raises(EventError):
        unseal(body)


def test_a_mistake_in_json_is_placed() -> None:
    """The message begins with the field."""
    with pytest.raises(EventError, match=r"^severity: Invalid enum value 'fatal'$"):
        unseal(_body(severity="fatal"))


def test_unknown_fields_of_json_are_ignored() -> None:
    """A newer sender may say more than this version knows."""
    assert unseal(_body(colour="red")).event.title == "t"


def test_nul_in_json_is_replaced_too() -> None:
    """The door is the same for events that come as JSON."""
    sealed = unseal(_body(title="a\0", timestamp="2026-07-01T12:00:00+09:00"))
    assert sealed.event.title == "a\ufffd"
    assert sealed.event.timestamp == datetime(2026, 7, 1, 3, tzinfo=UTC)
    assert unseal(sealed.body) == sealed


@given(metadata=st.dictionaries(st.text(), _JSON, max_size=4), title=st.text())
def test_every_event_comes_back_from_its_json(metadata: dict[str, Any], title: str) -> None:
    """Reading what was sealed gives the same event and the same bytes."""
    sealed = seal(
        NotificationEvent(event_type="x", source="s", title=f"t{title}", description=title, metadata=metadata)
    )
    again = unseal(sealed.body)
    assert again == sealed
    assert json.loads(sealed.body)["title"] == sealed.event.title


@given(metadata=_ANYTHING, title=_ANYTHING)
def test_nothing_but_an_event_error_comes_out(metadata: Any, title: Any) -> None:
    """Whatever a host tells: it is sealed and clean, or it is refused."""
    try:
        sealed = seal(NotificationEvent(event_type="x", source="s", title=title, metadata=metadata))
    except EventError:
        return
    assert not any("\0" in text for text in _texts(msgspec.to_builtins(sealed.event)))
    assert unseal(sealed.body) == sealed
