"""Looking into the store, from its own thread and from others."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from knell.deliveries import Again, Dead, Delivery, Done, Verdict
from knell.errors import StoreError
from knell.events import Severity
from knell.messages import DeliveryState, Reason
from knell.store.contract import Reader, Store
from knell.store.records import DeliveryRecord, Selection
from tests.store.steps import NOW, Submit, accept, fetch, ids, moment, replay, send, settle, start, take_over

# Looking


def test_unfinished_deliveries_can_be_walked(store: Store, submit: Submit) -> None:
    """A slice at a time, oldest first, waiting and sending ones too."""
    accept(store, *(submit(f"e{n}", "slack", order_key="job") for n in range(4)), submit("other", "email"))
    (first,) = fetch(store)
    start(store, first)
    pairs = store.pending("slack", 0, 2)
    assert [seq for _, seq in pairs] == [1, 2]
    assert [seq for _, seq in store.pending("slack", pairs[-1][0], 10)] == [3, 4]
    settle(store, first, Done())
    assert [seq for _, seq in store.pending("slack", 0, 10)] == [2, 3, 4]


def test_a_stored_event_is_found_by_its_number(place: Any, store: Store, submit: Submit) -> None:
    """From this life or an earlier one; an unknown number is an error."""
    submission = submit("e1", "slack", metadata={"a": 1})
    accept(store, submission)
    assert store.event(1) == submission.sealed.event
    store = take_over(place, store)
    assert store.event(1) == submission.sealed.event
    with pytest.raises(StoreError, match="99"):
        store.event(99)


def test_results_tell_ended_from_open(store: Store, submit: Submit) -> None:
    """One entry per channel, in the order of routing."""
    accept(store, submit("e1", "slack", "email"))
    send(store, Done())
    results = store.results(1)
    assert list(results) == ["slack", "email"]
    assert results["slack"] is not None
    assert results["email"] is None
    assert store.results(99) == {}


def test_counts_tell_unfinished_from_dead(store: Store, submit: Submit) -> None:
    """For each channel; whatever an unfinished one waits for."""
    assert store.counts() == {}
    accept(
        store,
        *(submit(f"e{n}", "slack", order_key="job") for n in range(3)),
        submit("x", "email"),
        submit("y", "sms"),
    )
    (first,) = fetch(store)
    start(store, first)
    assert store.counts() == {"slack": (3, 0), "email": (1, 0), "sms": (1, 0)}
    settle(store, first, Dead(Reason.REFUSED))
    (sms,) = fetch(store, "sms")
    start(store, sms)
    settle(store, sms, Done())
    assert store.counts() == {"slack": (2, 1), "email": (1, 0)}


# Reading


def test_a_reader_sees_what_is_committed(place: Any, store: Store, submit: Submit) -> None:
    """And nothing else, while the writer writes."""
    reader: Reader = place.reader()
    assert reader.status("e1") is None
    store.begin()
    store.append([submit("e1", "slack")], NOW)
    assert reader.status("e1") is None
    store.commit()
    assert reader.status("e1") is not None


def test_a_reader_tells_where_every_delivery_stands(place: Any, store: Store, submit: Submit) -> None:
    """State, attempts, rule, reason, and when it goes on."""
    channels = ("ready", "sending", "deferred", "done", "dead")
    accept(store, submit("e1", *channels, suppressed={"sms": "filtered"}))
    for channel in channels[1:]:
        (delivery,) = fetch(store, channel)
        start(store, delivery)
    verdicts: dict[str, Verdict] = {
        "deferred": Again(Reason.TIMEOUT, 60.0, detail="x"),
        "done": Done(),
        "dead": Dead(Reason.REFUSED, "no"),
    }
    for channel, verdict in verdicts.items():
        (row,) = (row for row, _ in store.pending(channel, 0, 1))
        delivery = Delivery(row=row, event=store.event(1), channel=channel, order_key="")
        settle(store, delivery, verdict, NOW + 5)
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
    accept(store, submit("e1"))
    reader: Reader = place.reader()
    assert reader.status("e1") is not None
    reader.close()
    reader.close()
    assert reader.status("e1") is not None


def test_a_reader_of_nothing_says_so(place: Any) -> None:
    """A store that was never opened cannot be read."""
    with pytest.raises(StoreError):
        place.reader().status("e1")


# Lists


def test_deliveries_are_listed_youngest_first(place: Any, store: Store, submit: Submit) -> None:
    """A page at a time, each from the place where the one before ended."""
    accept(store, *(submit(f"e{n}", "slack") for n in range(5)))
    reader: Reader = place.reader()
    page = reader.deliveries(Selection(), limit=2)
    assert [record.event_id for record in page] == ["e4", "e3"]
    accept(store, submit("e5", "slack"))
    page = reader.deliveries(Selection(), page[-1].cursor, limit=2)
    assert [record.event_id for record in page] == ["e2", "e1"]
    page = reader.deliveries(Selection(), page[-1].cursor, limit=2)
    assert [record.event_id for record in page] == ["e0"]
    assert reader.deliveries(Selection(), page[-1].cursor) == []


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "1;2", "٣"])
def test_a_cursor_that_was_never_given_is_refused(place: Any, store: Store, cursor: str) -> None:
    """It comes from outside."""
    del store
    with pytest.raises(ValueError, match="no cursor"):
        place.reader().deliveries(Selection(), cursor)


def test_a_record_tells_what_an_operator_wants_to_know(place: Any, store: Store, submit: Submit) -> None:
    """Of one that waits for its time, and of one that is dead."""
    accept(store, submit("e1", "slack", "email", title="Nightly", severity="error"))
    send(store, Again(Reason.TIMEOUT, 60.0, detail="no answer"))
    (email,) = fetch(store, "email")
    start(store, email)
    settle(store, email, Dead(Reason.REFUSED, "no"), NOW + 5)
    dead, deferred = place.reader().deliveries(Selection())
    assert dead == DeliveryRecord(
        id="e1:email",
        cursor=dead.cursor,
        channel="email",
        event_id="e1",
        event_type="job_failed",
        severity=Severity.ERROR,
        title="Nightly",
        state=DeliveryState.DEAD,
        attempts=1,
        crashes=0,
        reason="refused",
        error="no",
        accepted=moment(NOW),
        finished=moment(NOW + 5),
    )
    assert (deferred.id, deferred.state, deferred.next_attempt) == (
        "e1:slack",
        DeliveryState.PENDING,
        moment(NOW + 60),
    )
    assert (deferred.reason, deferred.error, deferred.attempts) == ("timeout", "no answer", 1)


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), ["open", "sending", "dead", "done"]),
        (Selection(state=DeliveryState.PENDING), ["open"]),
        (Selection(state=DeliveryState.SENDING), ["sending"]),
        (Selection(state=DeliveryState.DEAD), ["dead"]),
        (Selection(state=DeliveryState.DONE), ["done"]),
        (Selection(state=DeliveryState.EXPIRED), []),
        (Selection(channel="slack"), ["open", "sending", "dead", "done"]),
        (Selection(channel="email"), []),
        (Selection(event_type="job_started"), ["dead"]),
        (Selection(reason=Reason.REFUSED), ["dead"]),
        (Selection(ids=("done:slack", "open:slack", "open:email", "nobody")), ["open", "done"]),
        (Selection(since=moment(NOW + 10)), ["open", "dead", "done"]),
        (Selection(until=moment(NOW + 10)), ["sending"]),
        (Selection(since=moment(NOW + 20), until=moment(NOW + 30)), ["done"]),
        (Selection(state=DeliveryState.DEAD, channel="email"), []),
    ],
)
def test_every_field_of_a_selection_counts(
    place: Any, store: Store, submit: Submit, selection: Selection, found: list[str]
) -> None:
    """`since` and `until` look at the end of what has ended, and at the acceptance of what has not."""
    accept(store, submit("done", "slack"), submit("dead", "slack", event_type="job_started"))
    done, dead = fetch(store)
    start(store, done)
    settle(store, done, Done(), NOW + 20)
    start(store, dead)
    settle(store, dead, Dead(Reason.REFUSED), NOW + 30)
    accept(store, submit("sending", "slack"), now=NOW + 5)
    start(store, *fetch(store))
    accept(store, submit("open", "slack"), now=NOW + 10)
    assert [record.event_id for record in place.reader().deliveries(selection)] == found
    assert place.reader().count(selection) == len(found)


def test_one_delivery_is_shown_with_its_event(place: Any, store: Store, submit: Submit) -> None:
    """Event ids may hold colons, names of channels cannot; a similar event leads to the one sent."""
    first = submit("a:b", "slack", similar="x", window=60.0, metadata={"n": 1})
    accept(store, first, submit("c", "slack", similar="x", window=60.0))
    reader: Reader = place.reader()
    detail = reader.delivery("a:b:slack")
    assert detail is not None
    assert (detail.delivery.id, detail.event, detail.rule) == (
        "a:b:slack",
        first.sealed.event,
        "rule of slack",
    )
    assert detail.attempts == ()
    assert reader.delivery("c:slack") == detail
    for unknown in ("a:b:email", "a:b", "slack", "", ":slack"):
        assert reader.delivery(unknown) is None


# The whole


def test_the_stats_say_how_full_it_is(place: Any, store: Store, submit: Submit) -> None:
    """By channel and public state; the oldest that is not finished."""
    reader: Reader = place.reader()
    accept(store, submit("e1", "slack"), submit("none"))
    empty = reader.stats().bytes
    send(store, Dead(Reason.REFUSED))
    accept(store, submit("e2", "email", order_key="a"), now=NOW + 1)
    accept(store, submit("e3", "email", "slack", order_key="a", description="x" * 100_000), now=NOW + 2)
    stats = reader.stats()
    assert stats.events == 4
    assert stats.states == {
        "slack": {DeliveryState.DEAD: 1, DeliveryState.PENDING: 1},
        "email": {DeliveryState.PENDING: 2},
    }
    assert stats.oldest_pending == moment(NOW + 1)
    assert stats.bytes > empty > 0
    assert stats.free_bytes > 0


def test_the_oldest_is_none_when_all_is_done(place: Any, store: Store, submit: Submit) -> None:
    """Whatever has ended does not wait."""
    accept(store, submit("e1", "slack"))
    send(store, Done())
    assert place.reader().stats().oldest_pending is None


def test_a_store_in_order_passes_the_check(place: Any, store: Store, submit: Submit) -> None:
    """In every state a delivery can have, while its owner has it open."""
    accept(store, *(submit(f"a{n}", "slack", order_key="a") for n in range(3)), submit("none"))
    (head,) = fetch(store)
    start(store, head)
    assert place.reader().check() == []
    settle(store, head, Dead(Reason.REFUSED))
    (head,) = fetch(store)
    start(store, head)
    replay(store)
    assert place.reader().check() == []


def test_a_backup_is_a_store_of_its_own(
    place: Any, store: Store, submit: Submit, make_place: Callable[[], Any]
) -> None:
    """Of what is committed at that moment; its owner goes on meanwhile."""
    accept(store, submit("e1", "slack", order_key="a"), submit("e2", "slack", order_key="a"))
    copy = make_place()
    store.begin()
    store.append([submit("e3", "slack")], NOW)
    place.reader().backup(copy.path)
    store.commit()
    successor: Store = copy.store()
    successor.open()
    assert ids(fetch(successor, chain=9)) == ["e1", "e2"]
    assert copy.reader().check() == []
    assert ids(fetch(store, chain=9)) == ["e1", "e2", "e3"]


def test_a_backup_overwrites_nothing(place: Any, store: Store, tmp_path: Path) -> None:
    """Nor does it leave half a file where it cannot write."""
    del store
    there = tmp_path / "there"
    there.write_text("mine")
    for target in (there, tmp_path / "no" / "folder"):
        with pytest.raises(StoreError, match="backup"):
            place.reader().backup(target)
    assert there.read_text() == "mine"
    assert not (tmp_path / "no").exists()
