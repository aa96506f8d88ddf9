import threading
from typing import Any

from tests.deeds import Puppets, ask, crash
from tests.puppets import PATIENCE, Gate


def _notices(told: list[tuple[Any, ...]]) -> list[Any]:
    return [word[2:] for word in told if word[1] == "terminated"]


def test_42_a_watcher_is_told_of_the_final_stop_only(tree: Any, story: Any, puppet: Puppets) -> None:
    """Once; at once if it has happened already; never at a restart.

    Origin: Pekko DeathWatchSpec, 134, 144 and 194.
    """
    control = tree.start(puppet("a"), puppet("watcher"))
    watched, watcher = tree.ref("a"), tree.ref("watcher")
    first = ask(watcher, lambda p: p.ctx.watch(watched))
    watched.tell(crash)
    assert _notices(story.until("a", "start", 2)) == []
    watched.stop(timeout=PATIENCE)
    assert _notices(story.until("a", "start", 3)) == []
    watcher.ask("nothing before this", timeout=PATIENCE)
    assert _notices(story.until("watcher", "nothing before this")) == []
    control.terminate_child("a")
    assert _notices(story.until("watcher", "terminated", "a", first)) == [("a", first)]
    late = ask(watcher, lambda p: p.ctx.watch(watched))
    assert _notices(story.until("watcher", "terminated", "a", late)) == [("a", late)]
    control.restart_child("a")
    control.terminate_child("a")
    watcher.ask("nothing after it", timeout=PATIENCE)
    assert _notices(story.until("watcher", "nothing after it")) == []


def test_42_a_stop_and_a_watch_that_race_give_one_notice(tree: Any, story: Any, puppet: Puppets) -> None:
    """Whoever comes first: registered before the close or told at once, never both and never neither.

    Origin: Pekko DeathWatchSpec, 144.
    """
    control = tree.start(puppet("a"), puppet("watcher"))
    watched, watcher = tree.ref("a"), tree.ref("watcher")
    for _ in range(50):
        ready = threading.Barrier(2)

        def watch(puppet: Any, ready: threading.Barrier = ready) -> Any:
            ready.wait(PATIENCE)
            return puppet.ctx.watch(watched)

        future = watcher.ask(watch, block=False)
        ready.wait(PATIENCE)
        control.terminate_child("a")
        number = future.get(timeout=PATIENCE)
        told = story.until("watcher", "terminated", "a", number)
        watcher.ask("next", timeout=PATIENCE)
        assert _notices([*told, *story.until("watcher", "next")]) == [("a", number)]
        control.restart_child("a")


def test_43_no_notice_after_unwatch(tree: Any, story: Any, puppet: Puppets, gate: Gate) -> None:
    """Not even one that is on its way already.

    Origin: Pekko DeathWatchSpec, 267.
    """

    def change_its_mind(puppet: Any) -> None:
        watch = puppet.ctx.watch(watched)
        gate(puppet)
        puppet.ctx.unwatch(watch)

    control = tree.start(puppet("a"), puppet("watcher"))
    watched, watcher = tree.ref("a"), tree.ref("watcher")
    watcher.tell(change_its_mind)
    assert gate.entered.wait(PATIENCE)
    posted = tree.system_message("watcher")
    control.terminate_child("a")
    assert posted.wait(PATIENCE)
    gate.leave.set()
    watcher.ask("next", timeout=PATIENCE)
    assert _notices(story.until("watcher", "next")) == []
