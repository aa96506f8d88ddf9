"""What a program may do with deliveries, and what it hears when that does not work."""

from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.mail import Replay
from knell.errors import DeliveryError, StoreError, SystemStopped
from knell.manager import NotificationManager
from knell.messages import DeliveryState, Reason
from knell.store.records import Selection
from knell.store.sqlite import SqliteStore
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event

Run = Callable[..., Watched]

NO_RETRIES = {"max_retries": 0}
EVERYTHING = Selection()


def kill(watched: Watched, stage: Stage, *titles: str) -> None:
    """Let these events die for the only channel there is."""
    stage.failing.set()
    for title in titles:
        (result,) = watched.manager.notify(event(title, event_id=title)).results(PATIENCE)
        assert result.reason is Reason.SERVER_ERROR
    stage.failing.clear()


def test_a_program_replays_and_looks(run_system: Run, stage: Stage) -> None:
    """As the commands do: dead letters only, and the same counts."""
    watched = run_system({"a": stage.section()}, retry_policy=NO_RETRIES)
    manager = watched.manager
    kill(watched, stage, "one", "two")
    assert [found.id for found in manager.deliveries(Selection(state=DeliveryState.DEAD))] == [
        "two:a",
        "one:a",
    ]
    assert manager.delivery("one:a").attempts[0].reason == "server_error"
    assert manager.replay(EVERYTHING, "tests") == 2
    assert {stage.next_sent() for _ in range(2)} == {"one", "two"}
    assert manager.replay(EVERYTHING, "tests") == 0
    assert manager.cancel(EVERYTHING, "tests") == 0
    assert [(entry.by, entry.deliveries) for entry in manager.audit(2)] == [("tests", 0), ("tests", 0)]
    with pytest.raises(DeliveryError, match="there is no delivery 'x:a'"):
        manager.delivery("x:a")


def test_a_receipt_hears_of_the_second_chance(run_system: Run, stage: Stage) -> None:
    """Whoever still holds it finds the delivery done; it was told of the first end when that came."""
    watched = run_system({"a": stage.section()}, retry_policy=NO_RETRIES)
    stage.failing.set()
    receipt = watched.manager.notify(event("one", event_id="one"))
    assert [result.success for result in receipt.results(PATIENCE)] == [False]
    stage.failing.clear()
    watched.manager.replay(EVERYTHING, "tests")
    assert stage.next_sent() == "one"
    again = watched.manager.notify(event("one", event_id="one", timestamp=_stored(watched, "one:a")))
    assert [result.success for result in again.results(PATIENCE)] == [True]
    assert [result.success for result in receipt.results(0)] == [True]


def _stored(watched: Watched, id_: str) -> Any:
    """Return the time of a stored event: with it, the same event can be told again."""
    return watched.manager.delivery(id_).event.timestamp


def test_an_order_that_is_told_is_carried_out_too(run_system: Run, stage: Stage) -> None:
    """Among others in one transaction, and the metrics stay exact."""
    watched = run_system({"a": stage.section()}, retry_policy=NO_RETRIES)
    kill(watched, stage, "one", "two")
    outbox = watched.manager.system.outbox
    assert outbox is not None
    outbox.tell(Replay(Selection(ids=("one:a",), state=DeliveryState.DEAD), "tests"))
    assert stage.next_sent() == "one"
    (result,) = watched.manager.notify(event("three")).results(PATIENCE)
    assert result.success
    assert watched.metric("knell_dead_letters", channel="a") == 1
    watched.manager.disable_channel("a")
    assert watched.manager.replay(EVERYTHING, "tests") == 1
    assert watched.metric("knell_dead_letters", channel="a") == 0
    assert watched.metric("knell_pending", channel="a") == 1


@pytest.mark.parametrize("what", ["replay", "cancel"])
def test_a_store_that_fails_is_the_askers_error(
    run_system: Run, stage: Stage, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is no crash of the outbox, changes nothing, and the next try works."""
    watched = run_system({"a": stage.section()}, retry_policy=NO_RETRIES)
    kill(watched, stage, "one")

    def fail(_: SqliteStore) -> None:
        raise StoreError("no disk")

    order = getattr(watched.manager, what)
    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "commit", fail)
        with pytest.raises(StoreError, match="no disk"):
            order(EVERYTHING, "tests")
    assert watched.metric("knell_dead_letters", channel="a") == 1
    assert order(EVERYTHING, "tests") == 1
    assert watched.metric("knell_actor_restarts_total", actor="outbox") == 0


def test_no_order_without_a_running_system(tmp_path: Any, stage: Stage) -> None:
    """Before its start and after its end it says so at once."""
    settings = {"channels": {"a": stage.section()}, "store": {"url": f"sqlite:///{tmp_path}/knell.db"}}
    manager = NotificationManager(settings)
    with pytest.raises(SystemStopped, match="does not run yet"):
        manager.replay(EVERYTHING, "tests")
    manager.start()
    manager.stop()
    for order in (manager.replay, manager.cancel):
        with pytest.raises(SystemStopped, match="has stopped"):
            order(EVERYTHING, "tests")
