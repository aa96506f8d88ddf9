"""What a test does with a store, each step in a transaction of its own."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from knell.deliveries import Attempt, Dead, Delivery, Settlement, Verdict
from knell.messages import Outcome, Reason
from knell.store.contract import Accepted, Conflict, Ended, Settled, Store, Submission
from knell.store.records import Selection

Submit = Callable[..., Submission]

NOW = 1_700_000_000.0
EVERYTHING = Selection()


def moment(seconds: float) -> datetime:
    """Return a time as people see it."""
    return datetime.fromtimestamp(seconds, UTC)


def accept(store: Store, *submissions: Submission, now: float = NOW) -> list[Accepted | Conflict]:
    """Accept events."""
    store.begin()
    answers = store.append(submissions, now)
    store.commit()
    return answers


def fetch(
    store: Store,
    channel: str = "slack",
    limit: int = 100,
    chain: int = 1,
    held: Iterable[int] = (),
    now: float = NOW,
) -> tuple[Delivery, ...]:
    """Ask for deliveries that may go."""
    store.begin()
    found = store.fetch(channel, limit, chain, frozenset(held), now)
    store.commit()
    return found


def ids(deliveries: Iterable[Delivery]) -> list[str]:
    """Return whose deliveries these are."""
    return [delivery.event.event_id for delivery in deliveries]


def start(store: Store, *deliveries: Delivery) -> bool:
    """Begin an attempt."""
    store.begin()
    (begun,) = store.start([Attempt(deliveries)])
    store.commit()
    return begun


def settle(
    store: Store, delivery: Delivery, verdict: Verdict, now: float = NOW, *, outcome: Outcome | None = None
) -> Settled | None:
    """End an attempt that took a quarter of a second."""
    store.begin()
    (settled,) = store.settle([Settlement(delivery, verdict, outcome, 0.25)], now)
    store.commit()
    return settled


def send(store: Store, verdict: Verdict, now: float = NOW) -> Settled | None:
    """Fetch, start and settle the only delivery there is."""
    (delivery,) = fetch(store, now=now)
    assert start(store, delivery)
    return settle(store, delivery, verdict, now)


def recover(store: Store, now: float = NOW, latest: float = NOW + 3600) -> int:
    """Do what a new process does first."""
    store.begin()
    recovered = store.recover(now, latest)
    store.commit()
    return recovered


def take_over(place: Any, store: Store) -> Store:
    """Let the process die and another one take over."""
    store.close()
    successor: Store = place.store()
    successor.open()
    return successor


def replay(
    store: Store, selection: Selection = EVERYTHING, now: float = NOW, interval: float = 0.0
) -> dict[str, int]:
    """Bring deliveries back."""
    store.begin()
    replayed = store.replay(selection, "tests", now, interval)
    store.commit()
    return replayed


def cancel(store: Store, selection: Selection = EVERYTHING, now: float = NOW) -> list[Ended]:
    """Give deliveries up."""
    store.begin()
    ended = store.cancel(selection, "tests", now)
    store.commit()
    return ended


def expire(
    store: Store, accepted_before: float, channel: str = "slack", now: float = NOW, limit: int = 100
) -> list[Ended]:
    """End deliveries that are too old."""
    store.begin()
    ended = store.expire(channel, accepted_before, now, limit)
    store.commit()
    return ended


def prune(
    store: Store,
    done_before: float = 0.0,
    dead_before: float = 0.0,
    keys_before: float = 0.0,
    limit: int = 100,
) -> int:
    """Forget what ended long ago."""
    store.begin()
    pruned = store.prune(done_before, dead_before, keys_before, limit)
    store.commit()
    return pruned


def let_die(store: Store, *submissions: Submission) -> list[Delivery]:
    """Accept events and let all their deliveries to Slack die."""
    accept(store, *submissions)
    found: list[Delivery] = []
    while batch := fetch(store):
        for delivery in batch:
            start(store, delivery)
            settle(store, delivery, Dead(Reason.REFUSED, "no"))
            found.append(delivery)
    return found
