"""Accepting: each event once, with all its deliveries, or not at all."""

from datetime import UTC, datetime
from typing import Any

import pytest

from knell.deliveries import Attempt
from knell.errors import StoreError
from knell.store.contract import Accepted, Conflict, Store
from tests.store.steps import NOW, Submit, accept, fetch, ids, moment, recover, take_over

# Accepting


def test_what_is_accepted_is_there(store: Store, submit: Submit) -> None:
    """An event with a delivery for each route."""
    assert accept(store, submit("e1", "slack", "email", title="x")) == [Accepted(1)]
    (delivery,) = fetch(store)
    assert (delivery.event.title, delivery.channel, delivery.rule) == ("x", "slack", "rule of slack")
    assert (delivery.attempts, delivery.crashes, delivery.accepted) == (0, 0, NOW)
    assert ids(fetch(store, "email")) == ["e1"]
    assert fetch(store, "sms") == ()


def test_what_is_accepted_survives_the_process(place: Any, store: Store, submit: Submit) -> None:
    """With everything that belongs to it."""
    accept(store, submit("e1", "slack", metadata={"a": [1, "x"]}))
    before = fetch(store)
    assert fetch(take_over(place, store)) == before


def test_the_same_event_again_is_a_duplicate(place: Any, store: Store, submit: Submit) -> None:
    """Nothing is added, in the same transaction and in another life; its time does not matter."""
    first = submit("e1", "slack")
    later = submit("e1", "slack", "email", timestamp=datetime(2020, 1, 1, tzinfo=UTC))
    assert accept(store, first, later) == [Accepted(1), Accepted(1, duplicate=True)]
    store = take_over(place, store)
    assert accept(store, later) == [Accepted(1, duplicate=True)]
    assert len(fetch(store)) == 1
    assert fetch(store, "email") == ()


def test_another_event_of_the_same_id_is_a_conflict(store: Store, submit: Submit) -> None:
    """It is refused, and nobody else's event with it."""
    answers = accept(
        store, submit("e1", "slack"), submit("e1", "slack", title="other"), submit("e2", "slack")
    )
    assert answers == [Accepted(1), Conflict("e1"), Accepted(2)]
    assert ids(fetch(store)) == ["e1", "e2"]


def test_a_senders_key_makes_it_the_same_event_too(store: Store, submit: Submit) -> None:
    """Known by the key, known by the id, or another event under a known key."""
    first = submit("e1", "slack", keys=("e1", "key a"))
    answers = accept(
        store,
        first,
        submit("e1", "slack", keys=("e1", "key b")),
        submit("e1", "slack"),
        submit("e2", "slack", keys=("e2", "key a")),
        submit("e3", "slack", keys=("e3", "key c")),
    )
    assert answers == [
        Accepted(1),
        Accepted(1, duplicate=True),
        Accepted(1, duplicate=True),
        Conflict("key a"),
        Accepted(2),
    ]


def test_an_event_with_nowhere_to_go_is_kept(place: Any, store: Store, submit: Submit) -> None:
    """With the reasons why not, and known again."""
    suppressed = {"slack": "disabled"}
    assert accept(store, submit("e1", suppressed=suppressed)) == [Accepted(1)]
    assert accept(store, submit("e1", suppressed=suppressed)) == [Accepted(1, duplicate=True)]
    status = place.reader().status("e1")
    assert (status.channels, status.suppressed) == ([], suppressed)


# How long


def test_a_key_counts_as_seen_for_its_time(place: Any, submit: Submit) -> None:
    """And not a moment longer, also before anything is pruned: the id may be used for another event then."""
    store: Store = place.store(remember=60.0)
    store.open()
    first, other = submit("e1", "slack"), submit("e1", "slack", title="other")
    assert accept(store, first) == [Accepted(1)]
    assert accept(store, first, other, now=NOW + 59) == [Accepted(1, duplicate=True), Conflict("e1")]
    assert accept(store, other, now=NOW + 60) == [Accepted(2)]
    assert accept(store, other, now=NOW + 61) == [Accepted(2, duplicate=True)]
    assert [delivery.event.title for delivery in fetch(store)] == ["t", "other"]
    assert place.reader().status("e1").accepted == moment(NOW + 60)


# Similar events


def test_a_similar_event_is_a_duplicate_within_the_window(store: Store, submit: Submit) -> None:
    """Whatever its id. The window begins with the event that stands for the others, not with the last one."""

    def like(event_id: str, at: float) -> Accepted | Conflict:
        (answer,) = accept(store, submit(event_id, "slack", similar="a", window=60.0), now=NOW + at)
        return answer

    assert like("e1", 0) == Accepted(1)
    assert like("e2", 30) == Accepted(1, duplicate=True)
    assert like("e3", 59) == Accepted(1, duplicate=True)
    assert like("e4", 60) == Accepted(2)
    assert like("e5", 119) == Accepted(2, duplicate=True)
    assert ids(fetch(store)) == ["e1", "e4"]


def test_only_what_is_similar_is(store: Store, submit: Submit) -> None:
    """Another likeness, or none, is another event."""
    answers = accept(
        store,
        submit("e1", "slack", similar="a", window=60.0),
        submit("e2", "slack", similar="b", window=60.0),
        submit("e3", "slack"),
        submit("e4", "slack"),
    )
    assert answers == [Accepted(n) for n in (1, 2, 3, 4)]


def test_the_id_of_a_similar_event_names_the_one_that_stands_for_it(
    place: Any, store: Store, submit: Submit
) -> None:
    """For its status, and for a repetition: the same one is a duplicate for good, another is a conflict."""
    accept(store, submit("e1", "slack", similar="a", window=60.0))
    second = submit("e2", "slack", similar="a", window=60.0, keys=("e2", "key k"), title="again")
    assert accept(store, second) == [Accepted(1, duplicate=True)]
    status = place.reader().status("e2")
    assert (status.notification_id, [c.delivery_id for c in status.channels]) == ("e1", ["e1:slack"])
    assert accept(store, second, now=NOW + 3600) == [Accepted(1, duplicate=True)]
    assert accept(store, submit("e2", "slack"), now=NOW + 3600) == [Conflict("e2")]
    assert accept(store, submit("e3", "slack", keys=("e3", "key k"))) == [Conflict("key k")]


def test_likeness_survives_the_process(place: Any, store: Store, submit: Submit) -> None:
    """It is kept with the event."""
    accept(store, submit("e1", "slack", similar="a", window=60.0))
    store = take_over(place, store)
    assert accept(store, submit("e2", "slack", similar="a", window=60.0)) == [Accepted(1, duplicate=True)]


# Transactions


def test_a_rollback_leaves_nothing(store: Store, submit: Submit) -> None:
    """Neither the event nor its key; the next one is accepted as if nothing had been."""
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    store.rollback()
    assert fetch(store) == ()
    assert accept(store, submit("e1", "slack", title="other")) != [Conflict("e1")]
    assert [delivery.event.title for delivery in fetch(store)] == ["other"]


def test_what_is_not_committed_does_not_survive(place: Any, store: Store, submit: Submit) -> None:
    """A process that dies in a transaction has done nothing of it."""
    accept(store, submit("e1", "slack"))
    (delivery,) = fetch(store)
    store.begin()
    store.append([submit("e2", "slack")], NOW)
    store.start([Attempt((delivery,))])
    store = take_over(place, store)
    assert recover(store) == 0
    assert ids(fetch(store)) == ["e1"]


def test_an_error_rolls_back(store: Store) -> None:
    """A call that fails leaves no half transaction behind."""
    store.begin()
    with pytest.raises(StoreError, match="transaction"):
        store.begin()
    store.begin()
    store.rollback()
    store.rollback()


def test_a_store_that_is_not_open_says_so(place: Any, submit: Submit) -> None:
    """Before `open` and after `close`; a second `close` does nothing."""
    store: Store = place.store()
    with pytest.raises(StoreError, match="not open"):
        store.begin()
    store.open()
    store.close()
    store.close()
    with pytest.raises(StoreError, match="not open"):
        store.append([submit("e1")], NOW)
