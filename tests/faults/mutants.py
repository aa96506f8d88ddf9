"""The product with one promise broken: what the suites of this folder must catch, or be worth nothing.

A mutant is applied in a process of its own (`Service(mutant=...)`) before the product starts, or by a test
with `monkeypatch`. The product has no switch for any of this.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

from knell.actors.outbox import Outbox
from knell.cli.foreground import Foreground
from knell.errors import StoreError
from knell.store.sqlite import SqliteStore

Replace = Callable[[Any, str, Any], None]
"""How a test puts something in the place of a method: `monkeypatch.setattr`."""

LATE = 0.05
"""Seconds by which a careless commit follows its acknowledgement."""


def ack_before_commit() -> None:
    """Tell everybody at once, and commit a little later."""
    commit = SqliteStore.commit

    def tell_at_once(_: Outbox, tell: Any, *args: Any) -> None:
        tell(*args)

    def commit_late(store: SqliteStore) -> None:
        Event().wait(LATE)
        commit(store)

    _replace(Outbox, "_later", tell_at_once)
    _replace(SqliteStore, "commit", commit_late)


def no_recovery_scan() -> None:
    """Leave alone what a dead process was sending."""

    def recover(*_: Any) -> int:
        return 0

    _replace(SqliteStore, "recover", recover)


def ignore_failed_commits() -> None:
    """Take a commit that failed for one that did not."""
    commit = SqliteStore.commit

    def commit_or_not(store: SqliteStore) -> None:
        with suppress(StoreError):
            commit(store)

    _replace(SqliteStore, "commit", commit_or_not)


def open_the_store_for_every_commit() -> None:
    """Open the file anew for every transaction."""
    begin = SqliteStore.begin

    def open_and_begin(store: SqliteStore) -> None:
        store.close()
        store.open()
        begin(store)

    _replace(SqliteStore, "begin", open_and_begin)


def wall_clock_in_the_outbox(replace: Replace) -> None:
    """Decide by the wall clock what is due."""

    def now(outbox: Outbox) -> float:
        return outbox.ctx.clock.wall()

    replace(Outbox, "_now", now)


def drop_the_log(replace: Replace) -> None:
    """Clean up, before the start, what a crash has left behind."""
    acquire = SqliteStore.acquire

    def clean_and_acquire(store: SqliteStore) -> None:
        store.path.with_name(store.path.name + "-wal").unlink(missing_ok=True)
        acquire(store)

    replace(SqliteStore, "acquire", clean_and_acquire)


def begin_anew(replace: Replace) -> None:
    """Put an empty file in the place of one that cannot be read."""
    open_ = SqliteStore.open

    def open_something(store: SqliteStore) -> None:
        try:
            open_(store)
            store.fetch("slack", 1000, 1, frozenset(), 1.0)
        except StoreError:
            store.close()
            store.path.unlink()
            open_(store)

    replace(SqliteStore, "open", open_something)


def hand_out_everything() -> None:
    """Give a channel all there is, whatever it asked for."""
    fetch = SqliteStore.fetch

    def fetch_all(store: SqliteStore, channel: str, _limit: int, *more: Any) -> Any:
        return fetch(store, channel, 1_000_000, *more)

    _replace(SqliteStore, "fetch", fetch_all)


def end_without_a_drain() -> None:
    """Leave at once when told to stop."""

    def leave(_: Any) -> None:
        os._exit(0)

    _replace(Foreground, "_stop", leave)


def _replace(owner: type, name: str, new: Any) -> None:
    assert hasattr(owner, name)
    setattr(owner, name, new)
