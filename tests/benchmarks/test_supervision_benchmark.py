"""The benchmark of supervision runs, and prints everything it is there for. Nothing is said about speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")

ROOT = Path(__file__).parents[2]

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
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Run the benchmark in its shortest form; return what it printed and the file it wrote."""
    raw = tmp_path_factory.mktemp("benchmark") / "rounds.json"
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "benchmarks/supervision.py", "--quick", "--json", str(raw)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, raw


def _block(printed: str, label: str) -> list[str]:
    """Return the lines of one row: what each subject took."""
    lines = printed.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.split("  [")[0] == label)
    rest = lines[begin + 1 :]
    return rest[: next((at for at, line in enumerate(rest) if not line.startswith("  ")), len(rest))]


def test_it_prints_every_row_and_ratio(quick: tuple[str, Path]) -> None:
    """Each subject has a figure, and all but the one they are compared with have a ratio."""
    for label in COMPARED:
        *compared, base = _block(quick[0], label)
        assert compared, label
        assert all(" ratio " in line for line in compared), label
        assert " ratio " not in base
    for label in ALONE:
        assert len(_block(quick[0], label)) == 1, label


def test_every_actor_has_one_thread_and_no_file(quick: tuple[str, Path]) -> None:
    """A count, not a speed: it is the same on every machine."""
    for what, wanted in COUNTED.items():
        for count in ("10", "100", "1,000"):
            lines = _block(quick[0], f"{what} per actor, {count} actors")
            assert [line.split(maxsplit=1) for line in lines] == [["knell", wanted], ["pykka", wanted]]


def test_it_keeps_the_raw_rounds(quick: tuple[str, Path]) -> None:
    """One round of the shortest form, with the load before it, and a figure of every trial."""
    kept = json.loads(quick[1].read_text(encoding="utf-8"))
    assert len(kept["rounds"]) == len(kept["load"]) == 1
    assert {key.split()[1] for key in kept["rounds"][0]} == {
        "tell", "latency", "restart", "memory", "operation", "neighbour",
    }  # fmt: skip
    assert all(kept["rounds"][0].values())
