from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from knell.actors.policy.batcher import Batch, Batcher, BatchPolicy
from knell.deliveries import Delivery
from knell.events import Severity

MakeDelivery = Callable[..., Delivery]

POLICY = BatchPolicy(max_size=3, max_wait=30)


def _rows(batches: list[Batch]) -> list[tuple[int, ...]]:
    return [tuple(delivery.row for delivery in batch) for batch in batches]


def test_without_batching_everything_goes_at_once(make_delivery: MakeDelivery) -> None:
    """Size 1 is no batching."""
    batcher = Batcher(BatchPolicy())
    assert _rows(batcher.add(make_delivery(1), 0)) == [(1,)]
    assert batcher.next_due() is None


def test_a_full_batch_goes_at_once(make_delivery: MakeDelivery) -> None:
    """The third delivery completes it."""
    batcher = Batcher(POLICY)
    assert batcher.add(make_delivery(1), 0) == []
    assert batcher.add(make_delivery(2), 1) == []
    assert [delivery.row for delivery in batcher] == [1, 2]
    assert _rows(batcher.add(make_delivery(3), 2)) == [(1, 2, 3)]
    assert list(batcher) == []


def test_a_batch_goes_when_its_first_delivery_has_waited(make_delivery: MakeDelivery) -> None:
    """Later ones do not prolong it."""
    batcher = Batcher(POLICY)
    batcher.add(make_delivery(1), 100)
    batcher.add(make_delivery(2), 129)
    assert batcher.next_due() == 130
    assert batcher.due(129.9) == []
    assert _rows(batcher.due(130)) == [(1, 2)]
    assert batcher.next_due() is None


def test_event_types_are_gathered_apart(make_delivery: MakeDelivery) -> None:
    """Each type has its batch and its time."""
    batcher = Batcher(POLICY)
    batcher.add(make_delivery(1, event_type="a"), 0)
    batcher.add(make_delivery(2, event_type="b"), 5)
    assert _rows(batcher.due(30)) == [(1,)]
    assert batcher.next_due() == 35
    assert _rows(batcher.due(40)) == [(2,)]


def test_event_types_share_a_batch_by_channel(make_delivery: MakeDelivery) -> None:
    """`batch_by: channel` puts everything into one message."""
    batcher = Batcher(BatchPolicy(2, 30, by_event_type=False))
    batcher.add(make_delivery(1, event_type="a"), 0)
    assert _rows(batcher.add(make_delivery(2, event_type="b"), 0)) == [(1, 2)]


def test_critical_never_waits(make_delivery: MakeDelivery) -> None:
    """It goes alone and at once; what else is gathered goes on waiting."""
    batcher = Batcher(POLICY)
    batcher.add(make_delivery(1), 0)
    assert _rows(batcher.add(make_delivery(2, severity="critical"), 0)) == [(2,)]
    assert [delivery.row for delivery in batcher] == [1]


def test_critical_takes_along_what_its_job_said_before(make_delivery: MakeDelivery) -> None:
    """Order within a key: the batch that holds the same key goes first."""
    batcher = Batcher(POLICY)
    batcher.add(make_delivery(1, key="job"), 0)
    batcher.add(make_delivery(2), 0)
    ready = batcher.add(make_delivery(3, key="job", severity="critical"), 0)
    assert _rows(ready) == [(1, 2), (3,)]


def test_a_later_event_of_a_job_does_not_overtake(make_delivery: MakeDelivery) -> None:
    """Of another type, it would sit in another batch: the first batch is closed."""
    batcher = Batcher(POLICY)
    batcher.add(make_delivery(1, key="job", event_type="a"), 0)
    assert _rows(batcher.add(make_delivery(2, key="job", event_type="b"), 1)) == [(1,)]
    assert [delivery.row for delivery in batcher] == [2]


def test_dropping_a_key_leaves_the_others(make_delivery: MakeDelivery) -> None:
    """What waits behind a failed delivery is forgotten, and an empty batch with it."""
    batcher = Batcher(POLICY)
    batcher.add(make_delivery(1, key="job"), 0)
    batcher.add(make_delivery(2), 0)
    batcher.add(make_delivery(3, key="else", event_type="b"), 0)
    batcher.drop("job")
    assert [delivery.row for delivery in batcher] == [2, 3]
    batcher.drop("else")
    assert [delivery.row for delivery in batcher] == [2]
    assert batcher.next_due() == 30


def test_a_batch_is_due_at_the_very_time_it_named(make_delivery: MakeDelivery) -> None:
    """Rounding may not make it wait for a moment that has already come: that would spin for ever."""
    batcher = Batcher(BatchPolicy(5, 0.3))
    batcher.add(make_delivery(1), 0.4)
    at = batcher.next_due()
    assert at is not None
    assert at - 0.3 < 0.4, "a time at which rounding shows"
    assert _rows(batcher.due(at)) == [(1,)]


_steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans(), st.floats(0, 20)), max_size=60
)


@given(_steps, st.integers(1, 4), st.sampled_from(["event_type", "channel"]))
def test_properties_of_every_history(
    make_delivery: MakeDelivery, steps: list[tuple[str, str, bool, float]], size: int, batch_by: str
) -> None:
    """Nothing lost or doubled, no batch too large, none too old, critical at once, order within a key."""
    batcher, now = Batcher(BatchPolicy(size, 30, by_event_type=batch_by == "event_type")), 0.0
    added: dict[int, tuple[Delivery, float]] = {}
    sent: list[Delivery] = []
    for row, (key, event_type, critical, gap) in enumerate(steps):
        now += gap
        for batch in batcher.due(now):
            sent += batch
        severity = "critical" if critical else "info"
        delivery = make_delivery(row, key=key, event_type=event_type, severity=severity)
        added[row] = (delivery, now)
        ready = batcher.add(delivery, now)
        for batch in ready:
            assert 1 <= len(batch) <= size
            sent += batch
        if critical:
            assert ready[-1] == (delivery,)
        for waiting in batcher:
            assert now < added[waiting.row][1] + 30
            assert waiting.event.severity is not Severity.CRITICAL
    for batch in batcher.due(now + 30):
        sent += batch
    assert sorted(delivery.row for delivery in sent) == list(added)
    for key in "abc":
        rows = [delivery.row for delivery in sent if delivery.order_key == key]
        assert rows == sorted(rows)
