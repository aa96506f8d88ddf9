"""A real HTTP server that answers as it is told, and one attempt of a channel against it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from knell.channels.base import Channel
from knell.messages import FormattedMessage, Outcome
from tests.channels.opening import running

CANARY = "canary"


@pytest.fixture
def serve() -> Callable[..., Any]:
    """Return a server for replies of status, body (text, bytes or JSON) and headers, one for each request.

    `async with serve(*replies) as (base_url, requests)`; a request is a mapping.
    """

    @asynccontextmanager
    async def run(*replies: Any) -> AsyncGenerator[tuple[str, list[dict[str, Any]]]]:
        requests: list[dict[str, Any]] = []
        left = list(replies)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            body = await request.read()
            requests.append(
                {
                    "method": request.method,
                    "path": str(request.rel_url),
                    "headers": request.headers,
                    "body": body,
                }
            )
            status, content, *more = left.pop(0) if left else (599, "no reply left")
            if not isinstance(content, bytes):
                content = (content if isinstance(content, str) else json.dumps(content)).encode()
            return web.Response(status=status, body=content, headers=more[0] if more else None)

        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", requests
        finally:
            await runner.cleanup()

    return run


@pytest.fixture
def attempt(serve: Callable[..., Any]) -> Callable[..., tuple[Outcome, list[dict[str, Any]]]]:
    """Return what makes a channel by the server's address, fits and sends one message, and looks for secrets.

    `outcome, requests = attempt(make, message, *replies)`. Secrets of the tests hold the word "canary".
    """

    def run(
        make: Callable[[str], Channel], message: FormattedMessage, *replies: Any
    ) -> tuple[Outcome, list[dict[str, Any]]]:
        outcome, requests = asyncio.run(attempted(make, message, *replies))
        assert CANARY not in repr(outcome).lower()
        return outcome, requests

    async def attempted(
        make: Callable[[str], Channel], message: FormattedMessage, *replies: Any
    ) -> tuple[Outcome, list[dict[str, Any]]]:
        async with serve(*replies) as (base, requests), running(make(base)) as channel:
            outcome = await channel.send(channel.fit(message))
        return outcome, requests

    return run
