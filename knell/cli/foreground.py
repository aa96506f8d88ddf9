"""The service as a process: start order, signals, stop order, exit code."""

import os
import signal
import sys
from importlib.metadata import version
from queue import SimpleQueue
from types import FrameType

import click

from knell.cli.address import serves
from knell.config.load import DEFAULT, candidates
from knell.errors import ConfigError, KnellError
from knell.http.server import HttpServer
from knell.log import log
from knell.manager import NotificationManager

DRAIN_SECONDS = 8.0
"""How long deliveries under way may take at the end: the process is gone within 10 seconds of SIGTERM."""

GAVE_UP = 70
"""EX_SOFTWARE of sysexits.h: the root supervisor gave up."""

_STOP, _RELOAD, _FATAL = "stop", "reload", "fatal"


class Foreground:
    """One run of the service.

    Args:
        config: the file; the default when None.
        listen: where to listen in the place of the configuration's address.

    Raises:
        ConfigError: the configuration is wrong; nothing was started.
    """

    def __init__(self, config: str | None, listen: tuple[str, int] | None) -> None:
        self._orders: SimpleQueue[str] = SimpleQueue()
        self._stopping = False
        self._config = config
        self._manager = NotificationManager(config, on_fatal=lambda _: self._orders.put(_FATAL))
        self._server = self._make_server(listen)

    def run(self) -> int:
        """Start, serve until told to stop, stop; return the exit code.

        Raises:
            KnellError: something did not start; everything is stopped again.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        self._start()
        self._announce()
        while (order := self._orders.get()) == _RELOAD:
            self._reload()
        self._stop()
        return GAVE_UP if order == _FATAL else 0

    def _make_server(self, listen: tuple[str, int] | None) -> HttpServer | None:
        wanted = listen is not None or serves(self._manager.config.http)
        return HttpServer(self._manager, listen) if wanted else None

    def _start(self) -> None:
        """Listen first: probes answer while the actors start, and a port in use is found before they do."""
        try:
            if self._server:
                self._server.start()
            self._manager.start()
        except BaseException:
            self._manager.system.host.io.close()
            raise
        if self._server:
            self._server.serve()

    def _stop(self) -> None:
        """Take nothing more, and end what is under way; probes answer until the end."""
        self._stopping = True
        if self._server:
            self._server.drain()
        self._manager.stop(DRAIN_SECONDS)

    def _reload(self) -> None:
        try:
            self._manager.reload_config()
        except ConfigError:
            return  # logged, and the old one stays
        except KnellError as error:
            log.error("config.rejected", error=str(error))
            return
        if self._server:
            self._server.check_config()

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            # Everything accepted is on disk: there is nothing left that has to be saved.
            os.write(
                sys.stderr.fileno(), b"stopped at once; what is not delivered is sent after the next start\n"
            )
            os._exit(1)
        self._stopping = True
        self._orders.put(_STOP)

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._orders.put(_RELOAD)

    def _announce(self) -> None:
        names = ", ".join(name for name, _ in self._manager.config.enabled_channels()) or "none"
        where = f"listens on {self._server.url}" if self._server else "runs without HTTP"
        file = candidates(self._config)[0]
        given = f"with {file}" if not file.is_absolute() or self._config else f"without a {DEFAULT}"
        click.echo(f"knell {version('knell')} {where} {given}; channels: {names}", err=True)
