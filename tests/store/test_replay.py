"""Replaying: what comes back, when, and in which order."""

from typing import Any

import pytest

from knell.deliveries import Again, Crashed, Dead, Done, Verdict
from knell.messages import DeliveryState, Reason
from knell.store.contract import Settled, State, Store
from knell.store.records import Selection
from tests.store.steps import (
    NOW,
    Submit,
    accept,
    fetch,
    ids,
    let_die,
    moment,
    recover,
    replay,
    send,
    settle,
    start,
    take_over,
)


def test_a_replayed_delivery_comes_back_as_new(place: Any, store: Store, submit: Submit) -> None:
    """Under its old id, with all its attempts and no crash counted; its history stays."""
    accept(store, submit("e1", "slack"))
    send(store, Crashed(9, "Traceback"))
    send(store, Dead(Reason.REFUSED, "no"))
    assert replay(store) == {"slack": 1}
    assert store.counts() == {"slack": (1, 0)}
    (delivery,) = fetch(store)
    assert (delivery.id, delivery.attempts, delivery.crashes) == ("e1:slack", 0, 0)
    detail = place.reader().delivery("e1:slack")
    assert (detail.delivery.state, detail.delivery.reason, detail.delivery.error) == (
        DeliveryState.PENDING,
        "",
        "",
    )
    assert detail.delivery.finished is None
    assert len(detail.attempts) == 2
    assert send(store, Done()) == Settled(1, State.DONE, 1)


def test_a_replay_of_a_replay_finds_nothing(store: Store, submit: Submit) -> None:
    """What waits, is deferred or under way is left alone; what was delivered can be sent again."""
    let_die(store, submit("e1", "slack"), submit("e2", "slack"))
    accept(store, submit("e3", "slack"))
    assert replay(store) == {"slack": 2}
    assert replay(store) == {}
    first, *_ = fetch(store)
    start(store, first)
    assert replay(store) == {}
    settle(store, first, Done())
    assert replay(store) == {"slack": 1}
    assert ids(fetch(store)) == ["e1", "e2", "e3"]


def test_a_replay_is_spread_over_time(place: Any, store: Store, submit: Submit) -> None:
    """Each is due a little later than the one before, in the order of acceptance, whatever dies meanwhile."""
    let_die(store, *(submit(f"e{n}", "slack") for n in range(4)))
    assert replay(store, interval=0.5) == {"slack": 4}
    store = take_over(place, store)
    recover(store)
    for n in range(4):
        assert store.next_due("slack") == NOW + 0.5 * n
        assert ids(fetch(store, now=NOW + 0.5 * n)) == [f"e{m}" for m in range(n + 1)]


def test_every_channel_has_a_pace_of_its_own(store: Store, submit: Submit) -> None:
    """What one channel gets back keeps no other waiting."""
    accept(store, *(submit(f"e{n}", "slack", "email") for n in range(3)))
    for channel in ("slack", "email"):
        for delivery in fetch(store, channel):
            start(store, delivery)
            settle(store, delivery, Dead(Reason.REFUSED))
    replay(store, interval=1.0)
    for channel in ("slack", "email"):
        for n in range(3):
            assert ids(fetch(store, channel, now=NOW + n)) == [f"e{m}" for m in range(n + 1)]


def test_what_is_settled_already_stays_settled(store: Store, submit: Submit) -> None:
    """A replay of an e-mail does not go to recipients who have it."""
    accept(store, submit("e1", "slack"))
    send(store, Dead(Reason.RECIPIENT, progress={"accepted": ["a"]}))
    replay(store)
    (delivery,) = fetch(store)
    assert delivery.progress == {"accepted": ["a"]}


def test_only_what_is_selected_is_replayed(store: Store, submit: Submit) -> None:
    """And each channel is counted."""
    accept(
        store,
        submit("e1", "slack", "email"),
        submit("e2", "slack", "email", event_type="job_started"),
        submit("e:3", "slack", "email"),
    )
    for channel in ("slack", "email"):
        for delivery in fetch(store, channel):
            start(store, delivery)
            settle(store, delivery, Dead(Reason.REFUSED))
    assert replay(store, Selection(event_type="job_started")) == {"slack": 1, "email": 1}
    assert replay(store, Selection(channel="slack", ids=("e:3:slack", "e:3:email", "x:slack", "x"))) == {
        "slack": 1
    }
    assert ids(fetch(store)) == ["e2", "e:3"]
    assert replay(store, Selection(since=moment(NOW + 1))) == {}
    assert replay(store, Selection(reason=Reason.TIMEOUT)) == {}
    assert replay(store, Selection(state=DeliveryState.DONE)) == {}
    assert replay(store, Selection(reason=Reason.REFUSED, until=moment(NOW + 1))) == {"slack": 1, "email": 2}


def test_a_replay_does_not_overtake_what_is_under_way(store: Store, submit: Submit) -> None:
    """It waits for the younger one, and goes before it if that has to be tried again."""
    let_die(store, submit("a0", "slack", order_key="a"))
    accept(store, submit("a1", "slack", order_key="a"), submit("a2", "slack", order_key="a"))
    (a1,) = fetch(store)
    start(store, a1)
    replay(store)
    assert fetch(store) == ()
    settle(store, a1, Again(Reason.TIMEOUT, 0.0))
    for expected in ("a0", "a1", "a2"):
        (head,) = fetch(store)
        assert head.event.event_id == expected
        send(store, Done())


@pytest.mark.parametrize("verdict", [Done(), Dead(Reason.REFUSED), Crashed(1, "x"), Crashed(9, "x")])
def test_a_replay_is_never_stuck(store: Store, submit: Submit, verdict: Verdict) -> None:
    """However the one under way ends, the replayed one goes next."""
    let_die(store, submit("a0", "slack", order_key="a"))
    accept(store, submit("a1", "slack", order_key="a"))
    (a1,) = fetch(store)
    start(store, a1)
    replay(store)
    settle(store, a1, verdict)
    assert ids(fetch(store)) == ["a0"]


def test_a_replay_is_not_stuck_behind_a_dead_process(place: Any, store: Store, submit: Submit) -> None:
    """Recovery lets it go first."""
    let_die(store, submit("a0", "slack", order_key="a"))
    accept(store, submit("a1", "slack", order_key="a"))
    start(store, *fetch(store))
    replay(store)
    store = take_over(place, store)
    assert recover(store) == 1
    assert ids(fetch(store)) == ["a0"]


def test_a_replay_goes_before_younger_ones_that_wait(store: Store, submit: Submit) -> None:
    """Also when a channel holds the younger one already: that one may not start any more."""
    let_die(store, submit("a0", "slack", order_key="a"))
    accept(store, submit("a1", "slack", order_key="a"))
    (a1,) = fetch(store)
    replay(store, interval=0.0)
    assert not start(store, a1)
    assert ids(fetch(store)) == ["a0"]
    assert ids(fetch(store, chain=2)) == ["a0", "a1"]


def test_a_replay_waits_its_turn_behind_older_ones(store: Store, submit: Submit) -> None:
    """An older one that is deferred keeps its time."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    send(store, Done())
    send(store, Dead(Reason.REFUSED))
    replay(store, Selection(ids=("a0:slack",)))
    send(store, Again(Reason.TIMEOUT, 60.0))
    replay(store)
    assert fetch(store, now=NOW + 59) == ()
    assert ids(fetch(store, now=NOW + 60)) == ["a0"]
