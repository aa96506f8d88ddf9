"""Systems that come and go in one process, and ends that do not go as planned."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pykka
import pytest

from knell.manager import NotificationManager
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event

Run = Callable[..., Watched]

AGAIN_AND_AGAIN = """
def left():
    gc.collect()
    return [len(os.listdir("/proc/self/fd")), threading.active_count()]

def once(number):
    with knell.start(CONFIG) as manager:
        receipt = manager.notify(event(str(number)))
        assert receipt.results(20)[0].success
        assert manager.get_delivery_status(receipt.id).channels[0].state == "done"

once(0)
before = left()
for number in range(1, 51):
    once(number)
say(before=before, after=left())
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_nothing_is_left_behind_by_fifty_systems(programs: Any) -> None:
    """No thread and no open file."""
    said = programs.said(AGAIN_AND_AGAIN)
    assert said["after"] == said["before"]
    assert programs.titles() == [str(number) for number in range(51)]


def test_two_systems_in_one_process(run_system: Run, make_stage: Callable[[], Stage], tmp_path: Path) -> None:
    """Each has its own actors, metrics and end; a crash in one is nothing to the other."""
    here, there = make_stage(), make_stage()
    one = run_system({"a": here.section()})
    two = run_system({"a": there.section()}, store={"url": f"sqlite:///{tmp_path}/two.db"})
    here.crashing.set()
    one.tell("one")
    one.event("restarted", "channels/a")
    two.tell("two")
    assert there.next_sent() == "two"
    assert two.metric("knell_actor_restarts_total", actor="channels/a") == 0
    one.manager.stop()
    two.tell("three")
    assert there.next_sent() == "three"
    assert one.manager.notify(event("late")).refused == "stopped"
    two.manager.stop()
    for watched in (one, two):
        system = watched.manager.system
        ours = {cell.actor_ref for cell in (system.root, *system.cells())}
        assert ours.isdisjoint(pykka.ActorRegistry.get_all())


def test_stop_twice(run_system: Run, stage: Stage) -> None:
    """The second call finds nothing to do."""
    watched = run_system({"a": stage.section()})
    watched.manager.stop()
    watched.manager.stop()
    with watched.manager:
        pass
    assert not watched.manager.ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        watched.manager.ref.tell(event("late"))


def test_stop_from_several_threads_at_once(run_system: Run, stage: Stage) -> None:
    """Each returns when it is over."""
    watched = run_system({"a": stage.section()})
    errors: list[BaseException] = []

    def stop() -> None:
        try:
            watched.manager.stop()
        except BaseException as error:  # noqa: BLE001 - it would be lost with its thread
            errors.append(error)

    threads = [threading.Thread(target=stop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert errors == []
    assert watched.manager.system.root.closed.is_set()


def test_a_stop_lets_go_who_waits(run_system: Run, stage: Stage) -> None:
    """For as long as it takes, said a thread; that is until the system ends."""
    stage.holding.set()
    watched = run_system({"a": stage.section()})
    receipt = watched.manager.notify(event("one"))
    assert receipt.accepted(PATIENCE)
    results: list[Any] = []
    waiter = threading.Thread(target=lambda: results.extend(receipt.results()))
    waiter.start()
    watched.manager.stop(0.05)
    waiter.join(PATIENCE)
    assert [(result.channel, result.error) for result in results] == [("a", "pending")]
    assert [result.error for result in receipt.results()] == ["pending"], "also for who asks later"


def test_stop_while_an_actor_hangs(run_system: Run, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """It returns after its timeout and says so; the rest ends by itself, and then the store is free."""
    stage.hanging.set()
    watched = run_system({"a": stage.section()}, supervision={"children": {"a": {"shutdown_seconds": 3600}}})
    watched.tell("stuck")
    assert stage.hung.wait(PATIENCE)
    watched.manager.stop(0.05)
    assert not stage.free.is_set()
    assert [record for record in caplog.records if record.message == "system.abandoned"]
    stage.release()
    assert watched.manager.system.root.closed.wait(PATIENCE)
    run_system({"a": stage.section()}).manager.stop()


def test_stop_while_a_channel_blocks_everybody(run_system: Run, stage: Stage) -> None:
    """A channel that blocks the I/O thread, as none may, does not hold up the host."""
    stage.blocking.set()
    watched = run_system({"a": stage.section()})
    watched.tell("stuck")
    assert stage.hung.wait(PATIENCE)
    watched.manager.stop(0.05)
    assert not stage.free.is_set()


@pytest.mark.parametrize("hanging", [False, True])
def test_a_stop_waits_for_channels_to_say_goodbye(run_system: Run, stage: Stage, *, hanging: bool) -> None:
    """A round trip with a mail server, for example; also when a send that hangs is given up for it."""
    said: list[str] = []

    async def goodbye() -> None:
        for word in ("good", "bye"):
            await asyncio.to_thread(said.append, word)

    stage.goodbye = goodbye
    watched = run_system({"a": stage.section()}, supervision={"children": {"a": {"shutdown_seconds": 0.05}}})
    watched.tell("one")
    assert stage.next_sent() == "one"
    if hanging:
        stage.holding.set()
        watched.tell("two")
        assert [stage.next_tried(), stage.next_tried()] == ["one", "two"]
    watched.manager.stop()
    assert said == ["good", "bye"]


def test_stop_from_within(run_system: Run, stage: Stage) -> None:
    """A channel that stops the system it lives in does not wait for itself."""
    watched = run_system({"a": stage.section()})
    stage.call = watched.manager.stop
    watched.tell("the last one")
    assert watched.manager.system.root.closed.wait(PATIENCE)
    assert stage.next_sent() == "the last one"


def test_a_manager_that_was_never_started(stage: Stage, tmp_path: Path) -> None:
    """It can be stopped like any other."""
    before = set(threading.enumerate())
    manager = NotificationManager(
        {"channels": {"a": stage.section()}, "store": {"url": f"sqlite:///{tmp_path}/knell.db"}}
    )
    manager.stop()
    assert set(threading.enumerate()) <= before


def test_a_start_that_fails_leaves_nothing(run_system: Run, stage: Stage) -> None:
    """No thread, no metric, no actor; the store that was in use goes on."""
    watched = run_system({"a": stage.section()})
    before, actors = set(threading.enumerate()), len(pykka.ActorRegistry.get_all())
    with pytest.raises(Exception, match="is using it"):
        run_system({"a": stage.section()})
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    assert set(threading.enumerate()) <= before
    assert len(pykka.ActorRegistry.get_all()) <= actors
    watched.tell("one")
    assert stage.next_sent() == "one"
