"""A disk that remembers every write and sync, and shows what a power cut at any moment would have left.

What was synced is there. Of what was written since, any part may be: a disk reorders writes and tears them at
sectors. Names in folders are taken as durable: SQLite syncs the folder when it makes a log.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import apsw

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


class Write:
    """Some bytes at a place of a file; `data` None cuts the file off there."""

    __slots__ = ("at", "data", "name")

    def __init__(self, name: str, at: int, data: bytes | None) -> None:
        self.name, self.at, self.data = name, at, data

    def apply(self, content: bytearray, random: Random | None = None) -> None:
        """Carry it out on a file's content; with dice, some sectors of it only."""
        if self.data is None:
            del content[self.at :]
            content.extend(bytes(self.at - len(content)))
            return
        for start in range(0, len(self.data), SECTOR):
            if random is not None and random.random() < 0.3:
                continue
            at, piece = self.at + start, self.data[start : start + SECTOR]
            content.extend(bytes(max(0, at - len(content))))
            content[at : at + len(piece)] = piece


class Sync:
    """Everything written to a file so far is on the disk."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Disk(apsw.VFS):
    """SQLite's view of a file system that records what is done to the database and its log.

    Attributes:
        history: every write and sync, in order.
    """

    def __init__(self, name: str) -> None:
        self.history: list[Write | Sync] = []
        self.name = name
        super().__init__(name, "")

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file that is recorded."""
        return _File(name, flags, self.history)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        """Delete a file; an empty one stands for one that is gone."""
        super().xDelete(filename, syncdir)
        name = Path(filename).name
        self.history += [Write(name, 0, None), Sync(name)]

    def after(self, moment: int, random: Random) -> dict[str, bytes]:
        """Return the files as a power cut after so many steps of the history leaves them."""
        steps = self.history[:moment]
        files = {name: bytearray() for name in {step.name for step in steps}}
        for name, content in files.items():
            own = [step for step in steps if step.name == name]
            synced = max((at for at, step in enumerate(own) if isinstance(step, Sync)), default=-1)
            _apply(own[: synced + 1], content, None)
            luck = random.choice([0.0, 0.5, 0.9])
            _apply((step for step in own[synced + 1 :] if random.random() < luck), content, random)
        return {name: bytes(content) for name, content in files.items()}


def _apply(steps: Iterable[Write | Sync], content: bytearray, random: Random | None) -> None:
    for step in steps:
        if isinstance(step, Write):
            step.apply(content, random)


class _File(apsw.VFSFile):
    def __init__(
        self, name: str | apsw.URIFilename | None, flags: list[int], history: list[Write | Sync]
    ) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._name, self._history = Path(path or "").name, history
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._history.append(Write(self._name, offset, bytes(data)))
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType] - Buffer is of Python 3.12

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._history.append(Write(self._name, newsize, None))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._history.append(Sync(self._name))


class _Rows:
    """The rows of a statement, all at once, as the standard library's cursor gives them."""

    def __init__(self, rows: Sequence[tuple[Any, ...]], changes: int) -> None:
        self._rows, self.rowcount = list(rows), changes

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def __iter__(self) -> Any:
        return iter(self._rows)


class Connection:
    """The part of `sqlite3.Connection` that the store uses, on a recorded disk.

    Args:
        path: the file.
        disk: where it lies.
        lies: run it with `synchronous=NORMAL`, and say that it is FULL.
    """

    def __init__(self, path: Path, disk: Disk, *, lies: bool = False) -> None:
        self._db: Any = apsw.Connection(str(path), vfs=disk.name)
        self._lies = lies

    def execute(self, sql: str, args: Sequence[Any] = ()) -> _Rows:
        """Run a statement to its end."""
        if self._lies and sql == "PRAGMA synchronous":
            return _Rows([(2,)], 0)
        if self._lies:
            sql = sql.replace("PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL")
        rows = self._db.execute(sql, tuple(args)).fetchall()
        return _Rows(rows, self._db.changes())

    def executemany(self, sql: str, many: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each of these."""
        self._db.executemany(sql, [tuple(args) for args in many])

    def executescript(self, script: str) -> None:
        """Run several statements."""
        self._db.execute(script)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return bool(self._db.in_transaction)

    def close(self) -> None:
        """Close it."""
        self._db.close()


def sqlite_on(disk: Disk, *, lies: bool = False) -> Any:
    """Return what stands in for the module `sqlite3` in the store: its connections lie on this disk."""

    def connect(path: Path, **_: Any) -> Connection:
        return Connection(path, disk, lies=lies)

    return SimpleNamespace(**{**vars(sqlite3), "connect": connect})
