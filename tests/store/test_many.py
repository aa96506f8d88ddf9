"""Many at once: the store answers as if they had come one after the other."""

from typing import Any

import pytest

from knell.deliveries import Again, Attempt, Crashed, Dead, Done, Settlement, Verdict
from knell.messages import DeliveryState, Reason
from knell.store.contract import Accepted, Conflict, Settled, State, Store
from knell.store.records import Selection
from tests.store.steps import NOW, Submit, accept, fetch, ids, replay, settle, start


def test_repetitions_among_many_are_found(store: Store, submit: Submit) -> None:
    """By id, by key and by meaning, also of what is accepted in the same call."""
    told = [
        submit("a", "slack"),
        submit("a", "slack"),
        submit("a", "slack", title="other"),
        submit("b", "slack", keys=("b", "key")),
        submit("b", "slack", keys=("c", "key")),
        submit("b2", "slack", keys=("b2", "key")),
        submit("d", "slack", similar="x", window=9.0),
        submit("e", "slack", similar="x", window=9.0),
        submit("e", "slack"),
    ]
    assert accept(store, *told) == [
        Accepted(1),
        Accepted(1, duplicate=True),
        Conflict("a"),
        Accepted(2),
        Accepted(2, duplicate=True),
        Conflict("key"),
        Accepted(3),
        Accepted(3, duplicate=True),
        Accepted(3, duplicate=True),
    ]
    assert accept(store, *told[:3]) == [
        Accepted(1, duplicate=True),
        Accepted(1, duplicate=True),
        Conflict("a"),
    ]
    assert ids(fetch(store)) == ["a", "b", "d"]


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
def test_every_one_of_many_is_stored(store: Store, submit: Submit, count: int) -> None:
    """However many they are."""
    names = [f"e{n}" for n in range(count)]
    assert accept(store, *(submit(name, "slack", "email") for name in names)) == [
        Accepted(seq + 1) for seq in range(count)
    ]
    assert ids(fetch(store, limit=1000)) == ids(fetch(store, "email", limit=1000)) == names


def test_the_order_of_a_key_holds_among_many(store: Store, submit: Submit) -> None:
    """Whether its events are accepted together or not, one goes after the other."""
    accept(
        store,
        submit("a1", "slack", order_key="a"),
        submit("b", "slack"),
        submit("a2", "slack", order_key="a"),
    )
    first = fetch(store)
    assert ids(first) == ["a1", "b"]
    start(store, first[0])
    settle(store, first[0], Done())
    assert ids(fetch(store)) == ["b", "a2"]


def test_what_may_not_go_does_not_keep_others_from_it(store: Store, submit: Submit) -> None:
    """Of many attempts those begin that may; one that is asked for again has begun."""
    accept(
        store,
        *(submit(name, "slack") for name in "abcd"),
        *(submit(f"k{n}", "slack", order_key="k") for n in "12"),
    )
    a, b, c, d, *chain = fetch(store, chain=2)
    start(store, a)
    settle(store, a, Done())
    start(store, b)
    store.begin()
    begun = store.start([Attempt((a,)), Attempt((b,)), Attempt((c,)), Attempt(tuple(chain)), Attempt((c,))])
    store.commit()
    assert begun == [False, True, True, True, True]
    assert ids(fetch(store)) == [d.event.event_id]


VERDICTS: tuple[tuple[Verdict, State, int], ...] = (
    (Done({"id": [1, 2.5, "x"]}), State.DONE, 1),
    (Done(), State.DONE, 1),
    (Again(Reason.TIMEOUT, 60.0), State.DEFERRED, 1),
    (Again(Reason.RATE_LIMIT, 60.0, counted=False), State.DEFERRED, 0),
    (Dead(Reason.REFUSED, "no"), State.DEAD, 1),
    (Crashed(1, "boom"), State.DEAD, 1),
)


def test_many_ends_are_written_down_each_for_itself(store: Store, submit: Submit) -> None:
    """Whatever they are, and once only."""
    accept(store, *(submit(f"e{n}", "slack") for n in range(len(VERDICTS))))
    found = fetch(store)
    ended = [Settlement(delivery, verdict) for delivery, (verdict, _, _) in zip(found, VERDICTS, strict=True)]
    store.begin()
    assert store.start([Attempt((delivery,)) for delivery in found]) == [True] * len(found)
    settled = store.settle([*ended, ended[0]], NOW)
    store.commit()
    assert settled == [
        *(Settled(seq, state, attempts) for seq, (_, state, attempts) in enumerate(VERDICTS, 1)),
        None,
    ]
    receipts = [store.results(seq)["slack"] for seq in (1, 2)]
    assert [result and result.receipt for result in receipts] == [{"id": [1, 2.5, "x"]}, None]


def test_a_success_keeps_its_place_in_the_history(place: Any, store: Store, submit: Submit) -> None:
    """After a failure, and when the delivery is tried again later."""
    accept(store, submit("e", "slack"))
    for verdict in (Again(Reason.TIMEOUT, 0.0), Done("first"), Done("second")):
        if verdict == Done("second"):
            assert replay(store, Selection(state=DeliveryState.DONE)) == {"slack": 1}
        (delivery,) = fetch(store)
        start(store, delivery)
        settle(store, delivery, verdict)
    detail = place.reader().delivery("e:slack")
    assert [(a.number, a.outcome, a.milliseconds) for a in detail.attempts] == [
        (1, "retry", 250),
        (2, "delivered", 250),
        (3, "delivered", 250),
    ]
