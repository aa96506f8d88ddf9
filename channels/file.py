"""A file of JSON Lines: one line for each event, for audits and for programs that read along."""

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec
from pydantic import Field

from knell.messages import (
    Delivered,
    FormattedMessage,
    HealthStatus,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)

from ..config.schema import ChannelConfig, Flag, Names
from .base import Channel, text_of

T = TypeVar("T")

_MIB = 1024 * 1024
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""No link is followed, and a pipe without a reader blocks nobody."""

_MODE, _FOLDER_MODE = 0o600, 0o700
_PASSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EIO: "the disk reports an error",
    errno.EFBIG: "the file is as large as a file may be",
}
_STAYS = {
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.EROFS: "the file system is read-only",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.EISDIR: "it is a directory",
    errno.ENOTDIR: "a part of its path is no directory",
    errno.EEXIST: "a part of its path is no directory",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENXIO: "it is no regular file",
}


class FileConfig(ChannelConfig):
    """The section of a file channel."""

    path: str = Field(min_length=1, description="the file; ~ is the home folder, missing folders are made")
    max_mb: float | None = Field(
        default=None, gt=0, description="MiB from which a new file is begun; never when absent"
    )
    keep: int = Field(default=5, ge=1, le=1000, description="old files kept: path.1 is the newest of them")
    fsync: Flag = Field(default=False, description="delivered means on disk, also after a power cut")
    events: Names | None = Field(default=["*"], description="event types it writes, '*' for all")


class FileChannel(Channel):
    """Appends to a file. A lock lets several processes write one file, each line whole."""

    Config = FileConfig
    default_events: ClassVar[frozenset[str]] = frozenset({"*"})
    config: FileConfig

    def __init__(self, config: FileConfig) -> None:
        super().__init__(config)
        self._path = Path(config.path).expanduser()
        # Of its own: a dead network drive holds its thread for as long as it likes.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="knell-file")

    async def send(self, message: FormattedMessage) -> Outcome:
        """Append a line for each event, all in one write."""
        try:
            data = b"".join(msgspec.json.encode(line) + b"\n" for line in _lines(message))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return Rejected(Reason.INVALID_MESSAGE, "the event cannot be written as JSON")
        try:
            offset = await self._apart(lambda: self._append(data))
        except TimeoutError:
            return Unknown(Reason.TIMEOUT, f"{self._path}: the disk does not answer")
        except OSError as error:
            return self._failure(error)
        return Delivered({"path": str(self._path), "offset": offset})

    async def health_check(self) -> HealthStatus:
        """Say whether the file could be written; nothing is written and nothing is made."""
        try:
            problem = await self._apart(self._problem)
        except TimeoutError:
            problem = "the disk does not answer"
        return HealthStatus(not problem, f"{self._path}: {problem}" if problem else "")

    async def close(self) -> None:
        """Let the thread end; a write that hangs ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _apart(self, work: Callable[[], T]) -> T:
        async with asyncio.timeout(self.config.timeout_seconds):
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _append(self, data: bytes) -> int:
        """Write, and return where in the file the first line begins."""
        with self._locked() as file:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                data = b"\n" + data  # the last writer was killed in the middle of its line
            written = os.write(file, data)
            if written < len(data):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self.config.fsync:
                os.fsync(file)
            return size + data.startswith(b"\n")

    @contextmanager
    def _locked(self) -> Generator[int]:
        """Open the file for one write, after a rotation if it is due, and keep others from it meanwhile."""
        while True:
            file = self._opened()
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if not self._is_current(file):
                    continue  # another process has begun a new file meanwhile
                if self._is_full(file):
                    self._rotate()
                    continue
                yield file
                return
            finally:
                os.close(file)

    def _opened(self) -> int:
        self._path.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
        file = os.open(self._path, _FLAGS, _MODE)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return file

    def _is_current(self, file: int) -> bool:
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(file))

    def _is_full(self, file: int) -> bool:
        most = self.config.max_mb
        return most is not None and os.fstat(file).st_size >= most * _MIB

    def _rotate(self) -> None:
        """Make room: the oldest file goes, the others move up. Runs with the lock on the current file."""
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, self.config.keep + 1))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if os.path.lexists(newer):
                newer.replace(older)

    def _problem(self) -> str:
        folder = self._path.parent
        while not os.path.lexists(folder):
            folder = folder.parent
        if self._path.is_symlink():
            return _STAYS[errno.ELOOP]
        if self._path.is_dir():
            return _STAYS[errno.EISDIR]
        place = self._path if self._path.exists() else folder
        return "" if os.access(place, os.W_OK) else _STAYS[errno.EACCES]

    def _failure(self, error: OSError) -> Outcome:
        number = error.errno or 0
        why = _STAYS.get(number) or _PASSES.get(number) or error.strerror or "it cannot be written"
        detail = f"{self._path}: {why}"
        if number in _STAYS:
            return Rejected(Reason.CONFIGURATION, detail)
        return Retry(Reason.SERVER_ERROR, None, detail)


def _lines(message: FormattedMessage) -> Iterator[dict[str, Any]]:
    """Return what is written: the shape of a webhook's body, and the delivery that it belongs to."""
    if not message.events:
        at = datetime.now(UTC)
        yield {"id": message.id, "type": "knell.message", "timestamp": at, "data": {"text": text_of(message)}}
    for event in message.events:
        yield {"id": message.id, "type": event.event_type, "timestamp": event.timestamp, "data": event}
