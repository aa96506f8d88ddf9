"""What browsers are told: as it happens, and what happened before they came."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import msgspec

KEPT_MESSAGES, KEPT_LINES = 20, 200
"""What a browser that comes later still gets: messages of each channel, and lines."""

BEHIND = 2_000
"""Items a browser may be behind; one that is further back begins again."""

_END = b""


class Hub:
    """Server-sent events for any number of browsers; on the demo's loop alone."""

    def __init__(self) -> None:
        self._browsers: set[asyncio.Queue[bytes]] = set()
        self._messages: defaultdict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=KEPT_MESSAGES))
        self._lines: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._latest: dict[str, bytes] = {}

    @property
    def watched(self) -> bool:
        """Whether anybody looks."""
        return bool(self._browsers)

    def message(self, channel: str, view: dict[str, Any]) -> None:
        """Show a message to everybody, now and later."""
        item = _packed("message", view)
        self._messages[channel].append(item)
        self._send(item)

    def line(self, line: object) -> None:
        """Show a line to everybody, now and later."""
        item = _packed("line", line)
        self._lines.append(item)
        self._send(item)

    def latest(self, kind: str, data: object) -> None:
        """Show something of which only the latest counts; the same again is not sent."""
        item = _packed(kind, data)
        if self._latest.get(kind) != item:
            self._latest[kind] = item
            self._send(item)

    async def stream(self) -> AsyncGenerator[bytes]:
        """Yield everything for one browser, until the demo ends or the browser falls behind."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(BEHIND)
        self._browsers.add(queue)
        try:
            yield b"".join(self._before())
            while item := await queue.get():
                yield item
        finally:
            self._browsers.discard(queue)

    def close(self) -> None:
        """End every stream."""
        self._send(_END)

    def _before(self) -> Iterator[bytes]:
        yield _packed("hello", {})
        yield from self._latest.values()
        for messages in self._messages.values():
            yield from messages
        yield from self._lines
        yield _packed("live", {})

    def _send(self, item: bytes) -> None:
        for queue in list(self._browsers):
            if queue.full():  # what it has missed cannot be told in pieces: it comes back and gets the whole
                while not queue.empty():
                    queue.get_nowait()
                self._browsers.discard(queue)
                queue.put_nowait(_END)
            else:
                queue.put_nowait(item)


def _packed(kind: str, data: object) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
