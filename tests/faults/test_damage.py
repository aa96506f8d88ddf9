"""Files whose end is cut off or garbled: a prefix of what was committed, or a plain word; never nonsense."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from knell.errors import StoreError
from knell.store.sqlite import SqliteStore
from tests.faults import mutants
from tests.faults.service import Service

PAGE = 4096
TRANSACTIONS = 60
ROUNDS = 150


@dataclass
class Files:
    """A database and its log as a process left them.

    Attributes:
        ends: the size of the log after each commit.
    """

    database: bytes
    log: bytes
    ends: list[int]


@pytest.fixture
def left(tmp_path: Path, submission: Callable[..., Any]) -> Callable[..., Files]:
    """Return what fills a store and takes its files: after an end in order, or after none."""

    def fill(*, in_order: bool) -> Files:
        store = SqliteStore(str(tmp_path / "life" / "knell.db"))
        store.open()
        log, ends = store.path.with_name("knell.db-wal"), list[int]()
        for number in range(TRANSACTIONS):
            store.begin()
            store.append([submission(f"e{number}", description="x" * (number * 50))], 0.0)
            store.commit()
            ends.append(log.stat().st_size)
        if in_order:
            store.close()
        files = Files(store.path.read_bytes(), b"" if in_order else log.read_bytes(), ends)
        store.close()
        return files

    return fill


def garbled(content: bytes, at: int, length: int, random: Random) -> bytes:
    """Return bytes of which a part is not what it was."""
    noise = random.randbytes(len(content[at : at + length]))
    return content[:at] + bytes([content[at] ^ 0xFF]) + noise[1:] + content[at + length :]


def read(folder: Path, database: bytes, log: bytes) -> tuple[list[str], str]:
    """Open files as a service does; return the events that it would deliver, and what a check says.

    Raises:
        StoreError: the store says that it is damaged.
    """
    path = folder / "knell.db"
    for left in folder.glob("knell.db*"):
        left.unlink()
    path.write_bytes(database)
    if log:
        path.with_name("knell.db-wal").write_bytes(log)
    store = SqliteStore(str(path))
    try:
        store.open()
        store.begin()
        store.recover(1.0, 1.0)
        store.commit()
        store.counts()
        ready = store.fetch("slack", 1000, 1, frozenset(), 1.0)
        for delivery in ready:
            seq = store.one("SELECT seq FROM delivery WHERE id = ?", delivery.row)
            assert store.results(seq) == {"slack": None}
            assert delivery.event.title == f"title of {delivery.event.event_id}"
        return [each.event.event_id for each in ready], str(store.one("PRAGMA integrity_check"))
    except sqlite3.DatabaseError as error:
        return [], str(error)  # the check itself stumbles: it is no part of the contract
    finally:
        store.close()


def broken_logs(files: Files, folder: Path) -> list[str]:
    """Cut off or garble the end of a log many times; return what was not as it must be."""
    random, wrong = Random(1), list[str]()  # noqa: S311 - chance, not a secret
    for turn in range(ROUNDS):
        at = random.randint(files.ends[0], len(files.log) - 1)
        log = files.log[:at] if turn % 2 else garbled(files.log, at, random.randint(1, PAGE), random)
        whole = [f"e{number}" for number, end in enumerate(files.ends) if end <= at]
        found, check = read(folder, files.database, log)
        if (found, check) != (whole, "ok"):
            wrong.append(f"cut at {at}: {len(found)} of {len(whole)} events, {check}")
    return wrong


def broken_files(files: Files, folder: Path) -> tuple[int, list[str]]:
    """Cut off or garble the end of a database; return how often that was said, and what was kept quiet."""
    random, told, wrong = Random(2), 0, list[str]()  # noqa: S311 - chance, not a secret
    pages = len(files.database) // PAGE
    for turn in range(ROUNDS):
        page = random.randrange(1, pages)
        whole = garbled(files.database, page * PAGE, PAGE, random)
        database = files.database[: page * PAGE + random.choice([0, 100])] if turn % 3 == 0 else whole
        try:
            found, check = read(folder, database, b"")
        except StoreError:
            told += 1
            continue
        if check == "ok" and found != [f"e{number}" for number in range(TRANSACTIONS)]:
            wrong.append(f"page {page}: {len(found)} events, and all is well")
    return told, wrong


def test_a_broken_log_keeps_every_commit_before_the_damage(
    left: Callable[..., Files], tmp_path: Path
) -> None:
    """And nothing of what comes after it: a prefix, exactly."""
    assert broken_logs(left(in_order=False), tmp_path) == []


def test_a_broken_file_is_told(left: Callable[..., Files], tmp_path: Path) -> None:
    """Either the store or its check says so, or nothing that matters was hit."""
    told, wrong = broken_files(left(in_order=True), tmp_path)
    assert wrong == []
    assert told > ROUNDS // 2


def test_the_test_catches_a_store_that_drops_its_log(
    left: Callable[..., Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that is thrown away after a crash takes what was accepted with it."""
    files = left(in_order=False)
    mutants.drop_the_log(monkeypatch.setattr)
    assert len(broken_logs(files, tmp_path)) == ROUNDS


def test_the_test_catches_a_store_that_begins_anew(
    left: Callable[..., Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file that is replaced by an empty one is silent loss."""
    files = left(in_order=True)
    mutants.begin_anew(monkeypatch.setattr)
    _, wrong = broken_files(files, tmp_path)
    assert wrong


@pytest.fixture
def damaged(make_service: Callable[..., Service], left: Callable[..., Files]) -> Service:
    """A service whose store has a garbled page."""
    service = make_service({"hook": "http://127.0.0.1:9/"})
    service.store.parent.mkdir()
    random = Random(3)  # noqa: S311 - chance, not a secret
    service.store.write_bytes(garbled(left(in_order=True).database, PAGE, 3 * PAGE, random))
    return service


def test_a_service_with_a_damaged_store_does_not_start(damaged: Service) -> None:
    """It names the file and what is wrong, and ends with 1."""
    code, words = damaged.refusal()
    assert code == 1
    assert "Error: store .knell/knell.db: database disk image is malformed" in words


def test_a_service_with_a_damaged_store_names_the_way_out(damaged: Service) -> None:
    """Somebody who reads the message at night knows what to type."""
    assert "knell store check" in damaged.refusal()[1]
