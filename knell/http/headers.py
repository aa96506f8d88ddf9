"""Headers of every response: nothing is sniffed, framed, cached or run, and no version is told."""

from aiohttp import web

HEADERS = {
    "Server": "knell",  # in the place of aiohttp's and Python's versions
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


async def add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add the headers a handler did not set itself."""
    response.headers["Server"] = HEADERS["Server"]
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
