from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from knell.deliveries import Again, Attempt, Crashed, Dead, Delivery, Done, Route, Settlement, Verdict
from knell.errors import StoreError, StoreLocked
from knell.messages import Delivered, DeliveryState, Reason
from knell.store import open_reader, open_store
from knell.store.contract import Accepted, Conflict, Reader, Settled, State, Store, Submission

Submit = Callable[..., Submission]

NOW = 1_700_000_000.0
NONE: frozenset[int] = frozenset()


def _accept(store: Store, *submissions: Submission, now: float = NOW) -> list[Accepted | Conflict]:
    store.begin()
    answers = [store.append(submission, now) for submission in submissions]
    store.commit()
    return answers


def _fetch(
    store: Store,
    channel: str = "slack",
    limit: int = 100,
    chain: int = 1,
    held: Iterable[int] = (),
    now: float = NOW,
) -> tuple[Delivery, ...]:
    store.begin()
    found = store.fetch(channel, limit, chain, frozenset(held), now)
    store.commit()
    return found


def _ids(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.event.event_id for delivery in deliveries]


def _start(store: Store, *deliveries: Delivery) -> bool:
    store.begin()
    begun = store.start(Attempt(deliveries))
    store.commit()
    return begun


def _settle(store: Store, delivery: Delivery, verdict: Verdict, now: float = NOW) -> Settled | None:
    store.begin()
    settled = store.settle(Settlement(delivery, verdict, None, 0.25), now)
    store.commit()
    return settled


def _send(store: Store, verdict: Verdict, now: float = NOW) -> Settled | None:
    """Fetch, start and settle the only delivery there is."""
    (delivery,) = _fetch(store, now=now)
    assert _start(store, delivery)
    return _settle(store, delivery, verdict, now)


def _recover(store: Store, now: float = NOW, latest: float = NOW + 3600) -> int:
    store.begin()
    recovered = store.recover(now, latest)
    store.commit()
    return recovered


def _again(place: Any, store: Store) -> Store:
    """Let the process die and another one take over."""
    store.close()
    successor: Store = place.store()
    successor.open()
    return successor


# Accepting


def test_what_is_accepted_is_there(store: Store, submit: Submit) -> None:
    """An event with a delivery for each route."""
    assert _accept(store, submit("e1", "slack", "email", title="x")) == [Accepted(1)]
    (delivery,) = _fetch(store)
    assert (delivery.event.title, delivery.channel, delivery.rule) == ("x", "slack", "rule of slack")
    assert (delivery.attempts, delivery.crashes, delivery.accepted) == (0, 0, NOW)
    assert _ids(_fetch(store, "email")) == ["e1"]
    assert _fetch(store, "sms") == ()


def test_what_is_accepted_survives_the_process(place: Any, store: Store, submit: Submit) -> None:
    """With everything that belongs to it."""
    _accept(store, submit("e1", "slack", metadata={"a": [1, "x"]}))
    before = _fetch(store)
    assert _fetch(_again(place, store)) == before


def test_the_same_event_again_is_a_duplicate(place: Any, store: Store, submit: Submit) -> None:
    """Nothing is added, in the same transaction and in another life; its time does not matter."""
    first = submit("e1", "slack")
    later = submit("e1", "slack", "email", timestamp=datetime(2020, 1, 1, tzinfo=UTC))
    assert _accept(store, first, later) == [Accepted(1), Accepted(1, duplicate=True)]
    store = _again(place, store)
    assert _accept(store, later) == [Accepted(1, duplicate=True)]
    assert len(_fetch(store)) == 1
    assert _fetch(store, "email") == ()


def test_another_event_of_the_same_id_is_a_conflict(store: Store, submit: Submit) -> None:
    """It is refused, and nobody else's event with it."""
    answers = _accept(
        store, submit("e1", "slack"), submit("e1", "slack", title="other"), submit("e2", "slack")
    )
    assert answers == [Accepted(1), Conflict("e1"), Accepted(2)]
    assert _ids(_fetch(store)) == ["e1", "e2"]


def test_a_senders_key_makes_it_the_same_event_too(store: Store, submit: Submit) -> None:
    """Known by the key, known by the id, or another event under a known key."""
    first = submit("e1", "slack", keys=("e1", "key a"))
    answers = _accept(
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
    assert _accept(store, submit("e1", suppressed=suppressed)) == [Accepted(1)]
    assert _accept(store, submit("e1", suppressed=suppressed)) == [Accepted(1, duplicate=True)]
    status = place.reader().status("e1")
    assert (status.channels, status.suppressed) == ([], suppressed)


# Transactions


def test_a_rollback_leaves_nothing(store: Store, submit: Submit) -> None:
    """Neither the event nor its key; the next one is accepted as if nothing had been."""
    store.begin()
    store.append(submit("e1", "slack"), NOW)
    store.rollback()
    assert _fetch(store) == ()
    assert _accept(store, submit("e1", "slack", title="other")) != [Conflict("e1")]
    assert [delivery.event.title for delivery in _fetch(store)] == ["other"]


def test_what_is_not_committed_does_not_survive(place: Any, store: Store, submit: Submit) -> None:
    """A process that dies in a transaction has done nothing of it."""
    _accept(store, submit("e1", "slack"))
    (delivery,) = _fetch(store)
    store.begin()
    store.append(submit("e2", "slack"), NOW)
    store.start(Attempt((delivery,)))
    store = _again(place, store)
    assert _recover(store) == 0
    assert _ids(_fetch(store)) == ["e1"]


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
        store.append(submit("e1"), NOW)


# Order


def test_deliveries_come_in_the_order_of_acceptance(store: Store, submit: Submit) -> None:
    """As many as are asked for."""
    _accept(store, *(submit(f"e{n}", "slack") for n in range(5)))
    assert _ids(_fetch(store, limit=3)) == ["e0", "e1", "e2"]


def test_one_of_a_key_at_a_time(store: Store, submit: Submit) -> None:
    """The next one may go when the one before has ended, whatever its end; other channels do not matter."""
    _accept(
        store,
        *(submit(f"e{n}", "slack", order_key="job") for n in range(3)),
        submit("e3", "email", order_key="job"),
    )
    for expected, verdict in (("e0", Done()), ("e1", Dead(Reason.REFUSED)), ("e2", Done())):
        (delivery,) = _fetch(store)
        assert delivery.event.event_id == expected
        assert delivery.order_key == "job"
        assert _start(store, delivery)
        assert _fetch(store) == ()
        _settle(store, delivery, verdict)
    assert _ids(_fetch(store, "email")) == ["e3"]


def test_a_deferred_delivery_holds_back_its_followers(store: Store, submit: Submit) -> None:
    """Not the others."""
    _accept(
        store,
        submit("e1", "slack", order_key="job"),
        submit("e2", "slack", order_key="job"),
        submit("e3", "slack"),
    )
    first, other = _fetch(store)
    _start(store, first)
    _settle(store, first, Again(Reason.TIMEOUT, 10.0))
    assert _ids(_fetch(store)) == [other.event.event_id]
    assert _ids(_fetch(store, now=NOW + 10)) == ["e1", "e3"]


def test_deliveries_without_a_key_wait_for_nobody(store: Store, submit: Submit) -> None:
    """Each has a key of its own."""
    _accept(store, submit("e1", "slack"), submit("e2", "slack"))
    first, second = _fetch(store)
    assert first.order_key != second.order_key


def test_a_batch_takes_its_followers_with_it(store: Store, submit: Submit) -> None:
    """Up to the chain, each key for itself, in order; the batch may start as a whole."""
    _accept(
        store,
        *(submit(f"a{n}", "slack", order_key="a") for n in range(4)),
        submit("b0", "slack", order_key="b"),
    )
    found = _fetch(store, chain=3)
    assert _ids(found) == ["a0", "a1", "a2", "b0"]
    assert _start(store, *found)
    assert _fetch(store, chain=3) == ()
    for delivery in found:
        _settle(store, delivery, Done())
    assert _ids(_fetch(store, chain=3)) == ["a3"]


def test_a_follower_does_not_start_without_its_head(store: Store, submit: Submit) -> None:
    """Alone or in a batch that leaves one out."""
    _accept(store, *(submit(f"a{n}", "slack", order_key="a") for n in range(3)), submit("b0", "slack"))
    a0, a1, a2, b0 = _fetch(store, chain=3)
    assert not _start(store, a1)
    assert not _start(store, a1, b0)
    assert not _start(store, a0, a2)
    assert _start(store, b0)
    assert _start(store, a0, a1, a2)


def test_a_batch_that_fails_comes_back_in_order(store: Store, submit: Submit) -> None:
    """The head when it is due, its followers with it."""
    _accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    batch = _fetch(store, chain=2)
    _start(store, *batch)
    settled = [_settle(store, delivery, Again(Reason.TIMEOUT, 10.0)) for delivery in batch]
    assert settled == [Settled(1, State.DEFERRED, 1), Settled(2, State.WAITING, 1)]
    assert _fetch(store, chain=2, now=NOW + 9) == ()
    assert _ids(_fetch(store, chain=2, now=NOW + 10)) == ["a0", "a1"]


# Fetching


def test_what_is_held_is_left_out(store: Store, submit: Submit) -> None:
    """As head and as follower; it does not count for the limit."""
    _accept(
        store,
        *(submit(f"e{n}", "slack") for n in range(3)),
        *(submit(f"a{n}", "slack", order_key="a") for n in range(3)),
    )
    rows = [delivery.row for delivery in _fetch(store, chain=3)]
    assert _ids(_fetch(store, held=rows[:1], limit=2)) == ["e1", "e2"]
    assert _ids(_fetch(store, held=rows[:3] + rows[4:5], chain=3)) == ["a0", "a2"]


def test_fetching_changes_nothing(store: Store, submit: Submit) -> None:
    """What is fetched and forgotten is fetched again."""
    _accept(store, submit("e1", "slack"))
    assert _fetch(store) == _fetch(store) != ()


def test_the_next_due_time_is_known(store: Store, submit: Submit) -> None:
    """Of deferred deliveries of the channel, until they are fetched."""
    _accept(store, submit("e1", "slack"), submit("e2", "slack"), submit("e3", "email"))
    assert store.next_due("slack") is None
    for delivery, delay in zip(_fetch(store), (20.0, 10.0), strict=True):
        _start(store, delivery)
        _settle(store, delivery, Again(Reason.TIMEOUT, delay))
    assert store.next_due("slack") == NOW + 10
    assert store.next_due("email") is None
    assert _ids(_fetch(store, now=NOW + 10)) == ["e2"]
    assert store.next_due("slack") == NOW + 20


# Starting


def test_a_start_counts_before_the_first_byte(place: Any, store: Store, submit: Submit) -> None:
    """The attempt is used up even if the process dies in it."""
    _accept(store, submit("e1", "slack"))
    (delivery,) = _fetch(store)
    assert _start(store, delivery)
    store = _again(place, store)
    assert _recover(store) == 1
    (again,) = _fetch(store)
    assert (again.attempts, again.crashes) == (1, 1)


def test_the_same_start_again_is_the_same_start(store: Store, submit: Submit) -> None:
    """Its answer was lost in a crash of somebody: one attempt, not two."""
    _accept(store, submit("e1", "slack"), submit("e2", "slack"))
    batch = _fetch(store)
    assert _start(store, *batch)
    assert _start(store, *batch)
    assert _start(store, batch[0])
    settled = [_settle(store, delivery, Done()) for delivery in batch]
    assert [end.attempts for end in settled if end] == [1, 1]


@pytest.mark.parametrize("verdict", [Done(), Dead(Reason.REFUSED), Again(Reason.TIMEOUT, 5.0)])
def test_what_has_ended_does_not_start(store: Store, submit: Submit, verdict: Verdict) -> None:
    """Nor does what is not due, alone or in a batch with one that might."""
    _accept(store, submit("e1", "slack"), submit("e2", "slack"))
    first, second = _fetch(store)
    _start(store, first)
    _settle(store, first, verdict)
    assert not _start(store, first)
    assert not _start(store, first, second)
    assert _start(store, second)


def test_an_attempt_that_was_overtaken_does_not_start(store: Store, submit: Submit) -> None:
    """A later attempt is under way: the word of an earlier one comes too late."""
    _accept(store, submit("e1", "slack"))
    (first,) = _fetch(store)
    _start(store, first)
    _settle(store, first, Again(Reason.TIMEOUT, 0.0))
    (second,) = _fetch(store)
    assert _start(store, second)
    assert not _start(store, first)


# Settling


def test_a_delivery_that_is_done_is_done(store: Store, submit: Submit) -> None:
    """With the provider's reference; how long it took counts from its acceptance."""
    _accept(store, submit("e1", "slack"))
    assert _send(store, Done({"ts": "1.2"}), NOW + 1.5) == Settled(1, State.DONE, 1)
    assert _fetch(store, now=NOW + 1e6) == ()
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
    _accept(store, submit("e1", "slack"))
    assert _send(store, Dead(Reason.REFUSED, "no", {"a": 1})) == Settled(1, State.DEAD, 1)
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.success, result.error, result.reason) == (False, "refused: no", Reason.REFUSED)
    assert store.counts() == {"slack": (0, 1)}


def test_a_counted_attempt_is_used_up_and_another_is_not(store: Store, submit: Submit) -> None:
    """A 429 or an open breaker costs the delivery nothing."""
    _accept(store, submit("e1", "slack"))
    assert _send(store, Again(Reason.RATE_LIMIT, 0.0, False)) == Settled(1, State.DEFERRED, 0)
    assert _send(store, Again(Reason.TIMEOUT, 0.0)) == Settled(1, State.DEFERRED, 1)
    assert _send(store, Again(Reason.RATE_LIMIT, 0.0, False)) == Settled(1, State.DEFERRED, 1)
    (delivery,) = _fetch(store)
    assert delivery.attempts == 1
    assert _send(store, Done()) == Settled(1, State.DONE, 2)
    result = store.results(1)["slack"]
    assert result is not None
    assert result.retry_count == 1


def test_progress_stays_until_there_is_more(store: Store, submit: Submit) -> None:
    """An attempt that settled nobody does not forget who was settled before."""
    _accept(store, submit("e1", "slack"))
    _send(store, Again(Reason.TIMEOUT, 0.0, progress={"accepted": {"a": ""}}))
    _send(store, Again(Reason.TIMEOUT, 0.0))
    _send(store, Crashed(9, "x"))
    (delivery,) = _fetch(store)
    assert delivery.progress == {"accepted": {"a": ""}}


def test_an_end_counts_once(store: Store, submit: Submit) -> None:
    """The second word is nobody's: it changes nothing."""
    _accept(store, submit("e1", "slack"))
    (delivery,) = _fetch(store)
    assert _settle(store, delivery, Done()) is None
    _start(store, delivery)
    assert _settle(store, delivery, Done()) is not None
    assert _settle(store, delivery, Dead(Reason.REFUSED)) is None
    assert store.counts() == {}


def test_crashes_are_counted_up_to_the_quarantine(store: Store, submit: Submit) -> None:
    """The limit is the channel's; the traceback is kept."""
    _accept(store, submit("e1", "slack"))
    for crashes in (0, 1):
        (delivery,) = _fetch(store)
        assert delivery.crashes == crashes
        assert _send(store, Crashed(3, "Traceback")) == Settled(1, State.DEFERRED, crashes + 1)
    assert _send(store, Crashed(3, "Traceback")) == Settled(1, State.DEAD, 3)
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.error, result.reason) == ("crashed: Traceback", Reason.CRASHED)


# Recovering


def test_what_a_dead_process_was_sending_comes_back(place: Any, store: Store, submit: Submit) -> None:
    """At once, with a crash counted, in order; what was not under way is not touched."""
    _accept(store, *(submit(f"a{n}", "slack", order_key="a") for n in range(3)), submit("b0", "slack"))
    found = _fetch(store, chain=2)
    assert _ids(found) == ["a0", "a1", "b0"]
    _start(store, *found[:2])
    store = _again(place, store)
    assert _recover(store) == 2
    again = _fetch(store, chain=3)
    assert [(d.event.event_id, d.crashes) for d in again] == [("a0", 1), ("a1", 1), ("a2", 0), ("b0", 0)]
    assert _recover(store) == 0


def test_what_kills_the_process_three_times_is_quarantined(place: Any, store: Store, submit: Submit) -> None:
    """Dead, and its followers go on."""
    _accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    for _ in range(3):
        (delivery,) = _fetch(store)
        assert delivery.event.event_id == "a0"
        _start(store, delivery)
        store = _again(place, store)
        _recover(store)
    assert _ids(_fetch(store)) == ["a1"]
    result = store.results(1)["slack"]
    assert result is not None
    assert (result.success, result.reason) == (False, Reason.CRASHED)


def test_a_batch_of_one_key_is_quarantined_in_part(place: Any, store: Store, submit: Submit) -> None:
    """Who has died often enough; the follower is the head then, and may go."""
    _accept(store, submit("a0", "slack", order_key="a"), submit("a1", "slack", order_key="a"))
    for _ in range(2):
        _send_head(store)
        store = _again(place, store)
        _recover(store)
    batch = _fetch(store, chain=2)
    assert [delivery.crashes for delivery in batch] == [2, 0]
    _start(store, *batch)
    store = _again(place, store)
    assert _recover(store) == 2
    assert [(d.event.event_id, d.crashes) for d in _fetch(store)] == [("a1", 1)]


def _send_head(store: Store) -> None:
    (head,) = _fetch(store)
    assert _start(store, head)


def test_no_due_time_is_further_away_than_it_can_be(place: Any, store: Store, submit: Submit) -> None:
    """It comes from a clock that jumped: a delivery does not wait for a year."""
    _accept(store, submit("e1", "slack"), submit("e2", "slack"))
    for delivery, delay in zip(_fetch(store), (1e9, 60.0), strict=True):
        _start(store, delivery)
        _settle(store, delivery, Again(Reason.TIMEOUT, delay))
    store = _again(place, store)
    _recover(store, latest=NOW + 3600)
    assert store.next_due("slack") == NOW + 60
    assert _ids(_fetch(store, now=NOW + 3600)) == ["e1", "e2"]


# Adding routes


def test_routes_are_added_once(store: Store, submit: Submit) -> None:
    """Those the event has already are left out; the order key holds for them too."""
    _accept(store, submit("e1", "slack", order_key="job"), submit("e2", "email", order_key="job"))
    store.begin()
    routes = [Route("email", "fallback"), Route("slack", "fallback"), Route("sms", "fallback")]
    assert store.add_routes(1, routes, "job") == (routes[0], routes[2])
    assert store.add_routes(1, routes, "job") == ()
    store.commit()
    assert _ids(_fetch(store, "email")) == ["e2"]
    (delivery,) = _fetch(store, "sms")
    assert (delivery.event.event_id, delivery.rule, delivery.accepted) == ("e1", "fallback", NOW)


# Looking


def test_unfinished_deliveries_can_be_walked(store: Store, submit: Submit) -> None:
    """A slice at a time, oldest first, waiting and sending ones too."""
    _accept(store, *(submit(f"e{n}", "slack", order_key="job") for n in range(4)), submit("other", "email"))
    (first,) = _fetch(store)
    _start(store, first)
    pairs = store.pending("slack", 0, 2)
    assert [seq for _, seq in pairs] == [1, 2]
    assert [seq for _, seq in store.pending("slack", pairs[-1][0], 10)] == [3, 4]
    _settle(store, first, Done())
    assert [seq for _, seq in store.pending("slack", 0, 10)] == [2, 3, 4]


def test_a_stored_event_is_found_by_its_number(place: Any, store: Store, submit: Submit) -> None:
    """From this life or an earlier one; an unknown number is an error."""
    submission = submit("e1", "slack", metadata={"a": 1})
    _accept(store, submission)
    assert store.event(1) == submission.sealed.event
    store = _again(place, store)
    assert store.event(1) == submission.sealed.event
    with pytest.raises(StoreError, match="99"):
        store.event(99)


def test_results_tell_ended_from_open(store: Store, submit: Submit) -> None:
    """One entry per channel, in the order of routing."""
    _accept(store, submit("e1", "slack", "email"))
    _send(store, Done())
    results = store.results(1)
    assert list(results) == ["slack", "email"]
    assert results["slack"] is not None
    assert results["email"] is None
    assert store.results(99) == {}


def test_counts_tell_unfinished_from_dead(store: Store, submit: Submit) -> None:
    """For each channel; whatever an unfinished one waits for."""
    assert store.counts() == {}
    _accept(
        store,
        *(submit(f"e{n}", "slack", order_key="job") for n in range(3)),
        submit("x", "email"),
        submit("y", "sms"),
    )
    (first,) = _fetch(store)
    _start(store, first)
    assert store.counts() == {"slack": (3, 0), "email": (1, 0), "sms": (1, 0)}
    _settle(store, first, Dead(Reason.REFUSED))
    (sms,) = _fetch(store, "sms")
    _start(store, sms)
    _settle(store, sms, Done())
    assert store.counts() == {"slack": (2, 1), "email": (1, 0)}


# Reading


def test_a_reader_sees_what_is_committed(place: Any, store: Store, submit: Submit) -> None:
    """And nothing else, while the writer writes."""
    reader: Reader = place.reader()
    assert reader.status("e1") is None
    store.begin()
    store.append(submit("e1", "slack"), NOW)
    assert reader.status("e1") is None
    store.commit()
    assert reader.status("e1") is not None


def test_a_reader_tells_where_every_delivery_stands(place: Any, store: Store, submit: Submit) -> None:
    """State, attempts, rule, reason, and when it goes on."""
    channels = ("ready", "sending", "deferred", "done", "dead")
    _accept(store, submit("e1", *channels, suppressed={"sms": "filtered"}))
    for channel in channels[1:]:
        (delivery,) = _fetch(store, channel)
        _start(store, delivery)
    verdicts: dict[str, Verdict] = {
        "deferred": Again(Reason.TIMEOUT, 60.0, detail="x"),
        "done": Done(),
        "dead": Dead(Reason.REFUSED, "no"),
    }
    for channel, verdict in verdicts.items():
        (row,) = (row for row, _ in store.pending(channel, 0, 1))
        delivery = Delivery(row=row, event=store.event(1), channel=channel, order_key="")
        _settle(store, delivery, verdict, NOW + 5)
    status = place.reader().status("e1")
    assert (status.notification_id, status.event_type) == ("e1", "job_failed")
    assert status.accepted == datetime.fromtimestamp(NOW, UTC)
    assert status.suppressed == {"sms": "filtered"}
    then = datetime.fromtimestamp(NOW + 5, UTC)
    seen = {c.channel: (c.state, c.attempts, c.reason, c.error, c.finished) for c in status.channels}
    assert seen == {
        "ready": (DeliveryState.PENDING, 0, "", "", None),
        "sending": (DeliveryState.SENDING, 1, "", "", None),
        "deferred": (DeliveryState.PENDING, 1, "timeout", "x", None),
        "done": (DeliveryState.DONE, 1, "delivered", "", then),
        "dead": (DeliveryState.DEAD, 1, "refused", "no", then),
    }
    assert status.channels[0].delivery_id == "e1:ready"
    assert {c.channel: c.next_attempt for c in status.channels if c.next_attempt} == {
        "deferred": datetime.fromtimestamp(NOW + 65, UTC)
    }
    assert status.channels[0].rule == "rule of ready"


def test_a_reader_can_be_closed_twice_and_used_again(place: Any, store: Store, submit: Submit) -> None:
    """It opens what it needs."""
    _accept(store, submit("e1"))
    reader: Reader = place.reader()
    assert reader.status("e1") is not None
    reader.close()
    reader.close()
    assert reader.status("e1") is not None


def test_a_reader_of_nothing_says_so(place: Any) -> None:
    """A store that was never opened cannot be read."""
    with pytest.raises(StoreError):
        place.reader().status("e1")


# Ownership


def test_a_second_owner_in_this_process_is_refused(place: Any, store: Store, submit: Submit) -> None:
    """One writer at a time; the first one is not disturbed."""
    second: Store = place.store()
    with pytest.raises(StoreLocked, match="is using it"):
        second.open()
    second.close()
    assert _accept(store, submit("e1", "slack")) == [Accepted(1)]
    store.close()
    second.open()
    assert _ids(_fetch(second)) == ["e1"]


# Which store


@pytest.mark.parametrize("open_it", [open_store, open_reader])
def test_an_unknown_kind_of_store_is_named(open_it: Callable[[str], object]) -> None:
    """Without the rest of the URL, which may hold a password."""
    with pytest.raises(StoreError, match="'mysql' is no kind of store") as caught:
        open_it("mysql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_the_outcome_itself_need_not_be_stored(store: Store, submit: Submit) -> None:
    """A settlement may carry what the channel said: the verdict is what counts."""
    _accept(store, submit("e1", "slack"))
    (delivery,) = _fetch(store)
    _start(store, delivery)
    store.begin()
    assert store.settle(Settlement(delivery, Done(), Delivered("x"), 0.1), NOW) == Settled(1, State.DONE, 1)
    store.commit()
