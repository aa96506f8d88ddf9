"""Refusals as RFC 9457 says: `application/problem+json`, whatever goes wrong and wherever."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from knell.log import log

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RETRY_SECONDS = 2
"""`Retry-After` of what cannot be done now: the outbox tries a store that failed again after one second."""

_UNREAD = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
"""Refusals of a body that was not read to its end: nothing can follow it on the connection."""


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """A refusal on its way to the client.

    Args:
        status: the HTTP status.
        detail: what is wrong and what would be right, in a sentence.
        headers: further headers.
        more: further members, such as `errors`.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> web.Response:
        """Return it as a response. `about:blank`: the status says what kind of problem it is."""
        head = {"type": "about:blank", "title": self.status.phrase, "status": int(self.status)}
        body = msgspec.json.encode({**head, "detail": self.detail, **self.more})
        response = web.Response(
            status=self.status, body=body, headers=self.headers, content_type="application/problem+json"
        )
        if self.status in _UNREAD:
            response.force_close()
        return response


def unavailable(detail: str, **more: Any) -> Problem:
    """Return the refusal of what may work in a moment."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_SECONDS)}, **more)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes {allowed}", {"Allow": allowed}
        ).response()
    except web.HTTPNotFound:
        return Problem(HTTPStatus.NOT_FOUND, f"there is nothing at {request.path}").response()
    except web.HTTPException as error:
        return Problem(HTTPStatus(error.status), error.reason).response()
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not take the connection down
        log.error("http.failed", method=request.method, path=request.path, exc_info=error)
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the cause is in the log of knell").response()
