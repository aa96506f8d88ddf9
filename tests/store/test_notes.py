"""What channels remember: whatever keeps it."""

from math import inf

from knell.store.contract import Store
from tests.store.steps import NOW


def remember(store: Store, channel: str, key: str, value: bytes | None, until: float) -> None:
    """Note something in a transaction of its own."""
    store.begin()
    store.remember(channel, key, value, until)
    store.commit()


def test_the_last_note_counts_until_its_time_is_over(store: Store) -> None:
    """One per channel and key."""
    remember(store, "slack", "job", b"1", NOW + 10)
    remember(store, "slack", "job", b"2", NOW + 20)
    remember(store, "email", "job", b"3", inf)
    assert store.recall("slack", "job", NOW + 19) == b"2"
    assert store.recall("slack", "job", NOW + 20) is None
    assert store.recall("email", "job", NOW + 1e9) == b"3"
    assert store.recall("email", "other", NOW) is None


def test_a_note_can_be_taken_back(store: Store) -> None:
    """Also one that does not exist."""
    remember(store, "slack", "job", b"1", inf)
    for _ in range(2):
        remember(store, "slack", "job", None, 0.0)
        assert store.recall("slack", "job", NOW) is None


def test_a_note_of_a_transaction_that_was_rolled_back_was_never_made(store: Store) -> None:
    """It belongs to the transaction like everything else."""
    remember(store, "slack", "job", b"1", inf)
    store.begin()
    store.remember("slack", "job", b"2", inf)
    assert store.recall("slack", "job", NOW) == b"2"
    store.rollback()
    assert store.recall("slack", "job", NOW) == b"1"


def test_notes_are_forgotten_in_slices(store: Store) -> None:
    """Those whose time is over, the oldest first; the others stay."""
    for number in range(3):
        remember(store, "slack", str(number), b"x", NOW + number)
    remember(store, "slack", "for good", b"x", inf)

    def forget() -> int:
        store.begin()
        count = store.forget(NOW + 2, 2)
        store.commit()
        return count

    assert [forget(), forget(), forget()] == [2, 1, 0]
    assert store.recall("slack", "for good", NOW) == b"x"
