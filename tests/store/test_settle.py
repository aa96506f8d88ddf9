"""Settling: how attempts end, and what is left of those that did not."""

from datetime import UTC, datetime
from typing import Any

from knell.deliveries import Again, Crashed, Dead, Done, Verdict
from knell.messages import DeliveryState, Outcome, Reason, Rejected, Retry, Unknown
from knell.store.contract import Settled, State, Store
from tests.store.steps import (
    NOW,
    Submit,
    accept,
    fetch,
    ids,
    moment,
    recover,
    replay,
    send,
    settle,
    start,
    take_over,
)

# Settling


def test_a_delivery_that_is_done_is_done(store: Store, submit: Submit) -> None:
    """With the provider's reference; how long it took counts from its acceptance."""
    accept(store, submit("e1", "slack"))
    assert send(store, Done({"ts": "1.2"}), NOW + 1.5) == Settled(1, State.DONE, 1)
    assert fetch(store, now=NOW + 1e6) == ()
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.notification_id, result.channel, result.success, result.error) == (
        "e1",
        "slack",
        True,
        None,
    )
    assert (result.reason, result.receipt) == (Reason.DELIVERED, {"ts": "1.2"})
    assert (result.retry_count, result.delivery_time_ms) == (0, 1500)
    assert result.timestamp == datetime.fromtimestamp(NOW + 1.5, UTC)


def test_a_delivery_that_is_dead_is_kept(store: Store, submit: Submit) -> None:
    """With its reason, for an operator."""
    accept(store, submit("e1", "slack"))
    assert send(store, Dead(Reason.REFUSED, "no", {"a": 1})) == Settled(1, State.DEAD, 1)
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.success, result.error, result.reason) == (False, "refused: no", Reason.REFUSED)
    assert store.counts() == {"slack": (0, 1)}


def test_a_counted_attempt_is_used_up_and_another_is_not(store: Store, submit: Submit) -> None:
    """A 429 or an open breaker costs the delivery nothing."""
    accept(store, submit("e1", "slack"))
    assert send(store, Again(Reason.RATE_LIMIT, 0.0, False)) == Settled(1, State.DEFERRED, 0)
    assert send(store, Again(Reason.TIMEOUT, 0.0)) == Settled(1, State.DEFERRED, 1)
    assert send(store, Again(Reason.RATE_LIMIT, 0.0, False)) == Settled(1, State.DEFERRED, 1)
    (delivery,) = fetch(store)
    assert delivery.attempts == 1
    assert send(store, Done()) == Settled(1, State.DONE, 2)
    result = store.results(1)["slack"]
    assert result is not None
    assert result.retry_count == 1


def test_progress_stays_until_there_is_more(store: Store, submit: Submit) -> None:
    """An attempt that settled nobody does not forget who was settled before."""
    accept(store, submit("e1", "slack"))
    send(store, Again(Reason.TIMEOUT, 0.0, progress={"accepted": {"a": ""}}))
    send(store, Again(Reason.TIMEOUT, 0.0))
    send(store, Crashed(9, "x"))
    (delivery,) = fetch(store)
    assert delivery.progress == {"accepted": {"a": ""}}


def test_an_end_counts_once(store: Store, submit: Submit) -> None:
    """The second word is nobody's: it changes nothing."""
    accept(store, submit("e1", "slack"))
    (delivery,) = fetch(store)
    assert settle(store, delivery, Done()) is None
    start(store, delivery)
    assert settle(store, delivery, Done()) is not None
    assert settle(store, delivery, Dead(Reason.REFUSED)) is None
    assert store.counts() == {}


def test_crashes_are_counted_up_to_the_quarantine(store: Store, submit: Submit) -> None:
    """The limit is the channel's; the traceback is kept."""
    accept(store, submit("e1", "slack"))
    for crashes in (0, 1):
        (delivery,) = fetch(store)
        assert delivery.crashes == crashes
        assert send(store, Crashed(3, "Traceback")) == Settled(1, State.DEFERRED, crashes + 1)
    assert send(store, Crashed(3, "Traceback")) == Settled(1, State.DEAD, 3)
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.error, result.reason) == ("crashed: Traceback", Reason.CRASHED)


# Recovering


def test_what_a_dead_process_was_sending_comes_back(place: Any, store: Store, submit: Submit) -> None:
    """At once, with a crash counted, in order; what was not under way is not touched."""
    accept(store, *(submit(f"a{n}", "slack", order_key="a") for n in range(3)), submit("b0", "slack"))
    found = fetch(store, chain=2)
    assert ids(found) == ["a0", "a1", "b0"]
    start(store, *found[:2])
    store = take_over(place, store)
    assert recover(store) == 2
    again = fetch(store, chain=3)
    assert [(d.event.event_id, d.crashes) for d in again] == [("a0", 1), ("a1", 1), ("a2", 0), ("b0", 0)]
    assert recover(store) == 0


def test_what_kills_the_process_three_times_is_quarantined(place: Any, store: Store, submit: Submit) -> None:
    """Dead, and its followers go on."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    for _ in range(3):
        (delivery,) = fetch(store)
        assert delivery.event.event_id == "a0"
        start(store, delivery)
        store = take_over(place, store)
        recover(store)
    assert ids(fetch(store)) == ["a1"]
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.success, result.reason) == (False, Reason.CRASHED)


def test_a_batch_of_one_key_is_quarantined_in_part(place: Any, store: Store, submit: Submit) -> None:
    """Who has died often enough; the follower is the head then, and may go."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    for _ in range(2):
        send_head(store)
        store = take_over(place, store)
        recover(store)
    batch = fetch(store, chain=2)
    assert [delivery.crashes for delivery in batch] == [2, 0]
    start(store, *batch)
    store = take_over(place, store)
    assert recover(store) == 2
    assert [(d.event.event_id, d.crashes) for d in fetch(store)] == [("a1", 1)]


def send_head(store: Store) -> None:
    """Begin the only delivery that may go."""
    (head,) = fetch(store)
    assert start(store, head)


def test_no_due_time_is_further_away_than_it_can_be(place: Any, store: Store, submit: Submit) -> None:
    """It comes from a clock that jumped: a delivery does not wait for a year."""
    accept(store, submit("e1", "slack"), submit("e2", "slack"))
    for delivery, delay in zip(fetch(store), (1e9, 60.0), strict=True):
        start(store, delivery)
        settle(store, delivery, Again(Reason.TIMEOUT, delay))
    store = take_over(place, store)
    recover(store, latest=NOW + 3600)
    assert store.next_due("slack") == NOW + 60
    assert ids(fetch(store, now=NOW + 3600)) == ["e1", "e2"]


def test_what_waits_for_its_turn_is_not_further_away_either(place: Any, store: Store, submit: Submit) -> None:
    """A follower keeps its due time while it waits."""
    accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    batch = fetch(store, chain=2)
    start(store, *batch)
    settle(store, batch[1], Again(Reason.TIMEOUT, 1e9))
    store = take_over(place, store)
    recover(store, latest=NOW + 3600)
    send(store, Done())
    assert store.next_due("slack") == NOW + 3600


# The history


def test_every_attempt_is_kept_with_its_outcome(place: Any, store: Store, submit: Submit) -> None:
    """What the channel said, why, when, and how long it took; numbered as they came."""
    accept(store, submit("e1", "slack"))
    steps: list[tuple[Verdict, Outcome | None]] = [
        (Again(Reason.RATE_LIMIT, 0.0, False, "429"), Retry(Reason.RATE_LIMIT)),
        (Again(Reason.TIMEOUT, 0.0, True, "no answer"), Unknown(Reason.TIMEOUT)),
        (Crashed(9, "Traceback"), None),
        (Again(Reason.CANCELLED, 0.0, False), None),
        (Dead(Reason.REFUSED, "no"), Rejected(Reason.REFUSED)),
    ]
    for number, (verdict, outcome) in enumerate(steps):
        (delivery,) = fetch(store, now=NOW + number)
        start(store, delivery)
        settle(store, delivery, verdict, NOW + number, outcome=outcome)
    replay(store, now=NOW + 9)
    send(store, Done(), NOW + 9)
    attempts = place.reader().delivery("e1:slack").attempts
    assert [(a.number, a.outcome, a.reason, a.error) for a in attempts] == [
        (1, "retry", "rate_limit", "429"),
        (2, "unknown", "timeout", "no answer"),
        (3, "crashed", "crashed", "Traceback"),
        (4, "retry", "cancelled", ""),
        (5, "rejected", "refused", "no"),
        (6, "delivered", "delivered", ""),
    ]
    assert [a.at for a in attempts] == [moment(NOW + n) for n in (0, 1, 2, 3, 4, 9)]
    assert {a.milliseconds for a in attempts} == {250}


def test_an_attempt_the_process_died_in_is_kept_as_unknown(place: Any, store: Store, submit: Submit) -> None:
    """The provider may have it; the last one is no different."""
    accept(store, submit("e1", "slack"))
    for _ in range(3):
        send_head(store)
        store = take_over(place, store)
        recover(store)
    detail = place.reader().delivery("e1:slack")
    assert detail.delivery.state is DeliveryState.DEAD
    assert [(a.number, a.outcome, a.reason) for a in detail.attempts] == [
        (n, "unknown", "crashed") for n in (1, 2, 3)
    ]
