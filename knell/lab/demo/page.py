"""The page's server: one document, a stream of what happens, and a few buttons."""

import os
from collections.abc import Callable
from contextlib import aclosing, suppress
from http import HTTPStatus
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from knell.errors import KnellError
from knell.lab.demo.document import document
from knell.lab.demo.hub import Hub
from knell.lab.standin import LOOPBACK
from knell.templates.wording import Catalog

PORT = 8321
"""The port of `knell run` (contract, section 5)."""

CLOSE_SECONDS = 0.5
"""How long a browser's stream may take to end."""

OWN = "X-Knell-Demo"
"""A header that only the page's own script sends: another site's would have to ask first, in vain."""


class Page:
    """The demo's web server, on loopback alone.

    Args:
        hub: what there is to see.
        words: the language of the page's own words.
        act: does what a button says; False when there is no such button.
        port: where to listen; None takes 8321, or a free one where that is taken.

    Raises:
        KnellError: at its start, when it cannot listen.
    """

    def __init__(self, hub: Hub, words: Catalog, act: Callable[[str], bool], port: int | None) -> None:
        self._hub = hub
        self._act = act
        self._ports = (PORT, 0) if port is None else (port,)
        self._document, self._policy = document(words)
        app = web.Application(middlewares=[_only_this_machine])
        app.on_response_prepare.append(self._add_headers)
        app.router.add_get("/", self._show)
        app.router.add_get("/events", self._stream)
        app.router.add_post("/act/{name}", self._press)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await self._listen()
        except OSError as error:
            await self._runner.cleanup()
            cause = os.strerror(error.errno) if error.errno else str(error)
            raise KnellError(f"cannot listen on {LOOPBACK}:{self._ports[-1]}: {cause}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.close()
        await self._runner.cleanup()

    async def _listen(self) -> None:
        *wishes, last = self._ports
        for port in wishes:
            with suppress(OSError):  # it is taken
                await web.TCPSite(self._runner, LOOPBACK, port).start()
                return
        await web.TCPSite(self._runner, LOOPBACK, last).start()

    async def _show(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._document, content_type="text/html")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with suppress(ConnectionError):  # the browser has gone
            async with aclosing(self._hub.stream()) as items:
                async for item in items:
                    await response.write(item)
        return response

    async def _press(self, request: web.Request) -> web.Response:
        if OWN not in request.headers:
            return web.Response(status=HTTPStatus.FORBIDDEN)
        found = self._act(request.match_info["name"])
        return web.Response(status=HTTPStatus.NO_CONTENT if found else HTTPStatus.NOT_FOUND)

    async def _add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(
            {
                "Cache-Control": "no-store",
                "Content-Security-Policy": self._policy,
                "Referrer-Policy": "no-referrer",
                "Server": "knell",
                "X-Content-Type-Options": "nosniff",
            }
        )


@web.middleware
async def _only_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a site that has its own name resolved to loopback (DNS rebinding): it sends that name."""
    if request.url.host not in {LOOPBACK, "localhost"}:
        return web.Response(status=HTTPStatus.FORBIDDEN)
    return await handler(request)
