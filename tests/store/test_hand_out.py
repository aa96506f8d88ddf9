"""Handing out: what may go, in which order, and which attempts may begin."""

from typing import Any

import pytest

from knell.deliveries import Again, Dead, Done, Verdict
from knell.messages import Reason
from knell.store.contract import State, Store
from tests.store.steps import NOW, Submit, accept, fetch, ids, recover, settle, start, take_over

# Order


def test_deliveries_come_in_the_order_of_acceptance(store: Store, submit: Submit) -> None:
    """As many as are asked for."""
    accept(store, *(submit(f"e{n}", "slack") for n in range(5)))
    assert ids(fetch(store, limit=3)) == ["e0", "e1", "e2"]


def test_one_of_a_key_at_a_time(store: Store, submit: Submit) -> None:
    """The next one may go when the one before has ended, whatever its end; other channels do not matter."""
    accept(
        store,
        *(submit(f"e{n}", "slack", order_key="job") for n in range(3)),
        submit("e3", "email", order_key="job"),
    )
    for expected, verdict in (("e0", Done()), ("e1", Dead(Reason.REFUSED)), ("e2", Done())):
        (delivery,) = fetch(store)
        assert delivery.event.event_id == expected
        assert delivery.order_key == "job"
        assert start(store, delivery)
        assert fetch(store) == ()
        settle(store, delivery, verdict)
    assert ids(fetch(store, "email")) == ["e3"]


def test_a_deferred_delivery_holds_back_its_followers(store: Store, submit: Submit) -> None:
    """Not the others."""
    accept(
        store,
        submit("e1", "slack", order_key="job"),
        submit("e2", "slack", order_key="job"),
        submit("e3", "slack"),
    )
    first, other = fetch(store)
    start(store, first)
    settle(store, first, Again(Reason.TIMEOUT, 10.0))
    assert ids(fetch(store)) == [other.event.event_id]
    assert ids(fetch(store, now=NOW + 10)) == ["e1", "e3"]


def test_deliveries_without_a_key_wait_for_nobody(store: Store, submit: Submit) -> None:
    """Each has a key of its own."""
    accept(store, submit("e1", "slack"), submit("e2", "slack"))
    first, second = fetch(store)
    assert first.order_key != second.order_key


def test_a_batch_takes_its_followers_with_it(store: Store, submit: Submit) -> None:
    """Up to the chain, each key for itself, in order; the batch may start as a whole."""
    accept(
        store,
        *(submit(f"a{n}", "slack", order_key="a") for n in range(4)),
        submit("b0", "slack", order_key="b"),
    )
    found = fetch(store, chain=3)
    assert ids(found) == ["a0", "a1", "a2", "b0"]
    assert start(store, *found)
    assert fetch(store, chain=3) == ()
    for delivery in found:
        settle(store, delivery, Done())
    assert ids(fetch(store, chain=3)) == ["a3"]


def test_a_follower_does_not_start_without_its_head(store: Store, submit: Submit) -> None:
    """Alone or in a batch that leaves one out."""
    accept(store, *(submit(f"a{n}", "slack", order_key="a") for n in range(3)), submit("b0", "slack"))
    a0, a1, a2, b0 = fetch(store, chain=3)
    assert not start(store, a1)
    assert not start(store, a1, b0)
    assert not start(store, a0, a2)
    assert start(store, b0)
    assert start(store, a0, a1, a2)


def test_a_head_does_not_go_while_its_followers_are_under_way(store: Store, submit: Submit) -> None:
    """The end of a batch may be told in parts."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    batch = fetch(store, chain=2)
    start(store, *batch)
    settle(store, batch[0], Again(Reason.TIMEOUT, 0.0))
    assert fetch(store) == ()
    assert not start(store, batch[0])
    settle(store, batch[1], Again(Reason.TIMEOUT, 0.0))
    assert ids(fetch(store, chain=2)) == ["a0", "a1"]


def test_a_follower_that_failed_waits_for_its_own_time(store: Store, submit: Submit) -> None:
    """Also when its turn comes before that."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    batch = fetch(store, chain=2)
    start(store, *batch)
    settle(store, batch[1], Again(Reason.TIMEOUT, 10.0))
    settle(store, batch[0], Done())
    assert fetch(store, now=NOW + 9) == ()
    assert store.next_due("slack") == NOW + 10
    assert ids(fetch(store, now=NOW + 10)) == ["a1"]


def test_a_batch_that_fails_comes_back_in_order(store: Store, submit: Submit) -> None:
    """The head when it is due, its followers with it."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    batch = fetch(store, chain=2)
    start(store, *batch)
    settled = [settle(store, delivery, Again(Reason.TIMEOUT, 10.0)) for delivery in batch]
    assert [(each.seq, each.attempts, each.state < State.SENDING) for each in settled if each] == [
        (1, 1, True),
        (2, 1, True),
    ]
    assert fetch(store, chain=2, now=NOW + 9) == ()
    assert ids(fetch(store, chain=2, now=NOW + 10)) == ["a0", "a1"]


# Fetching


def test_what_is_held_is_left_out(store: Store, submit: Submit) -> None:
    """As head and as follower; it does not count for the limit."""
    accept(
        store,
        *(submit(f"e{n}", "slack") for n in range(3)),
        *(submit(f"a{n}", "slack", order_key="a") for n in range(3)),
    )
    rows = [delivery.row for delivery in fetch(store, chain=3)]
    assert ids(fetch(store, held=rows[:1], limit=2)) == ["e1", "e2"]
    assert ids(fetch(store, held=rows[:3] + rows[4:5], chain=3)) == ["a0", "a2"]


def test_fetching_changes_nothing(store: Store, submit: Submit) -> None:
    """What is fetched and forgotten is fetched again."""
    accept(store, submit("e1", "slack"))
    assert fetch(store) == fetch(store) != ()


def test_the_next_due_time_is_known(store: Store, submit: Submit) -> None:
    """Of deferred deliveries of the channel, until they are fetched."""
    accept(store, submit("e1", "slack"), submit("e2", "slack"), submit("e3", "email"))
    assert store.next_due("slack") is None
    for delivery, delay in zip(fetch(store), (20.0, 10.0), strict=True):
        start(store, delivery)
        settle(store, delivery, Again(Reason.TIMEOUT, delay))
    assert store.next_due("slack") == NOW + 10
    assert store.next_due("email") is None
    assert ids(fetch(store, now=NOW + 10)) == ["e2"]
    assert store.next_due("slack") == NOW + 20


# Starting


def test_a_start_counts_before_the_first_byte(place: Any, store: Store, submit: Submit) -> None:
    """The attempt is used up even if the process dies in it."""
    accept(store, submit("e1", "slack"))
    (delivery,) = fetch(store)
    assert start(store, delivery)
    store = take_over(place, store)
    assert recover(store) == 1
    (again,) = fetch(store)
    assert (again.attempts, again.crashes) == (1, 1)


def test_the_same_start_again_is_the_same_start(store: Store, submit: Submit) -> None:
    """Its answer was lost in a crash of somebody: one attempt, not two."""
    accept(store, submit("e1", "slack"), submit("e2", "slack"))
    batch = fetch(store)
    assert start(store, *batch)
    assert start(store, *batch)
    assert start(store, batch[0])
    settled = [settle(store, delivery, Done()) for delivery in batch]
    assert [end.attempts for end in settled if end] == [1, 1]


@pytest.mark.parametrize("verdict", [Done(), Dead(Reason.REFUSED), Again(Reason.TIMEOUT, 5.0)])
def test_what_has_ended_does_not_start(store: Store, submit: Submit, verdict: Verdict) -> None:
    """Nor does what is not due, alone or in a batch with one that might."""
    accept(store, submit("e1", "slack"), submit("e2", "slack"))
    first, second = fetch(store)
    start(store, first)
    settle(store, first, verdict)
    assert not start(store, first)
    assert not start(store, first, second)
    assert start(store, second)


def test_an_attempt_that_was_overtaken_does_not_start(store: Store, submit: Submit) -> None:
    """A later attempt is under way: the word of an earlier one comes too late."""
    accept(store, submit("e1", "slack"))
    (first,) = fetch(store)
    start(store, first)
    settle(store, first, Again(Reason.TIMEOUT, 0.0))
    (second,) = fetch(store)
    assert start(store, second)
    assert not start(store, first)
