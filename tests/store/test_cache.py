from knell.events import NotificationEvent
from knell.store.cache import EventCache, Kept

EVENT = NotificationEvent(event_type="x", source="s", title="t")


def test_it_is_bounded_by_number() -> None:
    """The oldest are forgotten."""
    cache = EventCache(most_events=2, most_bytes=1000)
    for seq in range(3):
        cache.put(seq, Kept(EVENT, float(seq), 10))
    assert [cache.get(seq) for seq in range(3)] == [None, Kept(EVENT, 1.0, 10), Kept(EVENT, 2.0, 10)]
    assert (len(cache), cache.bytes) == (2, 20)


def test_it_is_bounded_by_size() -> None:
    """An event may have a mebibyte: a few thousand of these must not stay in memory."""
    cache = EventCache(most_events=1000, most_bytes=100)
    for seq in range(5):
        cache.put(seq, Kept(EVENT, 0.0, 40))
    assert (len(cache), cache.bytes) == (2, 80)
    cache.put(9, Kept(EVENT, 0.0, 101))  # too large by itself
    assert (len(cache), cache.bytes) == (0, 0)


def test_it_can_be_emptied() -> None:
    """When a store is opened again."""
    cache = EventCache()
    cache.put(1, Kept(EVENT, 0.0, 40))
    cache.clear()
    assert cache.get(1) is None
    assert (len(cache), cache.bytes) == (0, 0)
