"""Whether the process lives, whether it takes events, and what it counts."""

from collections.abc import Iterator
from http import HTTPStatus

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from knell.actors.cell import Cell
from knell.http.service import Phase, Service

NEEDED = ("outbox", "router")
"""Actors without which no event is taken. A channel is none: what it cannot deliver waits in the outbox."""


class Probes:
    """The handlers of probes and metrics."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/livez", self.live),
            web.get("/healthz", self.live),
            web.get("/readyz", self.ready),
            web.get("/metrics", make_aiohttp_handler(self._service.manager.registry)),
        ]

    async def live(self, request: web.Request) -> web.Response:
        """Say that the process serves; nothing else is asked for it."""
        del request
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether events are taken; with `?verbose`, how every actor is."""
        cells = list(self._service.manager.system.cells())
        phase = self._service.phase
        up = {cell.path for cell in cells if cell.up}
        lack = self._service.manager.system.room.lack
        ready = phase is Phase.SERVING and up.issuperset(NEEDED) and not lack
        lines = list(_lines(cells, phase)) if "verbose" in request.query else []
        why = phase if phase is not Phase.SERVING else lack or "an actor is down"
        lines.append("ok" if ready else f"not ready: {why}")
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(status=status, text="\n".join(lines) + "\n")


def _lines(cells: list[Cell], phase: Phase) -> Iterator[str]:
    yield f"[{'+' if phase is Phase.SERVING else '-'}]service {phase}"
    for cell in cells:
        if cell.up:
            yield f"[+]{cell.path} ok"
        else:
            yield f"[-]{cell.path} down{'' if cell.path in NEEDED else '; its deliveries wait'}"
