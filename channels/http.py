"""The one HTTP client of all channels: it sends a request, and says how far the request got.

Whether a failed request may have been processed depends on the phase it reached, never on the exception:
a refused connection, and a reset after the server has read everything, raise the same class.
"""

import asyncio
import ssl
import zlib
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from math import inf
from typing import Annotated, Any, Required, Self, TypedDict, Unpack
from urllib.parse import urlencode

import msgspec
from aiohttp import (
    BytesPayload,
    ClientError,
    ClientResponse,
    ClientTimeout,
    Payload,
)
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from pydantic import AfterValidator, SecretStr
from yarl import URL

from knell.messages import Reason, Rejected, Retry, Unknown

from ..config.schema import Security
from .answer import Answer, by_status
from .failures import failure_of
from .pool import Pool
from .tls import verified

__all__ = ["Answer", "Body", "Http", "Request", "SecretUrl", "WebUrl", "by_status"]

CONNECT_SECONDS = 5.0
"""From the request to an open connection, TLS included; a service that is up takes well under one."""

MAX_BODY = 64 * 1024
"""Bytes of an answer that are read, before and after decompression: providers' answers have under 2 KiB."""

CONNECTIONS = 128
"""Connections of a client that no channel's `concurrency` limits; below the usual 1,024 open files."""

_LEAST_SECONDS = 0.001
"""Left to a request whose deadline passed while it waited for its turn: to aiohttp zero means no deadline."""

_COMPRESSED = {"gzip", "x-gzip", "deflate"}


def _is_web_url(value: str | SecretStr) -> str | SecretStr:
    text = value if isinstance(value, str) else value.get_secret_value()
    with suppress(ValueError):
        url = URL(text)
        if url.scheme in {"http", "https"} and url.raw_host and url.raw_user is None:
            return value
    raise ValueError("expected an http or https URL without user name and password")


WebUrl = Annotated[str, AfterValidator(_is_web_url)]
"""The type of a key that holds a web address anyone may see."""

SecretUrl = Annotated[SecretStr, AfterValidator(_is_web_url)]
"""The type of a key that holds a web address whose path or query lets its holder in."""


class Request(TypedDict, total=False):
    """The parts of a request beyond method and URL: at most one of `body`, `json` and `form`."""

    body: bytes | None
    json: Any
    form: Mapping[str, str] | None
    headers: Mapping[str, str] | None
    auth: tuple[str, str] | None
    timeout: Required[float]
    tls: ssl.SSLContext | None


class Http:
    """A client; all channels share one pool of kept connections, made on first use in the running event loop.

    It follows no redirect, keeps no cookie, reads no proxy setting or netrc, and sends no body twice.

    Attributes:
        security: what outgoing connections may do.
        pool: the connections, shared with all clients that `limited` returns.
    """

    def __init__(
        self, security: Security, *, connections: int = CONNECTIONS, pool: Pool | None = None
    ) -> None:
        self.security = security
        self.pool = pool or Pool(security)
        self._limit = connections
        self._slots = asyncio.Semaphore(connections)

    def limited(self, connections: int) -> Self:
        """Return a client on the same pool with a number of connections of its own.

        A channel whose provider hangs fills its own share only. There is no limit on all channels together:
        it would be the place where they wait for each other.
        """
        return type(self)(self.security, connections=connections, pool=self.pool)

    async def post(self, url: str | URL, **parts: Unpack[Request]) -> Answer | Retry | Rejected | Unknown:
        """Send a POST; see `request`."""
        return await self.request("POST", url, **parts)

    async def request(
        self, method: str, url: str | URL, **parts: Unpack[Request]
    ) -> Answer | Retry | Rejected | Unknown:
        """Send a request, once, and return its answer or how it failed.

        Args:
            method: any HTTP method; only GET and HEAD go without a body.
            url: an https URL, http only where `security.require_tls` is off. Its path is taken for a secret.
            **parts: `body` (bytes as they are), `json` or `form` (encoded here), `headers`, `auth` (user and
                password for Basic), `timeout` (seconds for everything together), `tls` (default: verify by
                the system's authorities).

        Returns:
            The answer, as soon as a status was seen, whatever became of the body. Or `Retry`: nothing was
            sent. `Unknown`: it was sent, and no answer came. `Rejected`: TLS failed, there is no such host,
            the address is refused, or the request cannot be built. No text in there holds more of the URL
            than scheme, host and port.

        Raises:
            ChannelError: the client is closed.
        """
        try:
            target = url if isinstance(url, URL) else URL(url)
        except ValueError:
            return Rejected(Reason.CONFIGURATION, "the address is not a URL")
        if problem := self.pool.guard.url_problem(target):
            return Rejected(Reason.CONFIGURATION, problem)
        try:
            body, headers = _encoded(method, parts)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return Rejected(Reason.INVALID_MESSAGE, "the content cannot be encoded for the request")
        tls = parts.get("tls") or verified()
        return await self._in_turn(method, target, body, headers, parts["timeout"], tls)

    async def close(self) -> None:
        """Close all connections; the requests on them end as `Unknown`. Nothing can be sent afterwards."""
        await self.pool.close()

    async def _in_turn(
        self,
        method: str,
        target: URL,
        body: "Body | None",
        headers: CIMultiDict[str],
        seconds: float,
        tls: ssl.SSLContext,
    ) -> Answer | Retry | Rejected | Unknown:
        """Send as soon as there is a connection for it; the deadline counts the wait."""
        where, began = str(target.origin()), asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            text = f"{where}: nothing was sent, all {self._limit} connections of the channel were busy"
            return Retry(Reason.TIMEOUT, None, text)
        try:
            limits = _limits(seconds - (asyncio.get_running_loop().time() - began))
            response = await self.pool.session().request(
                method, target, data=body, headers=headers, allow_redirects=False, timeout=limits, ssl=tls
            )
            return await _answer(response)
        except (ClientError, OSError, ValueError) as error:
            return failure_of(error, where, written=body is not None and body.written)
        finally:
            self._slots.release()


class Body(BytesPayload):
    """A request body that knows whether it has begun to go out.

    aiohttp's tracing signals say the same, a little too early (before the write, which may find the kept
    connection closed) and for 11 us more per request.
    """

    written = False

    def __init__(self, value: bytes) -> None:
        # Not the parent's own, which warns of more than 1 MiB: it is in memory in any case.
        Payload.__init__(self, value, content_type="application/octet-stream")
        self._size = len(value)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, and with it the head of the request."""
        transport = writer.transport
        self.written = transport is not None and not transport.is_closing()
        await super().write_with_length(writer, content_length)

    @property
    def consumed(self) -> bool:
        """True once written: aiohttp would otherwise send a PUT again by itself after a reset."""
        return self.written


def _limits(seconds: float) -> ClientTimeout:
    # aiohttp would round a deadline above `ceil_threshold` up to a full second.
    return ClientTimeout(total=max(seconds, _LEAST_SECONDS), connect=CONNECT_SECONDS, ceil_threshold=inf)


def _encoded(method: str, parts: Request) -> tuple[Body | None, CIMultiDict[str]]:
    headers = CIMultiDict(parts.get("headers") or {})
    body = parts.get("body")
    if (value := parts.get("json")) is not None:
        body = msgspec.json.encode(value)
        headers.setdefault("Content-Type", "application/json")
    elif (form := parts.get("form")) is not None:
        body = urlencode(form).encode("ascii")
        headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    if auth := parts.get("auth"):
        headers["Authorization"] = "Basic " + b64encode(":".join(auth).encode()).decode("ascii")
    if body is None and method in {"GET", "HEAD"}:
        return None, headers
    return Body(body or b""), headers


async def _answer(response: ClientResponse) -> Answer:
    body = bytearray()
    try:
        # The status says it all: a reset, a timeout or garbage in the body changes nothing.
        with suppress(ClientError, OSError):
            while len(body) <= MAX_BODY and not response.content.at_eof():
                body += await response.content.read(MAX_BODY + 1 - len(body))
    finally:
        # Closes a connection on which an answer is still running; a finished one is back in the pool.
        response.close()
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return Answer(response.status, response.headers, _plain(bytes(body[:MAX_BODY]), encoding))


def _plain(body: bytes, encoding: str) -> bytes:
    """Unpack what a proxy compressed although we asked it not to, but never more than the cap."""
    if encoding not in _COMPRESSED:
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MAX_BODY)
    except zlib.error:
        return b""
