"""What a scrape reads from the cells: no message, so no way to fail and nothing that waits.

Every actor has every series from its first moment on; the label `actor` is its path in the tree.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .cell import Cell
from .letters import REASONS


def actor_metrics(root: Cell, restarts: Mapping[str, int]) -> list[Metric]:
    """Return the metrics of all actors below a root; `restarts` by path."""
    up = GaugeMetricFamily("knell_actor_up", "Whether an actor serves messages.", labels=["actor"])
    depth = GaugeMetricFamily("knell_mailbox_depth", "Messages that wait.", labels=["actor"])
    busy = GaugeMetricFamily(
        "knell_actor_busy_seconds", "Age of the message in hand; 0 for an idle actor.", labels=["actor"]
    )
    again = CounterMetricFamily("knell_actor_restarts", "Restarts of an actor.", labels=["actor"])
    zombies = GaugeMetricFamily("knell_zombie_threads", "Hung threads that were given up and have not ended.")
    zombies.add_metric([], root.host.living_zombies())
    cells = list(_below(root))
    for cell in cells:
        up.add_metric([cell.path], cell.up)
        depth.add_metric([cell.path], cell.mailbox.depth)
        busy.add_metric([cell.path], cell.busy or 0.0)
        again.add_metric([cell.path], restarts.get(cell.path, 0))
    return [up, depth, busy, again, zombies, _dead_letters(root, cells)]


def _dead_letters(root: Cell, cells: list[Cell]) -> Metric:
    counts = Counter({(cell.path, reason): 0 for cell in cells for reason in REASONS})
    counts.update(root.host.letters.counts())
    dead = CounterMetricFamily(
        "knell_actor_dead_letters", "Messages that no actor handled.", labels=["actor", "reason"]
    )
    for labels, count in counts.items():
        dead.add_metric(labels, count)
    return dead


def _below(cell: Cell) -> Iterator[Cell]:
    for child in list(cell.children.values()):
        yield child
        yield from _below(child)
