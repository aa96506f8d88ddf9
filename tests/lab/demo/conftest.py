"""A writer that can be waited on, and a browser that tells of its errors."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

WAIT_SECONDS = 30.0


class Paper:
    """What the demo writes to."""

    def __init__(self) -> None:
        self.text = ""
        self._changed = asyncio.Event()

    def write(self, text: str, /) -> None:
        """Take a text."""
        self.text += text
        self._changed.set()

    def flush(self) -> None:
        """Do nothing: it is all there."""

    async def shows(self, pattern: str) -> re.Match[str]:
        """Wait until the pattern is found, and return the match."""
        async with asyncio.timeout(WAIT_SECONDS):
            while (found := re.search(pattern, self.text)) is None:
                self._changed.clear()
                await self._changed.wait()
        return found


@pytest.fixture
def paper() -> Paper:
    """Return a new sheet."""
    return Paper()


class Tab:
    """One page of a browser, by the DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last = 0
        self.errors: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method; what the page complains about meanwhile is kept."""
        self._last += 1
        await self._socket.send_json({"id": self._last, "method": method, "params": params})
        async for item in self._socket:
            said = json.loads(item.data)
            if said.get("id") == self._last:
                assert "error" not in said, said
                return dict(said["result"])
            if said.get("method") in {
                "Runtime.exceptionThrown",
                "Log.entryAdded",
                "Runtime.consoleAPICalled",
            }:
                self.errors.append(json.dumps(said["params"]))
        raise ConnectionError("the browser has gone")

    async def open(self, url: str) -> None:
        """Go to an address."""
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """Return what an expression, or its promise, comes to."""
        async with asyncio.timeout(WAIT_SECONDS):
            wanted = {"expression": script, "awaitPromise": True, "returnByValue": True}
            result = await self.call("Runtime.evaluate", **wanted)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")


Browse = Callable[[], AbstractAsyncContextManager[Tab]]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """Return what opens a tab of a real, headless Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium: apt-get install chromium")

    @asynccontextmanager
    async def tab() -> AsyncGenerator[Tab]:
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking")
        process = await asyncio.create_subprocess_exec(
            *(found, *options, "--remote-debugging-port=0", f"--user-data-dir={tmp_path}/chromium"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(await _address(process, session), max_msg_size=0) as socket,
            ):
                yield Tab(socket)
        finally:
            process.terminate()
            await process.communicate()

    return tab


async def _address(process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> str:
    """Read from the browser where its first tab can be talked to."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        if found := re.search(rb"DevTools listening on ws://([^/]+)/", line):
            async with session.get(f"http://{found[1].decode()}/json/list") as answer:
                return str(
                    next(tab for tab in await answer.json() if tab["type"] == "page")["webSocketDebuggerUrl"]
                )
    raise AssertionError("the browser did not start")
