"""A disk in memory: what outlives a process, where a crash is a return to the last commit.

Every change notes how to undo it. `commit` forgets those notes; a rollback and a crash carry them out.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from knell.deliveries import Delivery
from knell.errors import StoreError
from knell.events import NotificationEvent
from knell.store.contract import State
from knell.store.records import AttemptRecord, AuditRecord

MISSING: Any = object()
"""Stands for no value; writing it deletes."""


class Row(msgspec.Struct, frozen=True):
    """A delivery. `order_key`: empty for none."""

    id: int
    seq: int
    channel: str
    order_key: str
    rule: str
    state: State
    due: float = 0.0
    attempts: int = 0
    crashes: int = 0
    reason: str = ""
    error: str = ""
    progress: dict[str, Any] = {}
    receipt: Any = None
    finished: float | None = None


class Entry(msgspec.Struct, frozen=True):
    """An accepted event."""

    event: NotificationEvent
    accepted: float
    suppressed: dict[str, str]
    similar: str = ""


class Key(msgspec.Struct, frozen=True):
    """What an event is known by. `content`: what makes a repetition the same event."""

    seq: int
    content: NotificationEvent
    at: float


class Tables(msgspec.Struct):
    """Everything that is stored. `next`: the next number of an event and of a delivery."""

    events: dict[int, Entry] = {}
    keys: dict[str, Key] = {}
    rows: dict[int, Row] = {}
    attempts: dict[int, tuple[AttemptRecord, ...]] = {}
    audit: dict[int, AuditRecord] = {}
    notes: dict[tuple[str, str], tuple[bytes, float]] = {}
    next: dict[str, int] = msgspec.field(default_factory=lambda: {"event": 1, "delivery": 1})


class Faults(Protocol):
    """What can go wrong with a disk; called where it would, and raises."""

    def touch(self, what: str) -> None:
        """Read or write something."""
        ...

    def commit(self, make_durable: Callable[[], None]) -> None:
        """Make a transaction durable, or fail to."""
        ...


class Disk:
    """What outlives a process.

    Attributes:
        owner: the store that has it open.
        tables: what is stored, and what a transaction has changed.
        used: whether a store was ever opened on it.
        in_transaction: whether a transaction has begun.
    """

    def __init__(self, faults: Faults | None = None, tables: Tables | None = None) -> None:
        self.faults = faults
        self.owner: object = None
        self.tables = Tables() if tables is None else tables
        self.used = tables is not None
        self.in_transaction = False
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []
        self._live: defaultdict[str, dict[int, Row]] = defaultdict(dict)
        for row in self.tables.rows.values():
            if row.state < State.DONE:
                self._live[row.channel][row.id] = row

    # Rows

    def put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Write a value."""
        self._undo.append((table, key, table.get(key, MISSING)))
        _set(table, key, value)

    def write(self, row: Row) -> Row:
        """Write a row."""
        self.put(self.tables.rows, row.id, row)
        live = self._live[row.channel]
        if row.state < State.DONE or row.id in live:
            self.put(live, row.id, row if row.state < State.DONE else MISSING)
        return row

    def change(self, row: Row, **changes: Any) -> Row:
        """Write a row that differs in these fields."""
        return self.write(msgspec.structs.replace(row, **changes))

    def unfinished(self, channel: str) -> list[Row]:
        """Return the rows of a channel that have not ended, oldest first."""
        live = self._live[channel]
        return [live[number] for number in sorted(live)]

    def same_key(self, channel: str, order_key: str) -> list[Row]:
        """Return the unfinished rows of an order key, oldest first."""
        return [row for row in self.unfinished(channel) if row.order_key == order_key]

    def delivery(self, row: Row) -> Delivery:
        """Return a row as channels get it."""
        entry = self.tables.events[row.seq]
        return Delivery(
            row=row.id,
            event=entry.event,
            channel=row.channel,
            order_key=row.order_key or f"#{row.id}",
            attempts=row.attempts,
            crashes=row.crashes,
            accepted=entry.accepted,
            rule=row.rule,
            progress=row.progress,
        )

    @property
    def finished(self) -> bool:
        """Whether every delivery has ended."""
        return not any(self._live.values())

    # Transactions

    def durable(self) -> None:
        """Make what was written the last commit."""
        self._undo.clear()
        self.in_transaction = False

    def back(self) -> None:
        """Return to the last commit."""
        while self._undo:
            _set(*self._undo.pop())
        self.in_transaction = False

    def crash(self) -> None:
        """Lose the process that had it open."""
        self.owner = None
        self.back()

    def committed(self) -> "Disk":
        """Return the disk as of the last commit: itself, or a copy while something else is written."""
        if not self._undo:
            return self
        tables = Tables(*(dict(getattr(self.tables, name)) for name in Tables.__struct_fields__))
        pairs = ((getattr(self.tables, name), getattr(tables, name)) for name in Tables.__struct_fields__)
        copies: dict[int, dict[Any, Any]] = {id(table): copy for table, copy in pairs}
        for table, key, before in reversed(self._undo):
            if id(table) in copies:
                _set(copies[id(table)], key, before)
        return Disk(tables=tables)

    # Files

    def save(self, target: Path) -> None:
        """Copy what is committed to a new file.

        Raises:
            StoreError: the file exists, or cannot be written.
        """
        try:
            with target.open("xb") as file:
                file.write(msgspec.msgpack.encode(self.committed().tables))
        except OSError as error:
            raise StoreError(f"backup {target}: {error.strerror}") from error


def load(source: Path) -> Disk:
    """Return a disk with what was saved to a file; an empty one if there is none."""
    if not source.exists():
        return Disk()
    return Disk(tables=msgspec.msgpack.decode(source.read_bytes(), type=Tables))


def _set(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is MISSING:
        table.pop(key, None)
    else:
        table[key] = value
