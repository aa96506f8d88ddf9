import time
from typing import Any

from tests.deeds import Puppets
from tests.puppets import Tree


def _start_and_stop(tree: Any, puppet: Puppets, children: int) -> float:
    """Return the seconds it takes for this many children."""
    tree = Tree(tree.host)
    since = time.perf_counter()
    tree.start(*(puppet(f"child-{number}") for number in range(children)))
    assert len(tree.root.children) == children
    tree.stop()
    return time.perf_counter() - since


def test_30_many_children_take_no_more_than_quadratic_time(tree: Any, puppet: Puppets) -> None:
    """Ten times the children take less than a hundred times as long to start and stop.

    The few are taken ten times, so that both sides are the same work where it grows with their number.

    Origin: OTP supervisor_SUITE, scale_start_stop_many_children.
    """
    few = sum(_start_and_stop(tree, puppet, 30) for _ in range(10)) / 10
    assert _start_and_stop(tree, puppet, 300) < 100 * few
