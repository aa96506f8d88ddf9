"""The benchmark of supervision runs, and prints everything it is there for. Nothing is said about speed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.printed import block

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")

COMPARED = [
    "tell, 1 producer, actor serves, ns CPU",
    "tell, 4 producers, actor serves, ns CPU",
    "tell, 1 producer, actor is busy, ns CPU",
    "tell, 4 producers, actor is busy, ns CPU",
    "end to end, 1 producer, ns CPU",
    "end to end, 1 producer, ns wall",
    "end to end, 4 producers, ns CPU",
    "end to end, 4 producers, ns wall",
    "one way, idle, p50, us",
    "one way, idle, p99, us",
    *(
        f"{what} per actor, {count} actors, {unit}"
        for count in ("10", "100", "1,000")
        for what, unit in (("memory", "KiB"), ("start", "ms"))
    ),
    "messages of a channel beside one, per CPU s",
    "messages of a channel beside one, per s",
]
"""Rows with more than one subject, and so with a ratio."""

ALONE = [
    "restart, crash to on_start, p50, us",
    "restart, crash to on_start, p99, us",
    "one async operation per message, us CPU",
    "crashes of a channel, per s",
]

COUNTED = {"threads": "1 (1-1)", "open files": "0 (0-0)"}
"""What knell and pykka have per actor; a number, and no ratio."""


@pytest.fixture(scope="module")
def quick(run_quick: Callable[[str], tuple[str, Path]]) -> tuple[str, Path]:
    """Run the benchmark in its shortest form; return what it printed and the file it wrote."""
    return run_quick("supervision")


def test_it_prints_every_row_and_ratio(quick: tuple[str, Path]) -> None:
    """Each subject has a figure, and all but the one they are compared with have a ratio."""
    for label in COMPARED:
        *compared, base = block(quick[0], label)
        assert compared, label
        assert all(" ratio " in line for line in compared), label
        assert " ratio " not in base
    for label in ALONE:
        assert len(block(quick[0], label)) == 1, label


def test_every_actor_has_one_thread_and_no_file(quick: tuple[str, Path]) -> None:
    """A count, not a speed: it is the same on every machine."""
    for what, wanted in COUNTED.items():
        for count in ("10", "100", "1,000"):
            lines = block(quick[0], f"{what} per actor, {count} actors")
            assert [line.split(maxsplit=1) for line in lines] == [["knell", wanted], ["pykka", wanted]]


def test_it_keeps_the_raw_rounds(quick: tuple[str, Path]) -> None:
    """One round of the shortest form, with the load before it, and a figure of every trial."""
    kept = json.loads(quick[1].read_text(encoding="utf-8"))
    assert len(kept["rounds"]) == len(kept["load"]) == 1
    assert {key.split()[1] for key in kept["rounds"][0]} == {
        "tell", "latency", "restart", "memory", "operation", "neighbour",
    }  # fmt: skip
    assert all(kept["rounds"][0].values())
