"""The table of a benchmark: what each row is, how it is printed, and the command that measures it."""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from measure import Rounds, Trial, spread


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure of a trial, for each subject that has the thing.

    Attributes:
        trials: the trial by subject; the last one is what the others are divided by.
        target: what the ratio, or the price, or the figure of the only subject, is meant to be.
        price: whether what a subject costs more than the last one is told as well.
    """

    label: str
    unit: str
    figure: str
    trials: dict[str, Trial]
    target: str = ""
    digits: int = 0
    price: bool = False


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
        if ratio and row.price:
            more = rounds.differences(trial.key, base.key, row.figure)
            ratio = f"{ratio:<26} price {spread(more, row.digits)}"
        lines.append(f"  {name:<18} {measured:<32} {ratio}".rstrip())
    return lines


def main(what: str, rows: Callable[[bool], Iterable[Row]], usual: int) -> None:
    """Measure, print the table, and write the raw rounds where they are wanted.

    Args:
        what: what is measured, for `--help`.
        rows: returns the rows; True: the smallest ones that show that everything runs.
        usual: how many rounds are enough.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--quick", action="store_true", help="only show that it runs: no figure means much")
    parser.add_argument("--rounds", type=int, help=f"how often everything is measured (default {usual})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw rounds there")
    wanted = parser.parse_args()
    table = list(rows(wanted.quick))
    trials = {trial.key: trial for row in table for trial in row.trials.values()}
    rounds = Rounds()
    rounds.run(trials.values(), wanted.rounds or (1 if wanted.quick else usual))
    print(f"{len(rounds.raw)} rounds: median (lowest-highest), ratios round by round")
    print(f"load average before each round: {spread(rounds.load, 2)}")
    for row in table:
        print("\n".join(show(row, rounds)))
    if wanted.json:
        wanted.json.write_text(json.dumps(rounds.as_json(), indent=1), encoding="utf-8")
