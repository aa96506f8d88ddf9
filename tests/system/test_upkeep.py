"""What becomes of deliveries that are too old, of events that mean the same, and of what nobody needs."""

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knell.actors import upkeep
from knell.errors import DeliveryError
from knell.messages import DeliveryState, Reason
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched, event

Run = Callable[..., Watched]

AGAIN = {"circuit_breaker": {"failure_threshold": 1_000_000}}
"""A channel that goes on trying."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look all the time, so that no test waits for a second."""
    for name in ("LOOK", "REST", "FIRST_PRUNE", "PRUNE_EVERY"):
        monkeypatch.setattr(upkeep, name, 0.01)


@pytest.fixture
def pruned(monkeypatch: pytest.MonkeyPatch) -> queue.Queue[None]:
    """Every look for something to forget, once it is done."""
    pruned: queue.Queue[None] = queue.Queue()
    prune = upkeep.Upkeep.prune

    def told(self: upkeep.Upkeep, now: float) -> bool:
        ended = prune(self, now)
        pruned.put(None)
        return ended

    monkeypatch.setattr(upkeep.Upkeep, "prune", told)
    return pruned


def test_what_is_worthless_late_expires(run_system: Run, make_stage: Callable[[], Stage]) -> None:
    """Its receipt says so, it is counted, and it is not sent any more, also when the provider is back."""
    late, patient = make_stage(), make_stage()
    late.failing.set()
    watched = run_system(
        {"late": late.section(expire_after_seconds=0.05), "patient": patient.section(events=["job_failed"])}
    )
    receipt = watched.manager.notify(event("old"))
    results = {result.channel: result for result in receipt.results(PATIENCE)}
    assert (results["late"].success, results["late"].reason) == (False, Reason.EXPIRED)
    assert results["patient"].success
    states = {each.channel: each.state for each in watched.manager.get_delivery_status(receipt.id).channels}
    assert states == {"late": DeliveryState.EXPIRED, "patient": DeliveryState.DONE}
    assert watched.metric("knell_deliveries_total", channel="late", outcome="expired") == 1
    assert watched.metric("knell_pending", channel="late") == 0
    late.failing.clear()
    assert watched.manager.notify(event("new")).accepted(PATIENCE)
    assert patient.next_sent() == "old"
    assert patient.next_sent() == "new"
    assert "old" not in late.sent.queue


def test_events_that_mean_the_same_are_sent_once(run_system: Run, stage: Stage) -> None:
    """The second is a duplicate, and its id leads to the first; one that lacks a field is like no other."""
    dedup = {"key": ["event_type", "metadata.task_id"], "window_seconds": 3600}
    watched = run_system({"a": stage.section()}, dedup=dedup)

    def notify(title: str, **metadata: Any) -> Any:
        receipt = watched.manager.notify(event(title, metadata=metadata))
        assert receipt.results(PATIENCE)[0].success
        return receipt

    first = notify("first", task_id=7)
    again = notify("again", task_id=7, more="x")
    others = [notify("another task", task_id="7"), notify("no task"), notify("no task either")]
    assert (first.duplicate, again.duplicate) == (False, True)
    assert not any(receipt.duplicate for receipt in others)
    assert [stage.next_sent() for _ in range(4)] == ["first", "another task", "no task", "no task either"]
    assert watched.manager.get_delivery_status(again.id).notification_id == first.id
    assert watched.metric("knell_events_total", event_type="job_failed", result="duplicate") == 1


def test_what_is_older_than_the_retention_is_forgotten(
    run_system: Run, make_stage: Callable[[], Stage], pruned: queue.Queue[None], tmp_path: Path
) -> None:
    """Finished deliveries and their events; what has not ended stays, however old."""
    good, bad = make_stage(), make_stage()
    bad.failing.set()
    days = 1e-9
    watched = run_system(
        {
            "good": good.section(events=["job_failed"]),
            "bad": bad.section(filters=[{"title": "kept"}], **AGAIN),
        },
        store={"url": f"sqlite:///{tmp_path}/knell.db", "retention_days": days, "dedup_days": days},
    )
    kept, forgotten = watched.manager.notify(event("kept")), watched.manager.notify(event("forgotten"))
    assert forgotten.results(PATIENCE)[0].success
    assert kept.accepted(PATIENCE)
    assert {good.next_sent(), good.next_sent()} == {"kept", "forgotten"}
    while _known(watched, forgotten.id):
        pruned.get(timeout=PATIENCE)
    assert watched.manager.get_delivery_status(kept.id).channels[-1].channel == "bad"
    bad.failing.clear()
    assert bad.next_sent() == "kept"


def test_dead_letters_are_kept_for_longer(
    run_system: Run, stage: Stage, pruned: queue.Queue[None], tmp_path: Path
) -> None:
    """And are not counted any more when they are gone."""
    stage.failing.set()
    store = {"url": f"sqlite:///{tmp_path}/knell.db", "retention_days": 1e-9, "dedup_days": 1e-9}
    channels = {"a": stage.section(retry={"max_retries": 0})}
    watched = run_system(channels, store=store)
    receipt = watched.manager.notify(event("x"))
    assert not receipt.results(PATIENCE)[0].success
    pruned.queue.clear()
    for _ in range(3):
        pruned.get(timeout=PATIENCE)
    assert watched.manager.delivery(f"{receipt.id}:a").delivery.state is DeliveryState.DEAD
    assert watched.metric("knell_dead_letters", channel="a") == 1
    watched.manager.update_config({"channels": channels, "store": {**store, "dead_retention_days": 1e-9}})
    while watched.metric("knell_dead_letters", channel="a"):
        pruned.get(timeout=PATIENCE)
    with pytest.raises(DeliveryError):
        watched.manager.delivery(f"{receipt.id}:a")


def test_forgetting_keeps_nobody_waiting(
    run_system: Run, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million old deliveries take a minute: events come in between."""

    def always(_self: upkeep.Upkeep, _now: float) -> bool:
        return True

    monkeypatch.setattr(upkeep.Upkeep, "due", always)
    watched = run_system({"a": stage.section()})
    assert watched.manager.notify(event("x")).results(PATIENCE)[0].success


def test_what_goes_nowhere_stands_for_nobody(run_system: Run, stage: Stage) -> None:
    """An event that was filtered does not swallow a similar one that is not."""
    dedup = {"key": ["metadata.task_id"], "window_seconds": 3600}
    watched = run_system({"a": stage.section(filters=[{"severity": {"gte": "error"}}])}, dedup=dedup)
    for severity, duplicate in (("info", False), ("error", False), ("info", False), ("error", True)):
        receipt = watched.manager.notify(event(severity, severity=severity, metadata={"task_id": 7}))
        assert receipt.accepted(PATIENCE)
        assert receipt.duplicate is duplicate


def _known(watched: Watched, event_id: str) -> bool:
    try:
        watched.manager.get_delivery_status(event_id)
    except DeliveryError:
        return False
    return True
