"""`POST /-/reload`: read the configuration again, all or nothing."""

import asyncio
from http import HTTPStatus
from typing import Any

from aiohttp import web

from knell.config.problems import Problem as Finding
from knell.errors import ConfigError
from knell.http.problems import Problem, unavailable
from knell.http.service import Phase, Service


class Reload:
    """The handler of reloads."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post("/-/reload", self.reload)]

    async def reload(self, request: web.Request) -> web.Response:
        """Take over what the file says now, or say everything that is wrong with it."""
        del request
        if self._service.phase is not Phase.SERVING:
            raise unavailable(f"the service is {self._service.phase}")
        try:
            # Waits for actors to be replaced, which need this loop to end their work.
            await asyncio.to_thread(self._service.manager.reload_config)
        except ConfigError as error:
            found = [_error(item) for item in error.problems if isinstance(item, Finding)]
            detail = "the configuration is wrong; the old one stays in force"
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=found or [{"message": str(error)}]
            ) from None
        return web.json_response({"reloaded": True})


def _error(found: Finding) -> dict[str, Any]:
    hint = {"hint": found.hint} if found.hint else {}
    return {"field": found.where, "message": found.message, **hint}
