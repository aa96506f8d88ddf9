"""`GET /v1/tree`: every actor as it is now."""

import msgspec
from aiohttp import web

from knell.actors.tree import survey
from knell.http.service import Service

PATH = "/v1/tree"


class Tree:
    """The handler of the supervision tree."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get(PATH, self.tree)]

    async def tree(self, request: web.Request) -> web.Response:
        """Show the tree, whatever state it is in: no actor is asked, so none can keep the answer back."""
        del request
        seen = survey(self._service.manager.system.root)
        return web.Response(body=msgspec.json.encode(seen), content_type="application/json", charset=None)
