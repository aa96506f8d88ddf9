"""The answers with which Discord, or what stands before it, slows a client down."""

import math
from http import HTTPStatus

from knell.lab.faults import Respond


def too_many(
    retry_after: float, *, header: float | None = None, scope: str = "user", everywhere: bool = False
) -> Respond:
    """Return Discord's 429 (discord-api-docs, "Rate limits").

    Args:
        retry_after: seconds, in the JSON.
        header: seconds in the header, where they are to disagree with the JSON.
        scope: user, or shared for a limit that others used up.
        everywhere: the global limit, for all webhooks.
    """
    headers = {
        "Content-Type": "application/json",
        "Retry-After": str(math.ceil(retry_after) if header is None else header),
        "X-RateLimit-Scope": "global" if everywhere else scope,
    }
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    said = {"message": "You are being rate limited.", "retry_after": retry_after, "global": everywhere}
    return Respond(HTTPStatus.TOO_MANY_REQUESTS, said, headers)


def cloudflare() -> Respond:
    """Return the 429 that comes from before Discord: a page, without any of its headers."""
    page = "<html><title>Too Many Requests</title><h1>Error 1015</h1></html>"
    return Respond(HTTPStatus.TOO_MANY_REQUESTS, page, {"Content-Type": "text/html"})
