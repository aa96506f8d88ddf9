"""Benchmarks in their shortest form."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def run_quick(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, Path]]:
    """Return what runs a benchmark; it returns what was printed, and the file with the raw rounds."""

    def run(name: str) -> tuple[str, Path]:
        raw = tmp_path_factory.mktemp("benchmark") / "rounds.json"
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, f"benchmarks/{name}.py", "--quick", "--json", str(raw)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, raw

    return run
