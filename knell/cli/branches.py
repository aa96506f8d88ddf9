"""The supervision tree as text: a branch for each actor, and beside it what an operator looks for."""

from collections.abc import Iterator

import click

from knell.actors.nodes import Circuit, Node, Survey
from knell.actors.policy.breaker import Phase
from knell.actors.policy.restart import Status
from knell.cli.plain import plain, writable

SLOW = 1.0
"""Seconds a message may be in hand before it catches the eye."""

MINUTE, HOUR = 60, 3600

_HEAD = ("ACTOR", "STATE", "MAILBOX", "HANDLED", "RESTARTS", "IN HAND", "")
_COLOURS = {Status.RUNNING: "green", Status.RESTARTING: "yellow", Status.DEGRADED: "red"}
_PHASES = {Phase.OPEN: "red", Phase.HALF_OPEN: "yellow", Phase.DISABLED: "red"}
_FORKS = ("├── ", "│   ", "└── ", "    ")
_ASCII = ("|-- ", "|   ", "`-- ", "    ")

Cell = tuple[str, str | None]
"""A text and its colour."""

Row = list[Cell]


def lines(seen: Survey, encoding: str) -> Iterator[str]:
    """Return the lines of a tree, in colours that `click.echo` takes away where they do not belong."""
    rows: list[Row | str] = list(_rows(seen.root, "", "", _FORKS if _can(encoding) else _ASCII))
    head: Row = [(text, None) for text in _HEAD]
    table = [head, *(row for row in rows if isinstance(row, list))]
    widths = [max(len(row[column][0]) for row in table) for column in range(len(_HEAD))]
    yield _line(head, widths)
    for row in rows:
        text = row if isinstance(row, str) else _line(row, widths)
        yield writable(text, encoding)
    yield ""
    yield ", ".join((_count(seen.zombies, "zombie"), _count(seen.dead_letters, "dead letter")))


def _rows(node: Node, stem: str, below: str, forks: tuple[str, ...]) -> Iterator[Row | str]:
    """Go through the tree; a row is cells, or a whole line about the actor above it."""
    yield _cells(node, stem + node.name)
    last = len(node.children) - 1
    if node.error:
        colour = None if node.status is Status.RUNNING else "red"
        trunk = forks[1] if node.children else ""
        yield below + trunk + _styled(f"last crash: {plain(node.error)}", colour)
    for number, child in enumerate(node.children):
        fork, trunk = (forks[2], forks[3]) if number == last else (forks[0], forks[1])
        yield from _rows(child, below + fork, below + trunk, forks)


def _cells(node: Node, name: str) -> Row:
    status, busy = node.status, node.busy_seconds
    notes: Row = [] if node.again_seconds is None else [(f"again in {_time(node.again_seconds)}", None)]
    notes += _circuit(node.circuit) if node.circuit else []
    return [
        (name, None),
        ("stopped" if status is Status.UNDEFINED else status, _COLOURS.get(status)),
        (f"{node.mailbox:,}", "yellow" if node.mailbox and status is not Status.RUNNING else None),
        (f"{node.handled:,}", None),
        (f"{node.restarts:,}", "yellow" if node.restarts else None),
        ("-" if busy is None else _time(busy), "yellow" if busy and busy >= SLOW else None),
        (", ".join(_styled(text, colour) for text, colour in notes), None),
    ]


def _circuit(circuit: Circuit) -> Row:
    """Say what a channel does and what holds it back."""
    breaker = f"breaker {circuit.phase.replace('_', ' ')}"
    if circuit.phase is Phase.OPEN:
        wait = _time(circuit.probe_seconds)
        breaker += f" (probe in {wait})" if circuit.probe_seconds else " (probe with the next delivery)"
    notes: Row = [(breaker, _PHASES.get(circuit.phase))]
    if circuit.in_flight:
        notes.append((f"{circuit.in_flight:,} in flight", None))
    if circuit.paused_seconds:
        notes.append((f"paused by the provider for {_time(circuit.paused_seconds)}", "yellow"))
    if circuit.limited_seconds:
        notes.append((f"rate limit for {_time(circuit.limited_seconds)}", "yellow"))
    if circuit.diverted:
        notes.append(("fallback gets its deliveries", "yellow"))
    return notes


def _line(row: Row, widths: list[int]) -> str:
    """Lay out a row: words to the left, numbers to the right."""
    texts: list[str] = []
    for column, ((text, colour), width) in enumerate(zip(row, widths, strict=True)):
        numeric = 2 <= column < len(row) - 1  # noqa: PLR2004 - after name and state
        padding = " " * (width - len(text)) if column < len(row) - 1 else ""
        styled = _styled(text, colour)
        texts.append(padding + styled if numeric else styled + padding)
    return "  ".join(texts).rstrip()


def _time(seconds: float) -> str:
    """Write a duration as people say it."""
    if seconds < 10:  # noqa: PLR2004 - below, a tenth matters
        return f"{seconds:.1f} s"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.0f} h"


def _count(number: int, what: str) -> str:
    text = f"{number:,} {what}{'' if number == 1 else 's'}" if number else f"no {what}s"
    return _styled(text, "yellow" if number else None)


def _styled(text: str, colour: str | None) -> str:
    return click.style(text, fg=colour) if colour else text


def _can(encoding: str) -> bool:
    try:
        "".join(_FORKS).encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
