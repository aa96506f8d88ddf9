"""What supervision costs, beside stock pykka in the same run. `--help` says how; README.md what it means."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import Trial
from subjects import KNELL, PYKKA
from table import Row, main

from knell.actors.topology import CHANNEL_MAILBOX, ROUTER_MAILBOX
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


if __name__ == "__main__":
    main(str(__doc__), lambda quick: rows(QUICK if quick else Sizes()), ROUNDS)
