"""The one HTTP client of all channels: it sends a request, and says how far the request got.

Whether a failed request may have been processed depends on the phase it reached, never on the exception:
a refused connection, and a reset after the server has read everything, raise the same class.
"""

import os
import re
import socket
import ssl
import zlib
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from math import inf
from typing import Annotated, Any, Required, TypedDict, Unpack
from urllib.parse import urlencode

import msgspec
from aiohttp import (
    BytesPayload,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    Payload,
    TCPConnector,
)
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from pydantic import AfterValidator, SecretStr
from yarl import URL

from knell.errors import ChannelError
from knell.messages import Reason, Rejected, Retry, Unknown

from ..config.schema import Security
from .answer import Answer, by_status
from .guard import AddressDenied, Guard, GuardedResolver

__all__ = ["Answer", "Body", "Http", "Request", "SecretUrl", "WebUrl", "by_status"]

CONNECT_SECONDS = 5.0
"""From the request to an open connection, TLS included; a service that is up takes well under one."""

MAX_BODY = 64 * 1024
"""Bytes of an answer that are read, before and after decompression: providers' answers have under 2 KiB."""

MAX_CONNECTIONS, MAX_CONNECTIONS_PER_HOST = 512, 256
"""Below the usual limit of 1,024 open files; above what channels use unless `concurrency` is raised far."""

_HEADERS = {"User-Agent": "knell", "Accept-Encoding": "identity"}
_COMPRESSED = {"gzip", "x-gzip", "deflate"}
_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])")


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
    """A client with one pool of kept connections, made on first use in the running event loop.

    It follows no redirect, keeps no cookie, reads no proxy setting or netrc, and sends no body twice.

    Attributes:
        security: what outgoing connections may do.
    """

    def __init__(self, security: Security) -> None:
        self.security = security
        self._guard = Guard(security)
        self._resolver: GuardedResolver | None = None
        self._session: ClientSession | None = None
        self._closed = False

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
            sent. `Unknown`: it was sent, and no answer came. `Rejected`: TLS failed, the address is refused,
            or the request cannot be built. No text in there holds more of the URL than scheme, host and port.

        Raises:
            ChannelError: the client is closed.
        """
        try:
            target = url if isinstance(url, URL) else URL(url)
        except ValueError:
            return Rejected(Reason.CONFIGURATION, "the address is not a URL")
        if problem := self._guard.url_problem(target):
            return Rejected(Reason.CONFIGURATION, problem)
        try:
            body, headers = _encoded(method, parts)
        except (TypeError, ValueError, OverflowError, RecursionError):
            return Rejected(Reason.INVALID_MESSAGE, "the content cannot be encoded for the request")
        try:
            response = await self._open().request(
                method,
                target,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=_limits(parts["timeout"]),
                ssl=parts.get("tls") or True,
            )
        except (ClientError, OSError, ValueError) as error:
            return _failure(error, str(target.origin()), written=body is not None and body.written)
        return await _answer(response)

    async def close(self) -> None:
        """Close all connections; the requests on them end as `Unknown`. Nothing can be sent afterwards."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
        if self._resolver is not None:
            await self._resolver.close()

    def _open(self) -> ClientSession:
        if self._closed:
            raise ChannelError("the HTTP client is closed")
        if self._session is None:
            self._resolver = GuardedResolver(self._guard)
            self._session = ClientSession(
                connector=TCPConnector(
                    resolver=self._resolver,
                    socket_factory=self._guard.socket,
                    limit=MAX_CONNECTIONS,
                    limit_per_host=MAX_CONNECTIONS_PER_HOST,
                ),
                headers=_HEADERS,
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


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


@lru_cache(maxsize=64)
def _limits(seconds: float) -> ClientTimeout:
    # aiohttp would round a deadline above `ceil_threshold` up to a full second.
    return ClientTimeout(total=seconds, connect=CONNECT_SECONDS, ceil_threshold=inf)


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


def _failure(error: Exception, where: str, *, written: bool) -> Retry | Rejected | Unknown:
    """Classify a request that got no answer; `error` is asked for its cause only."""
    late = isinstance(error, TimeoutError)
    cause = _cause(error)
    if isinstance(denied := _inner(error), AddressDenied):
        return Rejected(Reason.ADDRESS_DENIED, f"{where}: {denied}")
    if written:
        reason = Reason.TIMEOUT if late else Reason.CONNECTION_ERROR
        return Unknown(reason, f"{where}: sent, but no answer came ({cause})")
    if isinstance(_inner(error), ssl.SSLError):
        return Rejected(Reason.TLS, f"{where}: TLS failed, nothing was sent ({cause})")
    if isinstance(error, ValueError):
        return Rejected(Reason.CONFIGURATION, f"{where}: the request cannot be built ({cause})")
    reason = Reason.TIMEOUT if late else Reason.CONNECTION_ERROR
    return Retry(reason, None, f"{where}: no connection, nothing was sent ({cause})")


def _inner(error: Exception) -> Exception:
    return error.os_error if isinstance(error, ClientConnectorError) else error


def _cause(error: Exception) -> str:
    """Name the cause without asking the exception for its text: aiohttp's hold the whole URL."""
    inner = _inner(error)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return str(inner.verify_message)
    if isinstance(inner, ssl.SSLError):
        return str(inner.reason or "handshake failed").replace("_", " ").lower()
    if isinstance(inner, socket.gaierror):
        return f"the name cannot be resolved: {inner.strerror}"
    if isinstance(inner, OSError) and inner.errno:
        return os.strerror(inner.errno)
    return _WORD_END.sub(" ", type(inner).__name__).lower()
