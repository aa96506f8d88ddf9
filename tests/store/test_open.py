"""Which store it is, and who owns it."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.deliveries import Done, Settlement
from knell.errors import StoreError, StoreLocked
from knell.messages import Delivered
from knell.store import open_reader, open_store
from knell.store.contract import Accepted, Settled, State, Store
from tests.store.steps import NOW, Submit, accept, fetch, ids, start

# Ownership


def test_a_second_owner_in_this_process_is_refused(place: Any, store: Store, submit: Submit) -> None:
    """One writer at a time; the first one is not disturbed."""
    second: Store = place.store()
    with pytest.raises(StoreLocked, match="is using it"):
        second.open()
    second.close()
    assert accept(store, submit("e1", "slack")) == [Accepted(1)]
    store.close()
    second.open()
    assert ids(fetch(second)) == ["e1"]


# Which store


@pytest.mark.parametrize("open_it", [open_store, open_reader])
def test_an_unknown_kind_of_store_is_named(open_it: Callable[[str], object]) -> None:
    """Without the rest of the URL, which may hold a password."""
    with pytest.raises(StoreError, match="'mysql' is no kind of store") as caught:
        open_it("mysql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_the_outcome_itself_need_not_be_stored(store: Store, submit: Submit) -> None:
    """A settlement may carry what the channel said: the verdict is what counts."""
    accept(store, submit("e1", "slack"))
    (delivery,) = fetch(store)
    start(store, delivery)
    store.begin()
    assert store.settle([Settlement(delivery, Done(), Delivered("x"), 0.1)], NOW) == [
        Settled(1, State.DONE, 1)
    ]
    store.commit()
