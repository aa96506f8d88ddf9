"""The benchmark of the outbox runs, and prints everything it is there for. Nothing is said about speed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.printed import block

STORE = [
    f"{what}, {group} in a commit, us CPU"
    for group in (1, 64, 512)
    for what in (
        "append an event with 1 delivery",
        "append an event with 2 deliveries",
        "fetch, start and settle a delivery",
    )
]
"""Rows with and without a sync per commit."""

SYSTEM = {
    "an event at full load, whole system": "us CPU",
    "acknowledged to 256 producers": "per s",
    "submit to accepted, idle, p50": "us",
}
"""Rows with and without a journal, and beside a backlog."""


@pytest.fixture(scope="module")
def quick(run_quick: Callable[[str], tuple[str, Path]]) -> tuple[str, Path]:
    """Run the benchmark in its shortest form; return what it printed and the file it wrote."""
    return run_quick("outbox")


def subjects(printed: str, label: str) -> list[str]:
    """Return who was measured in a row; all but the last are compared with it."""
    *compared, base = block(printed, label)
    assert all(" ratio " in line for line in compared), label
    assert " ratio " not in base
    return [line.strip().split("  ")[0] for line in (*compared, base)]


def test_it_prints_every_row(quick: tuple[str, Path]) -> None:
    """Durable and not, with and without a journal, with and without a backlog: each has a figure."""
    for label in STORE:
        assert subjects(quick[0], label) == ["FULL", "NORMAL"]
    for label, unit in SYSTEM.items():
        assert subjects(quick[0], f"{label}, {unit}") == ["FULL", "NORMAL", "none"]
        assert subjects(quick[0], f"{label}, beside a backlog, {unit}") == ["2,000 pending", "nothing"]


def test_it_prints_what_the_journal_costs(quick: tuple[str, Path]) -> None:
    """The price of durability is a difference, with its target."""
    row = "an event at full load, whole system, us CPU"
    assert f"{row}  [price <= 15]" in quick[0].splitlines()
    assert [" price " in line for line in block(quick[0], row)] == [True, True, False]


def test_it_keeps_the_raw_rounds(quick: tuple[str, Path]) -> None:
    """A figure of every trial."""
    (taken,) = json.loads(quick[1].read_text(encoding="utf-8"))["rounds"]
    assert {key.split()[1] for key in taken} == {"append", "deliver", "load", "acknowledge", "latency"}
    assert all(all(figures.values()) for figures in taken.values())
