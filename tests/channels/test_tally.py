"""The tally of recipients: nobody twice, nobody forgotten, over any number of attempts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.channels.tally import Tally, listed

NAMES = st.lists(st.sampled_from("abcdef"), max_size=8)


def test_a_first_attempt_tries_everybody_once() -> None:
    """Without progress all are left, in order, each once."""
    assert Tally.resume(["b", "a", "b"], {}).left == ["b", "a"]


@pytest.mark.parametrize(
    ("progress", "left"),
    [
        ({"accepted": ["a"]}, ["b", "c"]),
        ({"accepted": {"a": "SM1"}}, ["b", "c"]),
        ({"accepted": ["a"], "refused": {"b": "550"}}, ["c"]),
        ({"accepted": ["a"], "refused": {"b": "550", "c": "550"}}, ["b", "c"]),
        ({"accepted": ["a", "b", "c"]}, []),
        ({"accepted": ["a", "x"], "refused": {"y": "550"}}, ["b", "c"]),
        ({"accepted": 7, "refused": None}, ["a", "b", "c"]),
    ],
)
def test_a_later_attempt_tries_the_rest(progress: dict[str, Any], left: list[str]) -> None:
    """The accepted are never tried again; the refused only when they alone are left (a replay)."""
    assert Tally.resume(["a", "b", "c"], progress).left == left


@given(NAMES, st.lists(st.sampled_from(["accept", "refuse", "defer"]), max_size=12))
def test_everybody_is_in_exactly_one_place(everyone: list[str], verdicts: list[str]) -> None:
    """Over attempts that end in any way, nobody is lost, doubled, or sent to after being accepted."""
    progress: dict[str, Any] = {}
    accepted: set[str] = set()
    for verdict in verdicts:
        tally = Tally.resume(everyone, progress)
        assert not accepted & set(tally.left)
        if tally.left:
            getattr(tally, verdict)(tally.left[0], "why")
        accepted |= set(tally.accepted)
        places = [*tally.left, *tally.accepted, *tally.refused, *tally.deferred]
        assert sorted(places) == sorted(set(everyone))
        progress = tally.progress


def test_progress_is_empty_until_somebody_is_settled() -> None:
    """A deferred recipient is no progress; the mapping is plain JSON data."""
    tally = Tally.resume(["a", "b", "c"], {})
    tally.defer("a", "450")
    assert tally.progress == {}
    tally.accept("b", "250 ok")
    tally.refuse("c", "550 no")
    assert tally.progress == {"accepted": {"b": "250 ok"}, "refused": {"c": "550 no"}}


def test_reasons_are_listed_with_their_recipients() -> None:
    """A detail names each recipient and what was said of it."""
    assert listed({"a@x.y": "550 no", "b@x.y": "551 moved"}) == "a@x.y: 550 no; b@x.y: 551 moved"
