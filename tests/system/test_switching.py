"""Channels that are switched off and on while they work."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import knell
from knell.deliveries import Attempt
from knell.lab import Lab
from knell.store.sqlite import SqliteStore
from tests.waiting import PATIENCE


def test_what_was_begun_for_a_channel_that_has_stopped_is_sent_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attempt is committed while it stops: nobody is left to send it, and it must not hang in the air."""
    begun, stopped = threading.Event(), threading.Event()
    start = SqliteStore.start

    def slow(store: SqliteStore, attempts: Sequence[Attempt]) -> Any:
        begun.set()
        assert stopped.wait(PATIENCE)
        return start(store, attempts)

    monkeypatch.setattr(SqliteStore, "start", slow)
    with Lab() as lab:
        config: dict[str, Any] = lab.config()
        config["channels"] = {"webhook": config["channels"]["webhook"]}
        config["store"] = {"url": f"sqlite:///{tmp_path}/knell.db"}
        with knell.start(config) as manager:
            receipt = manager.notify(knell.NotificationEvent(event_type="job_failed", source="t", title="x"))
            assert begun.wait(PATIENCE)
            manager.disable_channel("webhook")
            stopped.set()
            manager.enable_channel("webhook")
            assert [result.success for result in receipt.results(PATIENCE)] == [True]
            (status,) = manager.get_delivery_status(receipt.id).channels
            assert (status.state, status.attempts) == ("done", 1)
        assert len(lab.webhook.wait_for(1)) == 1
