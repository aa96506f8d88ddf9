"""What operators write: times, ages, names."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from knell.messages import DeliveryState, Reason
from knell.store import parsing
from knell.store.moments import EXPECTED, age, moment

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_an_age_counts_back_from_now(text: str, ago: timedelta) -> None:
    """Seconds, minutes, hours, days and weeks."""
    assert moment(text, NOW) == NOW - ago
    assert datetime.now(UTC) - moment(text) - ago < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("2026-01-31T12:00:00Z", NOW),
        ("2026-01-31t12:00:00z", NOW),
        ("2026-01-31 12:00:00.25Z", NOW + timedelta(milliseconds=250)),
        ("2026-01-31T21:00:00+09:00", NOW),
        ("2024-02-29T00:00:00-00:30", datetime(2024, 2, 29, tzinfo=timezone(timedelta(minutes=-30)))),
    ],
)
def test_a_time_is_rfc_3339(text: str, then: datetime) -> None:
    """With its offset: nobody has to guess whose clock it is."""
    assert moment(text) == then


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "h", "-2h", "2 h", "2H", "1.5h", "٣h", "9999999s", "999999w", "yesterday", "2026-01-31"),
        *("2026-01-31T12:00:00", "2026-02-30T12:00:00Z", "2026-01-31T24:01:00Z", "20260131T120000Z"),
        *("2026-01-31T12:00:00Z\n", "2026-01-31T12:00:00 09:00", "2026-01-31T12:00:00+99:00", "\ud800"),
    ],
)
def test_what_is_neither_is_refused_with_what_would_be_right(text: str) -> None:
    """Whatever is wrong about it."""
    with pytest.raises(ValueError, match="expected a time") as refused:
        moment(text, NOW)
    assert str(refused.value) == EXPECTED


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86399, "23h"), (900_000, "10d")],
)
def test_an_age_is_told_as_it_is_read(seconds: float, text: str) -> None:
    """What a list shows can be given as a filter."""
    assert age(NOW - timedelta(seconds=seconds), NOW) == text
    assert moment(text, NOW) <= NOW


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("state", "dead", DeliveryState.DEAD),
        ("reason", "server_error", Reason.SERVER_ERROR),
        ("channel", "slack-ops", "slack-ops"),
        ("event_type", "ci.build:done", "ci.build:done"),
        ("since", "2h", NOW - timedelta(hours=2)),
        ("until", "2026-01-31T12:00:00Z", NOW),
    ],
)
def test_every_field_has_its_kind(field: str, text: str, value: Any) -> None:
    """As `Selection` has it."""
    assert field in parsing.FIELDS
    assert parsing.one(field, text, NOW) == value


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("state", "deadly", "one of pending, sending, done, dead, cancelled, expired"),
        ("reason", "", "one of delivered, timeout"),
        ("channel", "a b", "the name of a channel"),
        ("channel", "\ud800", "the name of a channel"),
        ("channel", None, "the name of a channel"),
        ("event_type", "x" * 101, "the name of an event type"),
        ("since", 7, "a time such as"),
        ("until", ["2h"], "a time such as"),
        ("state", {"a": 1}, "one of pending"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(field: str, text: object, expected: str) -> None:
    """Whatever its type: it comes from outside."""
    with pytest.raises(ValueError, match=f"expected {expected}"):
        parsing.one(field, text, NOW)


def test_ids_are_some_ids() -> None:
    """None at all would mean every delivery there is."""
    assert parsing.ids(["a/b:c%@=+:slack"]) == ("a/b:c%@=+:slack",)
    for wrong in (["\ud800:slack"], ["a b:slack"], [""], [7], ["x" * 301]):
        with pytest.raises(ValueError, match="expected an id such as"):
            parsing.ids(wrong)
    with pytest.raises(ValueError, match="at least one"):
        parsing.ids([])
