"""The server: its routes on one page, and its life on knell's I/O thread."""

import asyncio
import os
import socket
import threading
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web

from knell.errors import KnellError
from knell.http.auth import check_address, guard, is_loopback
from knell.http.deliveries import Deliveries
from knell.http.events import Events
from knell.http.headers import add_headers
from knell.http.probes import Probes
from knell.http.problems import Problem, problems
from knell.http.reload import Reload
from knell.http.service import Phase, Service
from knell.http.tree import Tree
from knell.http.twilio import Twilio
from knell.log import log
from knell.manager import NotificationManager

IDLE_SECONDS = 75.0
"""How long a connection may be silent before, between and in the heads of requests; nginx's default."""

LINGER_SECONDS = 1.0
"""How long the rest of a refused body is read and thrown away, so that the client gets to read why."""

CLOSE_SECONDS = 2.0
"""How long requests under way may take at the end."""

START_SECONDS = 30.0
"""How long the server's thread may take to listen."""


class HttpServer:
    """The HTTP server of one system.

    It listens from `start` on, takes events from `serve` on, takes none from `drain` on, and ends with `stop`
    or with the system's I/O thread.

    Args:
        manager: the system, started or not.
        listen: host and port in the place of the configuration's; port 0 takes a free one.

    Raises:
        ConfigError: it would let other machines in without a token.
    """

    def __init__(self, manager: NotificationManager, listen: tuple[str, int] | None = None) -> None:
        http = manager.config.http
        self._host, self._port = listen or http.address
        check_address(self._host, http.tokens)
        self._io = manager.system.host.io
        self._service = Service(manager, is_loopback(self._host))
        self._configured = http.listen
        self._stopping = asyncio.Event()
        self._ended = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Listen. Probes answer from now on.

        Raises:
            KnellError: the address cannot be listened on.
        """
        started: Future[int] = Future()
        self._io.submit(self._run, (started,), self._finished)
        self._port = started.result(START_SECONDS)

    def serve(self) -> None:
        """Take events: the actors run."""
        self._service.phase = Phase.SERVING

    def check_config(self) -> None:
        """Log what a new configuration says about the server that takes no effect, or shuts everybody out."""
        http = self._service.manager.config.http
        if self._configured != http.listen:
            log.warning("config.advice", problem="http.listen: takes effect at the next start")
        if not (http.tokens or self._service.loopback):
            log.error("config.advice", problem="http.tokens: without a token everything is refused here")

    def drain(self) -> None:
        """Take no more events, and say so; status and probes go on."""
        self._service.phase = Phase.DRAINING

    def stop(self) -> None:
        """Close every connection; a second call does nothing."""
        self.drain()
        if self._io.alive and not self._ended.is_set():
            self._io.loop.call_soon_threadsafe(self._stopping.set)
            self._ended.wait(CLOSE_SECONDS * 2)

    def _finished(self, _result: Any, _error: BaseException | None, _elapsed: float) -> None:
        self._ended.set()

    async def _run(self, started: "Future[int]") -> None:
        """Serve until told to stop, or until the loop ends: then this task is cancelled and cleans up too."""
        runner = web.AppRunner(application(self._service), access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        try:
            listener = await self._listen(runner)
        except OSError as error:
            await runner.cleanup()
            address = f"{self._host}:{self._port}"
            started.set_exception(KnellError(f"cannot listen on {address}: {_cause(error)}"))
            return
        started.set_result(listener.sockets[0].getsockname()[1])
        try:
            await self._stopping.wait()
        finally:
            listener.close()
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        connect = partial(_Connection, cast("web.Server", runner.server), loop=loop, **_SETTINGS)
        return await loop.create_server(connect, self._host, self._port)


_SETTINGS: dict[str, Any] = {
    "access_log": None,
    "keepalive_timeout": IDLE_SECONDS,
    "lingering_time": LINGER_SECONDS,
    "auto_decompress": False,  # what is packed is refused, and never unpacked on the way to the refusal
}


class _Connection(web.RequestHandler):
    """One client's connection; it answers what is no HTTP like everything else."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Refuse without a word of the server's own version, and without a line in anybody's log."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already") from exc
        # What follows the first line is the request itself, which may hold a token.
        why = (message or "").partition("\n")[0].rstrip(":") or "this is no HTTP request"
        response = Problem(HTTPStatus(status), why).response()
        response.headers["Server"] = "knell"
        response.force_close()
        return response


def _cause(error: OSError) -> str:
    """Return the system's own words: asyncio's repeat the address."""
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


def application(service: Service) -> web.Application:
    """Return the routes of a service, with what every request goes through."""
    app = web.Application(middlewares=[problems, guard(service)])
    app.on_response_prepare.append(add_headers)
    for part in (Probes, Events, Deliveries, Tree, Reload, Twilio):
        app.add_routes(part(service).routes())
    return app
