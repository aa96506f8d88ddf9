import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

import knell
from knell.actors.outbox import Outbox
from knell.actors.router import Router
from knell.messages import Reason
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event

AT_ONCE = {"min_seconds": 0, "max_seconds": 0}
LATE = {"min_seconds": 3600, "max_seconds": 3600, "jitter": 0}
Run = Callable[..., Watched]


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the title "router" still crashes the router, and "outbox" the outbox."""
    left = {"router": 0, "outbox": 0}
    route = Router._route  # pyright: ignore[reportPrivateUsage]
    append = Outbox._appended  # pyright: ignore[reportPrivateUsage]

    def explode(title: str, where: str) -> None:
        if title == where and left[where] > 0:
            left[where] -= 1
            raise RuntimeError("a bug of knell's own")

    def poisoned_route(router: Router, sealed: Any, key: str = "") -> Any:
        explode(sealed.event.title, "router")
        return route(router, sealed, key)

    def poisoned_append(outbox: Outbox, submission: Any, *args: Any) -> None:
        explode(submission.sealed.event.title, "outbox")
        append(outbox, submission, *args)

    monkeypatch.setattr(Router, "_route", poisoned_route)
    monkeypatch.setattr(Outbox, "_appended", poisoned_append)
    return left


def node(watched: Watched, name: str) -> Any:
    """Return what supervision knows of a channel."""
    return watched.manager.system.root.children["channels"].children[name].record


@pytest.mark.parametrize(
    ("strategy", "crashes", "restarted"),
    [
        ("one_for_one", "outbox", ["outbox"]),
        ("rest_for_one", "outbox", ["outbox", "channels", "router"]),
        ("rest_for_one", "router", ["router"]),
        ("one_for_all", "router", ["outbox", "channels", "router"]),
    ],
)
def test_strategy(
    run_system: Run, stage: Stage, poison: dict[str, int], strategy: str, crashes: str, restarted: list[str]
) -> None:
    """Who is restarted with whom; the event that did it is delivered all the same."""
    poison[crashes] = 1
    watched = run_system({"a": stage.section()}, supervision={"strategy": strategy, "backoff": AT_ONCE})
    watched.tell(crashes)
    assert stage.next_sent() == crashes
    for name in restarted:
        watched.event("restarted", name)
    lives = {name: cell.mailbox.epoch for name, cell in watched.manager.system.root.children.items()}
    assert lives == {name: 1 + (name in restarted) for name in ("outbox", "channels", "router")}


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"max_restarts": 1, "within_seconds": 50}, "1 restarts in 50 s"),
        ({"children": {"router": {"max_restarts": 0}}}, "0 restarts in 60 s"),
        ({"max_restarts": 0, "children": {"router": {"max_restarts": 2}}}, "2 restarts in 60 s"),
        ({"children": {"router": {"within_seconds": 9}}}, "5 restarts in 9 s"),
    ],
)
def test_max_restarts_of_what_is_needed(
    run_system: Run, stage: Stage, poison: dict[str, int], settings: dict[str, Any], most: str
) -> None:
    """The system fails with it, and says why; a number of its own counts for it alone."""
    poison["router"] = 100
    children = {**settings.pop("children", {})}
    children["router"] = {"attempts": 100, **children.get("router", {})}
    watched = run_system(
        {"a": stage.section()}, supervision={**settings, "backoff": AT_ONCE, "children": children}
    )
    watched.tell("router")
    assert watched.event("escalated", "").detail == f"router: more than {most}"
    assert watched.manager.system.root.closed.wait(PATIENCE)
    assert watched.manager.notify(event("late")).refused == "stopped"


@pytest.mark.parametrize(
    ("settings", "crashes"),
    [
        ({"max_restarts": 0}, 1),
        ({"max_restarts": 2}, 3),
        ({"max_restarts": 0, "children": {"a": {"max_restarts": 3}}}, 4),
    ],
)
def test_max_restarts_of_a_channel(
    run_system: Run, stage: Stage, settings: dict[str, Any], crashes: int
) -> None:
    """It is degraded, and its siblings do not count."""
    stage.crashing.set()
    watched = run_system({"a": stage.section(concurrency=1)}, supervision={**settings, "backoff": AT_ONCE})
    watched.tell("one", "two")
    watched.event("degraded", "channels/a")
    assert stage.tried.qsize() == crashes
    assert watched.metric("knell_actor_restarts_total", actor="channels/a") == crashes - 1


@pytest.mark.parametrize(
    "settings", [{"within_seconds": 1e-6}, {"children": {"a": {"within_seconds": 1e-6}}}]
)
def test_within_seconds(run_system: Run, stage: Stage, settings: dict[str, Any]) -> None:
    """Restarts of long ago do not count: here all are, so that it never has too many."""
    stage.crashing.set()
    watched = run_system(
        {"a": stage.section(concurrency=1)}, supervision={"max_restarts": 1, "backoff": AT_ONCE, **settings}
    )
    watched.tell("one", "two")
    for _ in range(6):  # three attempts each
        watched.event("restarted", "channels/a")
    assert node(watched, "a").status == "running"


@pytest.mark.parametrize("settings", [{"backoff": LATE}, {"children": {"a": {"backoff": LATE}}}])
def test_backoff(run_system: Run, stage: Stage, settings: dict[str, Any]) -> None:
    """How long a crashed actor stays down."""
    stage.crashing.set()
    watched = run_system({"a": stage.section()}, supervision=settings)
    asked = watched.manager.system.host.clock.now()
    watched.tell("one")
    watched.event("crashed", "channels/a")
    watched.manager.system.root.children["channels"].actor_ref.ask(None, timeout=PATIENCE)
    assert node(watched, "a").status == "restarting"
    assert node(watched, "a").due >= asked + 3600


def test_cooldown_seconds(run_system: Run, stage: Stage) -> None:
    """When a degraded channel is tried again."""
    stage.crashing.set()
    watched = run_system({"a": stage.section()}, supervision={"max_restarts": 0, "cooldown_seconds": 3600})
    asked = watched.manager.system.host.clock.now()
    watched.tell("one")
    watched.event("degraded", "channels/a")
    assert node(watched, "a").status == "degraded"
    assert node(watched, "a").due >= asked + 3600


def test_hang_after_seconds(run_system: Run, stage: Stage) -> None:
    """A message that takes longer is given up with its thread; those after it are delivered."""
    stage.hanging.set()
    watched = run_system(
        {"a": stage.section(concurrency=1)},
        supervision={"backoff": AT_ONCE, "children": {"a": {"hang_after_seconds": 0.05, "attempts": 1}}},
    )
    watched.tell("stuck")
    assert stage.hung.wait(PATIENCE)
    stage.hanging.clear()
    watched.event("hung", "channels/a")
    watched.event("restarted", "channels/a")
    watched.tell("free")
    assert stage.next_sent() == "free"
    assert watched.metric("knell_zombie_threads") == 1
    assert watched.metric("knell_actor_dead_letters_total", actor="channels/a", reason="hung") == 1


def test_shutdown_seconds(run_system: Run, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Who does not stop in its time is left behind."""
    stage.hanging.set()
    watched = run_system({"a": stage.section()}, supervision={"children": {"a": {"shutdown_seconds": 0.05}}})
    watched.tell("stuck")
    assert stage.hung.wait(PATIENCE)
    watched.manager.stop(PATIENCE)
    assert watched.manager.system.root.closed.is_set()
    (left,) = [record for record in caplog.records if record.message == "actor.abandoned"]
    assert (left.__dict__["actor"], left.__dict__["after_seconds"]) == ("channels/a", 0.05)
    assert watched.manager.system.host.living_zombies() == 1


def test_mailbox(run_system: Run, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than fit is refused, and counted."""
    entered, leave = threading.Event(), threading.Event()
    route = Router._route  # pyright: ignore[reportPrivateUsage]

    def wait(router: Router, sealed: Any, key: str = "") -> Any:
        entered.set()
        assert leave.wait(PATIENCE)
        return route(router, sealed, key)

    monkeypatch.setattr(Router, "_route", wait)
    watched = run_system({"a": stage.section()}, supervision={"children": {"router": {"mailbox": 2}}})
    watched.tell("in hand")
    assert entered.wait(PATIENCE)
    receipts = [watched.manager.notify(event(title)) for title in ("first", "second", "third")]
    leave.set()
    assert receipts[2].refused == "mailbox_full"
    assert [stage.next_sent() for _ in range(3)] == ["in hand", "first", "second"]
    assert watched.metric("knell_events_total", event_type="job_failed", result="overflow") == 1


@pytest.mark.parametrize("attempts", [1, 2, None])
def test_attempts_of_a_channel(run_system: Run, stage: Stage, attempts: int | None) -> None:
    """So many crashes over one delivery quarantine it, with its traceback; by default three."""
    stage.crashing.set()
    given = {} if attempts is None else {"attempts": attempts}
    watched = run_system({"a": stage.section()}, supervision={"backoff": AT_ONCE, "children": {"a": given}})
    (result,) = watched.manager.notify_and_wait(event("one"), PATIENCE)
    assert (result.success, result.reason) == (False, Reason.CRASHED)
    assert 'RuntimeError("a bug")' in str(result.error) or "RuntimeError: a bug" in str(result.error)
    assert stage.tried.qsize() == (attempts or 3)


def test_attempts_of_the_router(run_system: Run, stage: Stage, poison: dict[str, int]) -> None:
    """An event that crashes it so often is a dead letter, and its sender is told."""
    poison["router"] = 2
    watched = run_system(
        {"a": stage.section()}, supervision={"backoff": AT_ONCE, "children": {"router": {"attempts": 2}}}
    )
    receipt = watched.manager.notify(event("router"))
    assert not receipt.accepted(PATIENCE)
    assert receipt.refused == "crashed"
    watched.tell("next")
    assert stage.next_sent() == "next"
    assert watched.metric("knell_actor_dead_letters_total", actor="router", reason="crashed") == 1


def test_max_zombies(run_system: Run, stage: Stage) -> None:
    """One hung thread more, and the whole system fails, whatever the supervisor between would do."""
    stage.hanging.set()
    children = {"a": {"hang_after_seconds": 0.05}}
    watched = run_system(
        {"a": stage.section()}, supervision={"max_zombies": 0, "backoff": AT_ONCE, "children": children}
    )
    watched.tell("stuck")
    assert watched.event("escalated", "").detail == "1 hung threads, more than 0"
    assert watched.manager.system.root.closed.wait(PATIENCE)


def test_the_end_of_the_system_is_told(tmp_path: Any, poison: dict[str, int]) -> None:
    """The host gets a call, from which it may stop the system; whoever waits for a receipt is let go."""
    poison["router"] = 1
    told: queue.Queue[str] = queue.Queue()

    def fatal(why: str) -> None:
        manager.stop()
        told.put(why)

    manager = knell.start(
        {
            "store": {"url": f"sqlite:///{tmp_path}/knell.db"},
            "supervision": {"max_restarts": 0},
        },
        on_fatal=fatal,
    )
    receipt = manager.notify(event("router"))
    assert not receipt.accepted(PATIENCE)
    assert told.get(timeout=PATIENCE) == "router: more than 0 restarts in 60 s"
    manager.stop()
    assert manager.system.root.closed.is_set()


def test_a_reload_changes_strategy_and_intensity(
    run_system: Run, stage: Stage, poison: dict[str, int]
) -> None:
    """They are in force at the next crash, and nobody is restarted for them."""
    watched = run_system({"a": stage.section()}, supervision={"backoff": AT_ONCE})
    given = {
        "channels": {"a": stage.section()},
        "store": {"url": watched.manager.config.store.url},
        "retry_policy": {"max_retries": 150, "initial_delay_ms": 1, "max_delay_ms": 1000},
        "supervision": {"strategy": "one_for_all", "max_restarts": 1, "backoff": AT_ONCE},
    }
    watched.manager.update_config(given)
    assert {cell.mailbox.epoch for cell in watched.manager.system.root.children.values()} == {1}
    poison["router"] = 2
    watched.tell("router")
    watched.event("restarted", "outbox")
    assert watched.event("escalated", "").detail == "router: more than 1 restarts in 60 s"


@pytest.mark.parametrize(
    ("name", "advice"), [("ruoter", "did you mean 'router'?"), ("slak", "did you mean 'slack'?")]
)
def test_an_unknown_child_is_a_mistake(name: str, advice: str) -> None:
    """It would be without effect, which nobody wants who writes it."""
    channels = {"slack": {"type": "console"}}
    with pytest.raises(knell.ConfigError, match=r"supervision\.children") as caught:
        knell.start({"channels": channels, "supervision": {"children": {name: {"attempts": 1}}}})
    assert f"there is no actor {name!r}" in str(caught.value)
    assert advice in str(caught.value)
