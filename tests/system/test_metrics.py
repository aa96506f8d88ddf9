from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import knell
from tests.puppets import PATIENCE
from tests.rogues import Stage, Watched

Run = Callable[..., Watched]

TABLE = {
    "knell_events": ("counter", {"event_type", "result"}),
    "knell_deliveries": ("counter", {"channel", "outcome"}),
    "knell_attempts": ("counter", {"channel", "reason"}),
    "knell_retries": ("counter", {"channel", "reason"}),
    "knell_suppressed": ("counter", {"channel", "reason"}),
    "knell_delivery_seconds": ("histogram", {"channel"}),
    "knell_attempt_seconds": ("histogram", {"channel"}),
    "knell_batch_size": ("histogram", {"channel"}),
    "knell_pending": ("gauge", {"channel"}),
    "knell_dead_letters": ("gauge", {"channel"}),
    "knell_circuit_state": ("gauge", {"channel", "state"}),
    "knell_circuit_transitions": ("counter", {"channel", "to"}),
    "knell_rate_limit_wait_seconds": ("counter", {"channel"}),
    "knell_sms_segments": ("counter", {"channel"}),
    "knell_sms_cost": ("counter", {"channel", "currency"}),
    "knell_sms_undelivered": ("counter", {"channel"}),
    "knell_mailbox_depth": ("gauge", {"actor"}),
    "knell_actor_up": ("gauge", {"actor"}),
    "knell_actor_restarts": ("counter", {"actor"}),
    "knell_actor_busy_seconds": ("gauge", {"actor"}),
    "knell_actor_dead_letters": ("counter", {"actor", "reason"}),
    "knell_zombie_threads": ("gauge", set[str]()),
    "knell_config_last_reload_successful": ("gauge", set[str]()),
    "knell_config_last_reload_success_timestamp_seconds": ("gauge", set[str]()),
    "knell_build": ("info", {"version"}),
}
"""Every metric: what dashboards and alerts are built on. A counter's samples end in `_total`."""

ACTORS = ["outbox", "channels", "channels/a", "channels/b", "router"]
REASONS = {"mailbox_full", "crashed", "hung", "stopped", "forked"}


def samples(watched: Watched, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by its labels' values."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in watched.manager.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_the_table_of_metrics(run_system: Run, stage: Stage) -> None:
    """Names, kinds and labels; none more, none less."""
    watched = run_system({"a": stage.section()})
    found: dict[str, tuple[str, set[str]]] = {}
    for family in watched.manager.registry.collect():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[family.name] = (family.type, labels)
    # What an SMS costs has its currency from the configuration, which names no channel of that kind here.
    assert found.pop("knell_sms_cost")[0] == "counter"
    assert found == {name: row for name, row in TABLE.items() if name != "knell_sms_cost"}


def test_every_actor_has_its_series_from_the_start(run_system: Run, make_stage: Callable[[], Stage]) -> None:
    """The label is the actor's path. What has not happened yet is 0: the first time is seen as a rise."""
    watched = run_system({"a": make_stage().section(), "b": make_stage().section()})
    each = {(actor,): 0.0 for actor in ACTORS}
    assert samples(watched, "knell_actor_restarts_total") == each
    assert samples(watched, "knell_mailbox_depth").keys() == each.keys()
    assert samples(watched, "knell_actor_up") == dict.fromkeys(each, 1.0)
    assert samples(watched, "knell_actor_busy_seconds").keys() == each.keys()
    assert samples(watched, "knell_actor_dead_letters_total") == {
        (actor, reason): 0.0 for actor in ACTORS for reason in REASONS
    }
    assert samples(watched, "knell_zombie_threads") == {(): 0.0}


def test_series_come_and_go_with_the_configuration(run_system: Run, stage: Stage) -> None:
    """A channel that is added has its series at once; one that is gone has none."""
    watched = run_system({"a": stage.section()})
    watched.manager.update_config(
        {"channels": {"b": stage.section()}, "store": {"url": watched.manager.config.store.url}}
    )
    for name in ("knell_actor_restarts_total", "knell_mailbox_depth", "knell_actor_up"):
        assert {labels[0] for labels in samples(watched, name)} == {
            "outbox",
            "channels",
            "channels/b",
            "router",
        }


def test_the_age_of_the_message_in_hand(run_system: Run, stage: Stage) -> None:
    """It shows who is stuck before anybody gives it up."""
    stage.hanging.set()
    watched = run_system({"a": stage.section()})
    watched.tell("stuck")
    assert stage.hung.wait(PATIENCE)
    ages = samples(watched, "knell_actor_busy_seconds")
    assert ages["channels/a",] > 0
    assert ages["channels/a",] <= samples(watched, "knell_actor_busy_seconds")["channels/a",]
    stage.release()
    assert stage.next_sent() == "stuck"


def test_one_registry_cannot_serve_two_systems(run_system: Run, stage: Stage) -> None:
    """Said in words, before anything of the second one runs."""
    watched = run_system({"a": stage.section()})
    with pytest.raises(knell.KnellError, match="registry"):
        knell.start({"store": {"url": "sqlite:///never.db"}}, registry=watched.manager.registry)
    assert watched.metric("knell_actor_up", actor="router") == 1


def test_a_registry_is_left_as_it_was(tmp_path: Any) -> None:
    """A host may start and stop a system with the same one again and again."""
    registry = CollectorRegistry()
    for _ in range(2):
        with knell.start({"store": {"url": f"sqlite:///{tmp_path}/knell.db"}}, registry=registry):
            assert registry.get_sample_value("knell_actor_up", {"actor": "router"}) == 1
        assert list(registry.collect()) == []
