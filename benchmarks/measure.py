"""Trials in fresh processes, taken in turns; medians, and ratios round by round.

A machine drifts: never all rounds of one subject and then all of the other. Every trial is a process of its
own, subjects take turns within a round, and a ratio divides two figures of one round, before any median.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 120.0
"""Seconds after which a trial has failed; the longest takes some seconds."""

Figures = dict[str, float]
"""What one trial measured, by name."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing to measure about one subject: a function of `script`, called in a process of its own.

    Attributes:
        script: the file to run; it prints its figures as one line of JSON.
        name: the function in it.
        subject: what it is measured on.
        settings: its keyword arguments.
    """

    script: Path
    name: str
    subject: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def key(self) -> str:
        """What its figures are filed under."""
        settings = (f"{name}={value}" for name, value in self.settings.items())
        return " ".join([self.subject, self.name, *settings])

    def run(self) -> Figures:
        """Run it once.

        Raises:
            RuntimeError: it failed, or found its subject at fault.
        """
        command = [sys.executable, str(self.script), self.name, self.subject, json.dumps(self.settings)]
        done = subprocess.run(  # noqa: S603 - our own script
            command, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{self.key}: {done.stderr[-2000:]}")
        figures: Figures = json.loads(done.stdout)
        return figures


class Rounds:
    """What several rounds of the same trials measured.

    Attributes:
        raw: the figures of every round, by the trial's key.
        load: the load average of the last minute, before every round.
    """

    def __init__(self) -> None:
        self.raw: list[dict[str, Figures]] = []
        self.load: list[float] = []

    def run(self, trials: Iterable[Trial], rounds: int) -> None:
        """Run all trials one after the other, so many times; every second round backwards."""
        ordered = list(trials)
        for number in range(rounds):
            self.load.append(os.getloadavg()[0])
            taken = {trial.key: trial.run() for trial in (ordered[::-1] if number % 2 else ordered)}
            self.raw.append(taken)

    def figures(self, key: str, figure: str) -> list[float]:
        """Return one figure of every round."""
        return [taken[key][figure] for taken in self.raw]

    def ratios(self, key: str, base: str, figure: str) -> list[float]:
        """Return one figure divided by the same figure of another trial, round by round."""
        return [
            ours / theirs
            for ours, theirs in zip(self.figures(key, figure), self.figures(base, figure), strict=True)
        ]

    def differences(self, key: str, base: str, figure: str) -> list[float]:
        """Return one figure less the same figure of another trial, round by round."""
        return [
            ours - theirs
            for ours, theirs in zip(self.figures(key, figure), self.figures(base, figure), strict=True)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {"python": sys.version, "cpus": os.cpu_count(), "load": self.load, "rounds": self.raw}


def spread(values: list[float], digits: int = 1) -> str:
    """Write several measurements of one thing as "median (lowest-highest)"."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} ({low:,.{digits}f}-{high:,.{digits}f})"
