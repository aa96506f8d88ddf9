from typing import Any

from knell.actors.mail import Append, Begin, Settled, Want
from knell.actors.pile import Pile
from knell.actors.policy.channel import Fetch
from knell.deliveries import Attempt, Delivery, Done, Settlement
from knell.events import NotificationEvent

NOBODY: Any = None


def delivery(row: int) -> Delivery:
    """Return a delivery."""
    event = NotificationEvent(event_type="x", source="s", title="t")
    return Delivery(row=row, event=event, channel="slack", order_key=f"#{row}")


def begin(*rows: int) -> Begin:
    """Return an order to begin an attempt."""
    return Begin(Attempt(tuple(map(delivery, rows))), NOBODY)


def settled(*rows: int) -> Settled:
    """Return a report that attempts have ended."""
    return Settled(tuple(Settlement(delivery(row), Done()) for row in rows))


def test_what_concerns_different_deliveries_is_gathered() -> None:
    """By kind, in the order in which it came."""
    pile, append = Pile(), Append((), NOBODY)
    messages = [begin(1), settled(2, 3), append, begin(4, 5), settled(6), append]
    assert all(pile.take(message) for message in messages)
    assert pile.appends == [append, append]
    assert [order.attempt.rows for order in pile.begins] == [(1,), (4, 5)]
    assert [settlement.delivery.row for settlement in pile.settlements] == [2, 3, 6]


def test_what_concerns_the_same_delivery_waits() -> None:
    """Which of the two comes first matters."""
    pile = Pile()
    assert pile.take(begin(1, 2))
    assert not pile.take(settled(2))
    assert not pile.take(begin(3, 1))
    assert pile.take(begin(3))


def test_anything_else_is_handled_by_itself() -> None:
    """A request, for example."""
    assert not Pile().take(Want("slack", Fetch(1, 1, frozenset()), NOBODY))
