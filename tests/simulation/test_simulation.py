import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import pytest

from .audit import Violation
from .conftest import RARE, SEEDS
from .mutants import FEARED, FOUND
from .process import Cast
from .world import World

LINES = 80
"""Last lines of a history that are shown when it fails."""


@contextmanager
def _without_collector() -> Generator[None]:
    """Play many histories without looking for garbage all the time."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
        gc.collect()


def _play(seeds: Iterable[int]) -> None:
    """Play histories; show the first one that breaks a promise."""
    with _without_collector():
        for seed in seeds:
            try:
                World(seed).play()
            except Violation as violation:
                replay = f"python -m pytest tests/simulation --seed {seed}"
                pytest.fail(f"seed {seed}: {violation}\nreplay: {replay}\n{_story(seed)}", pytrace=False)


def _story(seed: int) -> str:
    world = World(seed, verbose=True)
    with pytest.raises(Violation):
        world.play()
    return "\n".join(world.trace.lines()[-LINES:])


def _first_found(who: Cast, most: int) -> int | None:
    """Return the first of so many seeds that finds a bug."""
    with _without_collector():
        for seed in range(most):
            try:
                World(seed, who).play()
            except Violation:
                return seed
    return None


# The real thing


@pytest.mark.timeout(600)
def test_no_history_breaks_a_promise(seeds: Iterable[int]) -> None:
    """Whatever crashes, hangs, is slow, fails or is lost: I1 to I9 hold at every step."""
    _play(seeds)


def test_what_was_mended_stays_mended(failed_before: list[int]) -> None:
    """The seeds that failed once do not fail again."""
    assert failed_before
    _play(failed_before)


def test_the_histories_have_everything_in_them() -> None:
    """A simulation in which nothing goes wrong would find nothing."""
    seen: Counter[str] = Counter()
    for seed in range(250):
        world = World(seed)
        world.play()
        seen.update({str(what[1]) for what in world.trace.notes})
    rare = {what: seen[what] for what in WHAT_HAPPENS if seen[what] < 5}
    assert not rare


WHAT_HAPPENS = (
    "accepted",
    "actor crashes",
    "actor hangs",
    "arrive",
    "boot",
    "commit fails",
    "crash",
    "end",
    "fatal",
    "healed",
    "refused",
    "send",
    "stop",
    "store fails",
)


# The same again


def test_a_seed_is_a_history() -> None:
    """The same trace every time, and another one for another seed."""
    digests = [_digest(seed) for seed in (1, 2, 3)]
    assert [_digest(seed) for seed in (1, 2, 3)] == digests
    assert len(set(digests)) == 3


def _digest(seed: int) -> str:
    world = World(seed)
    world.play()
    return world.trace.digest()


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_no_history_hangs_on_the_order_of_a_set(hash_seed: str) -> None:
    """Another process with other hashes plays the same."""
    code = (
        "from tests.simulation.test_simulation import _digest\nprint(*[_digest(seed) for seed in range(20)])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    assert ran.stdout.split() == [_digest(seed) for seed in range(20)]


# What it would find


def test_a_history_that_fails_can_be_read() -> None:
    """Told again with log lines and messages, it fails in the same way."""
    who, *_ = FOUND.values()
    seed = _first_found(who, SEEDS)
    assert seed is not None
    said: list[str] = []
    for verbose in (False, True):
        world = World(seed, who, verbose=verbose)
        with pytest.raises(Violation) as caught:
            world.play()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert any("log" in line and "outbox.commit_failed" in line for line in world.trace.lines())


@pytest.mark.parametrize("bug", FEARED)
def test_a_feared_bug_is_found(bug: str) -> None:
    """Each of them within the seeds of every run."""
    assert _first_found(FEARED[bug], SEEDS) is not None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", FOUND)
def test_a_bug_of_the_past_is_found_again(bug: str) -> None:
    """Within some more seeds: which one it is changes with every change of the product."""
    assert _first_found(FOUND[bug], RARE) is not None
