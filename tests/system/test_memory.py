"""What a channel notes outlives its actor, the outbox and the process, and is seen by whoever asks later."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from knell.actors.control import Control
from knell.channels.base import Channel, Delivered, FormattedMessage, Outcome
from knell.errors import StoreError, StoreFull
from knell.store.sqlite import SqliteStore
from tests.puppets import PATIENCE
from tests.rogues import Watched, event

Run = Callable[..., Watched]


class Scribe(Channel):
    """Notes how many messages it had, and says so; told to break, it crashes after it noted that."""

    async def send(self, message: FormattedMessage) -> Outcome:
        """Count a message."""
        count = (await self.memory.get("count") or 0) + 1
        self.memory.put("count", count)
        if message.events[0].title == "break" and count < message.events[0].metadata["until"]:
            raise RuntimeError("a bug")
        return Delivered(count)


SECTION = {"type": f"{__name__}:Scribe", "events": ["*"], "concurrency": 1}


def count(watched: Watched, title: str = "count", **metadata: Any) -> Any:
    """Send a message; return how many there were."""
    (result,) = watched.manager.notify(event(title, metadata=metadata)).results(PATIENCE)
    assert result.success, result.error
    return result.receipt


def test_a_note_outlives_actor_outbox_and_process(run_system: Run) -> None:
    """And no other channel sees it."""
    watched = run_system({"a": SECTION, "b": SECTION})
    both = watched.manager.notify(event("count")).results(PATIENCE)
    assert [result.receipt for result in both] == [1, 1]
    watched.manager.disable_channel("b")
    assert count(watched, "break", until=3) == 3  # tried twice: the first try crashed the actor
    control = Control(watched.manager.system.root.actor_ref)
    control.terminate_child("outbox")
    control.restart_child("outbox")
    assert count(watched) == 4
    watched.manager.stop()
    assert count(run_system({"a": SECTION})) == 5


def test_a_store_that_cannot_write_still_tells_what_was_noted(
    run_system: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what could not be written yet; and that is written as soon as it can be."""
    watched = run_system({"a": SECTION})
    assert count(watched) == 1
    memory = watched.manager.system.memory("a")

    def full(_store: SqliteStore) -> None:
        raise StoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "commit", full)
        memory.put("noted", {"while": "full"})
        assert asyncio.run(memory.get("count")) == 1
        assert asyncio.run(memory.get("noted")) == {"while": "full"}
    assert asyncio.run(memory.get("noted")) == {"while": "full"}
    watched.manager.stop()
    assert asyncio.run(run_system({"a": SECTION}).manager.system.memory("a").get("noted"))


def test_a_note_is_forgotten_after_its_time_or_on_demand(run_system: Run) -> None:
    """What is over is as if it had never been noted."""
    memory = run_system({"a": SECTION}).manager.system.memory("a")
    for key, seconds in (("over", 0.0), ("stays", 60.0), ("taken back", float("inf"))):
        memory.put(key, key, seconds)
    memory.put("taken back", None)
    found = [asyncio.run(memory.get(key)) for key in ("over", "stays", "taken back", "never")]
    assert found == [None, "stays", None, None]


def test_without_an_outbox_nothing_can_be_looked_up(run_system: Run) -> None:
    """The question ends with an error instead of never."""
    manager = run_system({"a": SECTION}).manager
    memory = manager.system.memory("a")
    manager.stop()
    memory.put("late", 1)
    with pytest.raises(StoreError, match="the outbox does not run"):
        asyncio.run(memory.get("late"))
