"""Kept connections to one mail server: opening one costs more round trips than a mail."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from .smtp import Connection

IDLE_SECONDS = 30.0
"""Idle time after which a connection is tested before use; ours, well below the 5 min servers wait (RFC 5321,
section 4.5.3.2.7)."""

TEST_SECONDS = 5.0
"""Time for that test: a router that forgot the connection answers nothing at all."""

GOODBYE_SECONDS = 1.0
"""Time for a QUIT when the channel closes."""


class Pool:
    """Connections that wait for the next mail. Each serves one mail at a time.

    Args:
        connect: opens a connection.
        size: most connections kept.
        idle_seconds: idle time after which a connection is tested before use.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], size: int, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._connect = connect
        self._size = size
        self._idle_seconds = idle_seconds
        self._idle: list[Connection] = []
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection, None]:
        """Lend a connection; it is kept afterwards if it is still usable.

        Raises:
            Failed: no connection could be opened.
        """
        connection = await self._kept() or await self._connect()
        try:
            yield connection
        finally:
            self._take_back(connection)

    async def _kept(self) -> Connection | None:
        # The newest first: under light load the others grow old and are closed by the server.
        while self._idle:
            connection = self._idle.pop()
            try:
                if connection.usable and await self._proven(connection):
                    return connection
            except BaseException:
                connection.drop()
                raise
            connection.drop()
        return None

    async def _proven(self, connection: Connection) -> bool:
        idle = asyncio.get_running_loop().time() - connection.idle_since
        if idle < self._idle_seconds and not connection.dirty:
            return True
        try:
            async with asyncio.timeout(TEST_SECONDS):
                return await connection.reset()
        except TimeoutError:
            return False

    def _take_back(self, connection: Connection) -> None:
        if self._closed or not connection.usable or len(self._idle) >= self._size:
            connection.drop()
            return
        connection.reused = True
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def close(self) -> None:
        """Close what is idle now, and the others when they come back."""
        self._closed = True
        idle, self._idle = self._idle, []
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await asyncio.gather(*(connection.quit() for connection in idle))
        except TimeoutError:
            return  # each was dropped when its goodbye was cancelled
