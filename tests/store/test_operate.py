"""Operating: routes that are added, expiry, cancelling, pruning."""

from typing import Any

from knell.deliveries import Again, Done, Route
from knell.messages import DeliveryState, Reason
from knell.store.contract import Accepted, Ended, Reader, Settled, State, Store
from knell.store.records import Selection
from tests.store.steps import (
    NOW,
    Submit,
    accept,
    cancel,
    expire,
    fetch,
    ids,
    let_die,
    moment,
    prune,
    replay,
    send,
    settle,
    start,
    take_over,
)

# Adding routes


def test_routes_are_added_once(store: Store, submit: Submit) -> None:
    """Those the event has already are left out; the order key holds for them too."""
    accept(store, submit("e1", "slack", order_key="job"), submit("e2", "email", order_key="job"))
    store.begin()
    routes = [Route("email", "fallback"), Route("slack", "fallback"), Route("sms", "fallback")]
    assert store.add_routes(1, routes, "job") == (routes[0], routes[2])
    assert store.add_routes(1, routes, "job") == ()
    store.commit()
    assert ids(fetch(store, "email")) == ["e2"]
    (delivery,) = fetch(store, "sms")
    assert (delivery.event.event_id, delivery.rule, delivery.accepted) == ("e1", "fallback", NOW)


def test_an_event_that_is_gone_gets_no_routes(store: Store) -> None:
    """A fallback may come later than the end of everything."""
    store.begin()
    assert store.add_routes(7, [Route("email")], "") == ()
    store.commit()


# Expiring


def test_what_is_too_old_ends_as_expired(place: Any, store: Store, submit: Submit) -> None:
    """Ready, deferred or waiting, of this channel alone, oldest first, a slice at a time."""
    accept(store, submit("a0", "slack", "email", order_key="a"), submit("b0", "slack"))
    accept(store, submit("a1", "slack", order_key="a"), now=NOW + 1)
    accept(store, submit("c0", "slack"), now=NOW + 2)
    (a0, *_) = fetch(store)
    start(store, a0)
    settle(store, a0, Again(Reason.TIMEOUT, 99.0))
    expired = expire(store, NOW + 2, limit=2)
    assert expired == [Ended(1, "a0", "slack", State.DEFERRED), Ended(2, "b0", "slack", State.READY)]
    assert expire(store, NOW + 2, limit=2) == [Ended(3, "a1", "slack", State.READY)]
    assert expire(store, NOW + 2, limit=2) == []
    assert ids(fetch(store)) == ["c0"]
    assert store.counts() == {"slack": (1, 0), "email": (1, 0)}
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.success, result.error, result.reason) == (False, "expired", Reason.EXPIRED)
    assert place.reader().delivery("a0:slack").delivery.state is DeliveryState.EXPIRED


def test_what_is_under_way_does_not_expire(store: Store, submit: Submit) -> None:
    """It may have been delivered; its end counts, and what waited behind it goes on or expires."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    (a0,) = fetch(store)
    start(store, a0)
    assert [ended.event_id for ended in expire(store, NOW + 1)] == ["a1"]
    assert settle(store, a0, Done()) == Settled(1, State.DONE, 1)
    assert store.counts() == {}


# Cancelling


def test_what_is_cancelled_is_given_up_for_good(place: Any, store: Store, submit: Submit) -> None:
    """Pending and dead ones; no replay brings them back, and what waited behind them goes on."""
    let_die(store, submit("e1", "slack"))
    accept(
        store,
        submit("a0", "slack", order_key="a"),
        submit("a1", "slack", order_key="a"),
        submit("a2", "slack", order_key="a"),
    )
    assert cancel(store, Selection(ids=("e1:slack", "a0:slack", "a1:slack"))) == [
        Ended(1, "e1", "slack", State.DEAD),
        Ended(2, "a0", "slack", State.READY),
        Ended(3, "a1", "slack", State.WAITING),
    ]
    assert store.counts() == {"slack": (1, 0)}
    assert replay(store) == {}
    assert ids(fetch(store)) == ["a2"]
    result = store.results(2)["slack"]
    assert result is not None
    assert (result.error, result.reason) == ("cancelled", Reason.CANCELLED)
    assert place.reader().delivery("a1:slack").delivery.state is DeliveryState.CANCELLED


def test_what_is_under_way_or_done_is_not_cancelled(store: Store, submit: Submit) -> None:
    """The end of an attempt counts; what is only deferred has none."""
    accept(store, submit("e1", "slack"), submit("e2", "slack"), submit("e3", "slack"))
    first, second, third = fetch(store)
    start(store, first)
    start(store, second)
    settle(store, second, Done())
    start(store, third)
    settle(store, third, Again(Reason.TIMEOUT, 60.0))
    assert cancel(store) == [Ended(3, "e3", "slack", State.DEFERRED)]
    assert settle(store, first, Done()) == Settled(1, State.DONE, 1)


def test_what_is_cancelled_does_not_start(store: Store, submit: Submit) -> None:
    """A channel that holds it learns of it then."""
    accept(store, submit("e1", "slack"))
    (delivery,) = fetch(store)
    cancel(store)
    assert not start(store, delivery)


# Who did it


def test_replay_and_cancel_leave_an_audit_record(place: Any, store: Store, submit: Submit) -> None:
    """Latest first: who, what, and how many; also of nothing."""
    let_die(store, submit("e1", "slack"), submit("e2", "slack"))
    reader: Reader = place.reader()
    assert reader.audit() == []
    store.begin()
    store.replay(Selection(channel="slack"), "ann", NOW, 0.0)
    store.cancel(Selection(state=DeliveryState.DEAD), "bob", NOW + 1)
    store.commit()
    latest, first = reader.audit()
    assert (latest.at, latest.by, latest.action, latest.deliveries) == (moment(NOW + 1), "bob", "cancel", 0)
    assert (first.at, first.by, first.action, first.deliveries) == (moment(NOW), "ann", "replay", 2)
    assert "slack" in first.detail
    assert "dead" in latest.detail
    assert reader.audit(limit=1) == [latest]


def test_what_was_rolled_back_was_not_done(place: Any, store: Store, submit: Submit) -> None:
    """Nor is there a record of it."""
    let_die(store, submit("e1", "slack"))
    store.begin()
    store.replay(Selection(), "ann", NOW, 0.0)
    store.rollback()
    assert place.reader().audit() == []
    assert store.counts() == {"slack": (0, 1)}


# Pruning


def test_what_ended_long_ago_is_forgotten(place: Any, store: Store, submit: Submit) -> None:
    """Done and dead ones each after their time; unfinished ones stay, however old."""
    accept(store, submit("done", "slack"))
    send(store, Done())
    let_die(store, submit("dead", "slack"))
    accept(store, submit("open", "slack"))
    reader: Reader = place.reader()
    assert prune(store, NOW, NOW) == 0
    assert prune(store, done_before=NOW + 1, keys_before=NOW + 1) > 0
    assert [record.event_id for record in reader.deliveries(Selection())] == ["open", "dead"]
    assert reader.status("done") is None
    assert reader.delivery("done:slack") is None
    assert prune(store, NOW + 1, NOW + 1, NOW + 1) > 0
    assert [record.event_id for record in reader.deliveries(Selection())] == ["open"]
    assert prune(store, NOW + 1, NOW + 1, NOW + 1) == 0
    assert reader.check() == []
    assert ids(fetch(store)) == ["open"]


def test_pruning_goes_a_slice_at_a_time(place: Any, store: Store, submit: Submit) -> None:
    """Until it returns 0."""
    let_die(store, *(submit(f"e{n}", "slack") for n in range(5)))
    accept(store, *(submit(f"n{n}") for n in range(5)))
    reader: Reader = place.reader()
    left: list[int] = []
    while prune(store, NOW + 1, NOW + 1, NOW + 1, limit=2):
        left.append(len(reader.deliveries(Selection())))
    assert left[:3] == [3, 1, 0]
    assert reader.stats().events == 0


def test_a_key_is_kept_for_its_time(place: Any, store: Store, submit: Submit) -> None:
    """A repetition is known as such when its deliveries are forgotten already."""
    accept(store, submit("e1", "slack"))
    send(store, Done())
    while prune(store, done_before=NOW + 1, keys_before=NOW):
        continue
    assert accept(store, submit("e1", "slack"), now=NOW + 1) == [Accepted(1, duplicate=True)]
    status = place.reader().status("e1")
    assert (status.notification_id, status.channels) == ("e1", [])
    while prune(store, done_before=NOW + 1, keys_before=NOW + 1):
        continue
    assert place.reader().status("e1") is None
    assert accept(store, submit("e1", "slack"), now=NOW + 1) == [Accepted(2)]


def test_no_number_is_given_twice(place: Any, store: Store, submit: Submit) -> None:
    """Also when everything was forgotten in between: a receipt or a channel may still hold the old one."""
    accept(store, submit("e1", "slack"))
    (old,) = fetch(store)
    send(store, Done())
    while prune(store, NOW + 1, NOW + 1, NOW + 1):
        continue
    store = take_over(place, store)
    assert accept(store, submit("e2", "slack")) == [Accepted(2)]
    (new,) = fetch(store)
    assert new.row > old.row


def test_a_checkpoint_changes_nothing(place: Any, store: Store, submit: Submit) -> None:
    """Neither for those who read meanwhile nor for what comes after."""
    accept(store, submit("e1", "slack"))
    reader: Reader = place.reader()
    assert reader.status("e1") is not None
    store.checkpoint()
    accept(store, submit("e2", "slack"))
    assert reader.status("e2") is not None
    assert ids(fetch(take_over(place, store))) == ["e1", "e2"]
