"""What it costs that an accepted event is never lost. `--help` says how; docs/guarantees.md what it means."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from journals import FULL, HERE, NONE, NORMAL, STORES
from measure import Trial
from table import Row, main

TRIALS = HERE / "journals.py"

ROUNDS = 4

PRODUCERS = 256


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much each trial does.

    Attributes:
        events: of most trials.
        single: of those that commit every event alone.
        pings: events told one after the other.
        backlog: deliveries that wait for a channel that is down.
    """

    events: int = 10_000
    single: int = 400
    pings: int = 200
    backlog: int = 1_000_000


QUICK = Sizes(events=600, single=10, pings=5, backlog=2_000)
"""Only shows that everything runs: its figures mean nothing."""


def rows(sizes: Sizes) -> list[Row]:
    """Return everything that is measured, in the order of the table."""
    return [*_store(sizes), *_system(sizes)]


def _store(sizes: Sizes) -> Iterable[Row]:
    for group in (1, 64, 512):
        events = sizes.single if group == 1 else sizes.events
        grouped = f"{group} in a commit"
        for count in (1, 2):
            each = _trials("append", FULL, NORMAL, events=events, rows=count, group=group)
            yield Row(f"append an event with {_plural(count)}, {grouped}", "us CPU", "CPU", each, digits=1)
        each = _trials("deliver", FULL, NORMAL, events=events, group=group)
        yield Row(f"fetch, start and settle a delivery, {grouped}", "us CPU", "CPU", each, digits=1)


def _system(sizes: Sizes) -> Iterable[Row]:
    settings = {
        "load": {"events": sizes.events},
        "acknowledge": {"events": sizes.events, "producers": PRODUCERS},
        "latency": {"events": sizes.pings},
    }
    for name, label, unit, figure, target in (
        ("load", "an event at full load, whole system", "us CPU", "CPU", "price <= 15"),
        ("acknowledge", f"acknowledged to {PRODUCERS} producers", "per s", "acks", ""),
        ("latency", "submit to accepted, idle, p50", "us", "p50", ""),
    ):
        each = _trials(name, FULL, NORMAL, NONE, **settings[name])
        yield Row(label, unit, figure, each, target, 1, price=name != "acknowledge")
        full = _trials(name, FULL, **settings[name], backlog=sizes.backlog) | {"nothing": each[FULL]}
        waiting = {f"{sizes.backlog:,} pending" if at == FULL else at: trial for at, trial in full.items()}
        yield Row(f"{label}, beside a backlog", unit, figure, waiting, digits=1)


def _trials(name: str, *subjects: str, **settings: int) -> dict[str, Trial]:
    return {subject: Trial(TRIALS, name, subject, dict(settings)) for subject in subjects}


def _plural(rows: int) -> str:
    return f"{rows} deliver{'y' if rows == 1 else 'ies'}"


if __name__ == "__main__":
    with TemporaryDirectory(dir=HERE, prefix=".store-") as folder:
        os.environ[STORES] = folder
        main(str(__doc__), lambda quick: rows(QUICK if quick else Sizes()), ROUNDS)
