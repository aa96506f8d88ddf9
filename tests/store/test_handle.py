"""Forking beside threads that are inside SQLite."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import knell
from knell.store import handle
from tests.puppets import PATIENCE

BUSY = f"""
import itertools, logging, os, signal, threading

os.register_at_fork(after_in_child=lambda: signal.alarm({PATIENCE:.0f}))  # whoever hangs is ended by this

from knell.store.reader import SqliteReader
from knell.store.sqlite import SqliteStore

logging.getLogger("knell").addHandler(logging.NullHandler())
store = SqliteStore("parent.db")
store.open()
reader, done = SqliteReader("parent.db"), threading.Event()

def write():
    for number in itertools.count():
        if done.is_set():
            return
        store.begin()
        store.remember("text", str(number), b"1", 1.0)
        store.commit()

def read():
    while not done.is_set():
        reader.stats()

threads = [threading.Thread(target=work) for work in (write, read)]
for thread in threads:
    thread.start()
codes = []
for number in range(100):
    if (child := os.fork()) == 0:
        own = SqliteStore("child.db")
        own.open()
        own.close()
        os._exit(0)
    codes.append(os.waitpid(child, 0)[1])
done.set()
for thread in threads:
    thread.join()
store.close()
print(sum(code != 0 for code in codes), len(codes))
"""


def test_a_child_forked_in_the_middle_of_a_call_has_a_store_of_its_own(tmp_path: Path) -> None:
    """No mutex of SQLite is held for ever in it, by a thread that stayed behind."""
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", BUSY],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(knell.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    failed, forks = map(int, ended.stdout.split())
    assert (failed, forks) == (0, 100)


# A test runner may have threads, which newer Pythons warn about; the child calls nothing that needs them.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_call_that_takes_too_long_does_not_hold_up_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup of minutes: the fork goes ahead, and each handle works on in both processes."""
    monkeypatch.setattr(handle, "PATIENCE_SECONDS", 0.01)
    slow, inside, forked = handle.Handle("slow.db"), threading.Event(), threading.Event()

    def call() -> None:
        with slow.calling:
            inside.set()
            forked.wait(PATIENCE)

    thread = threading.Thread(target=call)
    thread.start()
    assert inside.wait(PATIENCE)
    if (child := os.fork()) == 0:
        os._exit(0 if slow.calling.acquire(timeout=PATIENCE) else 1)
    assert not slow.calling.acquire(blocking=False)
    forked.set()
    thread.join()
    assert slow.calling.acquire(blocking=False)
    slow.calling.release()
    assert os.waitpid(child, 0)[1] == 0
