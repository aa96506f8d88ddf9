"""What supervision costs, beside stock pykka in the same run. `--help` says how; README.md what it means."""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Rounds, Trial, spread
from subjects import KNELL, PYKKA

from knell.actors.system import CHANNEL_MAILBOX, ROUTER_MAILBOX
from knell.config.schema import Backoff

TRIALS = Path(__file__).with_name("trials.py")

ROUNDS = 7
"""Enough for a median that one disturbed round does not move."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each trial does."""

    messages: int = 40_000
    pings: int = 1_000
    crashes: int = 1_000
    operations: int = 20_000
    seconds: float = 2.0


QUICK = Sizes(messages=2_000, pings=50, crashes=50, operations=500, seconds=0.2)
"""Only shows that everything runs: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure of a trial, for each subject that has the thing.

    Attributes:
        trials: the trial by subject; the last one is what the others are divided by.
        target: what the ratio, or the figure where there is one subject only, is meant to be.
    """

    label: str
    unit: str
    figure: str
    trials: dict[str, Trial]
    target: str = ""
    digits: int = 0


def rows(sizes: Sizes) -> list[Row]:
    """Return everything that is measured, in the order of the table."""
    return [*_telling(sizes), *_alone(sizes), *_crowds(), *_neighbours(sizes)]


def _telling(sizes: Sizes) -> Iterable[Row]:
    trials: dict[int, dict[str, Trial]] = {}
    for producers in (1, 4):
        settings = {"producers": producers, "messages": sizes.messages}
        trials[producers] = {
            f"mailbox of {ROUTER_MAILBOX:,}": _knell("tell", **settings, mailbox=ROUTER_MAILBOX),
            "without bound": _knell("tell", **settings),
            "pykka": _pykka("tell", **settings),
        }
    for state, figure in (("serves", "tell"), ("is busy", "tell busy")):
        for producers, each in trials.items():
            yield Row(f"tell, {_plural(producers)}, actor {state}", "ns CPU", figure, each, "<= 0.5")
    for producers, each in trials.items():
        yield Row(f"end to end, {_plural(producers)}", "ns CPU", "total", each, "<= 0.6")
        yield Row(f"end to end, {_plural(producers)}", "ns wall", "wall", each, "<= 0.6")


def _alone(sizes: Sizes) -> Iterable[Row]:
    settings = {"messages": sizes.pings}
    latency = {"knell": _knell("latency", **settings), "pykka": _pykka("latency", **settings)}
    yield Row("one way, idle, p50", "us", "p50", latency, "<= 1", 1)
    yield Row("one way, idle, p99", "us", "p99", latency, digits=1)
    restart = {"knell": _knell("restart", crashes=sizes.crashes)}
    yield Row("restart, crash to on_start, p50", "us", "p50", restart, "<= 50 us", 1)
    yield Row("restart, crash to on_start, p99", "us", "p99", restart, "<= 1,000 us", 1)
    operation = {"knell": _knell("operation", messages=sizes.operations)}
    yield Row("one async operation per message", "us CPU", "total", operation, "<= 15 us", 1)


def _crowds() -> Iterable[Row]:
    for actors in (10, 100, 1_000):
        crowd = {
            "knell": _knell("memory", actors=actors, mailbox=CHANNEL_MAILBOX),
            "pykka": _pykka("memory", actors=actors),
        }
        yield Row(f"memory per actor, {actors:,} actors", "KiB", "KiB", crowd, "<= 25 KiB", 1)
        yield Row(f"threads per actor, {actors:,} actors", "", "threads", crowd, "1")
        yield Row(f"open files per actor, {actors:,} actors", "", "files", crowd, "0")
        yield Row(f"start per actor, {actors:,} actors", "ms", "start", crowd, "<= 1 ms", 2)


def _neighbours(sizes: Sizes) -> Iterable[Row]:
    settings = {"seconds": sizes.seconds, "wait": Backoff().min_seconds, "mailbox": CHANNEL_MAILBOX}
    crashing = {"that crash-loops": _knell("neighbour", crashing=True, **settings)}
    both = crashing | {"that is quiet": _knell("neighbour", crashing=False, **settings)}
    yield Row("messages of a channel beside one", "per CPU s", "cpu", both, ">= 0.95")
    yield Row("messages of a channel beside one", "per s", "wall", both, ">= 0.95")
    yield Row("crashes of a channel", "per s", "crashes", crashing, digits=1)


def _knell(name: str, **settings: Any) -> Trial:
    return Trial(TRIALS, name, KNELL, settings)


def _pykka(name: str, **settings: Any) -> Trial:
    return Trial(TRIALS, name, PYKKA, settings)


def _plural(producers: int) -> str:
    return f"{producers} producer{'s' * (producers > 1)}"


def show(row: Row, rounds: Rounds) -> list[str]:
    """Return the row's lines: what each subject took, and how that compares with the last one."""
    *_, base = row.trials.values()
    target = f"  [{row.target}]" if row.target else ""
    lines = [f"{row.label}{f', {row.unit}' if row.unit else ''}{target}"]
    for name, trial in row.trials.items():
        measured = spread(rounds.figures(trial.key, row.figure), row.digits)
        ratio = ""
        if trial is not base and row.unit:
            ratio = f"ratio {spread(rounds.ratios(trial.key, base.key, row.figure), 2)}"
        lines.append(f"  {name:<18} {measured:<32} {ratio}".rstrip())
    return lines


def main() -> None:
    """Measure, print the table, and write the raw rounds where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only show that it runs: no figure means much")
    parser.add_argument("--rounds", type=int, help=f"how often everything is measured (default {ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw rounds there")
    wanted = parser.parse_args()
    table = rows(QUICK if wanted.quick else Sizes())
    trials = {trial.key: trial for row in table for trial in row.trials.values()}
    rounds = Rounds()
    rounds.run(trials.values(), wanted.rounds or (1 if wanted.quick else ROUNDS))
    print(f"{len(rounds.raw)} rounds: median (lowest-highest), ratios round by round")
    print(f"load average before each round: {spread(rounds.load, 2)}")
    for row in table:
        print("\n".join(show(row, rounds)))
    if wanted.json:
        wanted.json.write_text(json.dumps(rounds.as_json(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
