"""How an answer goes over a connection: whole, or broken as a fault has it."""

import asyncio
import socket
import struct
from http import HTTPStatus

from aiohttp import web

from knell.lab.faults import Drop, Endless, Fault, Half, Reset, Slow
from knell.lab.record import Answer

_LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing sends RST instead of FIN (socket(7))."""

_ENDLESS_PIECE = b"." * 65536


async def send(http: web.BaseRequest, answer: Answer, fault: Fault | None) -> web.StreamResponse:
    """Send an answer, as the fault lets it."""
    match fault:
        case Reset() | Drop():
            return cut(http, reset=isinstance(fault, Reset))
        case Half():
            return _half(http, answer)
        case Slow():
            return await _slow(http, answer, fault)
        case Endless():
            return await _endless(http, answer)
        case _:
            return web.Response(status=answer.status, body=answer.body, headers=dict(answer.headers))


def cut(http: web.BaseRequest, *, reset: bool) -> web.StreamResponse:
    """Close the connection without an answer; the response returned here reaches nobody."""
    if (transport := http.transport) is not None:
        hang_up(transport, reset=reset)
    return web.Response()


def hang_up(transport: asyncio.Transport, *, reset: bool) -> None:
    """Close a connection: with a reset at once, else after what was written has gone out."""
    if not reset or transport.is_closing():
        transport.close()
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    transport.abort()


def _half(http: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    body = answer.body or b"nothing"
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    if (transport := http.transport) is not None:
        transport.write(head.encode() + body[: len(body) // 2])
        transport.close()
    return web.Response()


async def _slow(http: web.BaseRequest, answer: Answer, fault: Slow) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
    body = answer.body or b" "
    response.content_length = len(body)
    await response.prepare(http)
    await response.write(body[:1])
    await fault.gate.passed()
    await response.write(body[1:])
    await response.write_eof()
    return response


async def _endless(http: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
    response.enable_chunked_encoding()
    await response.prepare(http)
    # Ends when the client hangs up: the write raises ConnectionError, which aiohttp takes for what it is.
    while True:
        await response.write(_ENDLESS_PIECE)
