"""What the cases share beside puppets: a clock that a test moves on, and a tree that lives by it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from knell.actors.clock import Clock
from knell.actors.control import Control
from knell.actors.host import Host
from knell.actors.io import IoLoop
from tests.deeds import Puppets
from tests.puppets import Tree


class Time:
    """Monotonic seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def passes(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds


@pytest.fixture
def time() -> Time:
    """The time of `timed`."""
    return Time()


@pytest.fixture
def timed(time: Time) -> Iterator[Tree]:
    """A tree whose supervisors see time pass when the test says so, and no jitter."""
    host = Host(IoLoop(), replace(Clock(), now=time, dice=lambda: 0.0))
    tree = Tree(host)
    yield tree
    tree.stop()
    host.io.close()


@pytest.fixture
def abc(tree: Any, story: Any, puppet: Puppets) -> Callable[..., Control]:
    """Return what starts a, b and c under a supervisor, and reads their start off the story."""

    def start(**supervision: Any) -> Control:
        control: Control = tree.start(puppet("a"), puppet("b"), puppet("c"), **supervision)
        assert story.take(3) == [(name, "start", 1) for name in "abc"]
        return control

    return start
