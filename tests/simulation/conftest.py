"""Which seeds are played."""

from pathlib import Path

import pytest

SEEDS = 2000
"""Seeds of every run of the suite."""

RARE = 2000
"""Seeds in which a rare bug has to be found, by the slow tests."""

CHUNKS = 4
"""Tests they are spread over, so that several workers share them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--seed`; known when this folder is named on the command line."""
    parser.addoption("--seed", type=int, help="play this one history, and print it when it fails")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread the seeds over tests."""
    if "seeds" in metafunc.fixturenames:
        seed = metafunc.config.getoption("--seed", None)
        chunks = [range(first, SEEDS, CHUNKS) for first in range(CHUNKS)]
        metafunc.parametrize("seeds", chunks if seed is None else [range(seed, seed + 1)], ids=str)


@pytest.fixture(scope="session")
def failed_before() -> list[int]:
    """Return the seeds that ever failed."""
    lines = Path(__file__).with_name("seeds.txt").read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]
