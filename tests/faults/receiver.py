"""The other end of a webhook: it answers as it is told, and remembers everything that came in its order."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: what it brought, and when."""

    event_id: str
    message_id: str
    key: str
    serial: int
    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered: a status after some seconds; `close` ends the connection then."""

    status: int = 200
    delay: float = 0.0
    close: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class Receiver:
    """An HTTP server on a free port of loopback, with a loop and a thread of its own.

    Attributes:
        reply: what to answer to an arrival; may be exchanged at any time.
        arrivals: everything that came, in its order.
    """

    def __init__(self) -> None:
        self.reply: Callable[[Arrival], Reply] = lambda _: Reply()
        self.arrivals: list[Arrival] = []
        self._changed = threading.Condition()
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receiver")
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the sender was killed, or the test is over
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:]
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head)}
        arrival = _arrival(headers, await reader.readexactly(int(headers["content-length"])))
        with self._changed:
            self.arrivals.append(arrival)
            self._changed.notify_all()
        reply = self.reply(arrival)
        await asyncio.sleep(reply.delay)
        more = {**reply.headers, "Connection": "close"} if reply.close else reply.headers
        lines = "".join(f"{name}: {text}\r\n" for name, text in more.items())
        writer.write(f"HTTP/1.1 {reply.status} As told\r\nContent-Length: 0\r\n{lines}\r\n".encode())
        return not reply.close

    def wait_for(self, condition: Callable[["Receiver"], Any], seconds: float = PATIENCE) -> None:
        """Wait until what has arrived fulfils a condition."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), seconds), "it never arrived"

    def wait_for_events(self, ids: Iterable[str], seconds: float = PATIENCE) -> None:
        """Wait until each of these events has arrived."""
        wanted = set(ids)

        def complete(_: "Receiver") -> bool:
            wanted.difference_update(arrival.event_id for arrival in self.arrivals)
            return not wanted

        self.wait_for(complete, seconds)

    def counts(self) -> Counter[str]:
        """Return how often each event arrived."""
        return Counter(arrival.event_id for arrival in list(self.arrivals))

    def close(self) -> None:
        """Close every connection and end the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


def _arrival(headers: dict[str, str], body: bytes) -> Arrival:
    event = json.loads(body)["data"]
    metadata = event.get("metadata", {})
    return Arrival(
        event["event_id"],
        headers["webhook-id"],
        str(metadata.get("job_id", "")),
        int(metadata.get("serial", 0)),
        time.monotonic(),
    )
