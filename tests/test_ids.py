import os
import re
import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.ids import delivery_id, uuid7, wire_id

_NAMES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:@/+=\-]{0,20}\Z")


def test_a_uuid7_is_a_valid_uuid_of_version_7() -> None:
    """RFC 9562: version 7, variant 10, lower-case text in five groups."""
    text = uuid7()
    parsed = UUID(text)
    assert (parsed.version, parsed.variant) == (7, "specified in RFC 4122")
    assert str(parsed) == text


def test_a_uuid7_begins_with_its_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first 48 bits are the Unix time in milliseconds, so ids sort by creation."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_999_999)
    assert UUID(uuid7()).int >> 80 == 1_700_000_000_123
    earlier = uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_124_000_000)
    assert earlier < uuid7()


@pytest.mark.parametrize("byte", [b"\x00", b"\xff"])
def test_randomness_never_reaches_version_and_variant(monkeypatch: pytest.MonkeyPatch, byte: bytes) -> None:
    """Whatever the random bits are, the fixed bits stay as the RFC has them."""

    def urandom(count: int) -> bytes:
        return byte * count

    monkeypatch.setattr(os, "urandom", urandom)
    text = uuid7()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)


def test_uuid7s_of_one_millisecond_differ() -> None:
    """74 random bits keep them apart."""
    assert len({uuid7() for _ in range(1000)}) == 1000


def test_a_delivery_id_names_event_and_channel() -> None:
    """A reader of a log sees both in it."""
    assert delivery_id("e1", "slack") == "e1:slack"


@given(st.lists(_NAMES, min_size=1, max_size=4), st.lists(_NAMES, min_size=1, max_size=4))
def test_wire_ids_are_equal_exactly_for_equal_deliveries(left: list[str], right: list[str]) -> None:
    """The key depends on all deliveries of the message in their order, and on nothing else."""
    assert (wire_id(tuple(left)) == wire_id(tuple(right))) is (left == right)


@given(st.lists(_NAMES, min_size=1, max_size=4))
def test_a_wire_id_suits_standard_webhooks(names: list[str]) -> None:
    """No dot and nothing outside ASCII letters, digits and underscore: it goes into a signed header."""
    assert re.fullmatch(r"msg_[0-9a-f]{32}", wire_id(tuple(names)))
