import asyncio
import gzip
import logging
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import ClientConnectionResetError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_writer import StreamWriter
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BaseModel, ValidationError
from yarl import URL

from knell.channels import http as http_module
from knell.channels import resolver as resolver_module
from knell.channels.http import MAX_BODY, Answer, Body, Http, SecretUrl, WebUrl, by_status
from knell.channels.tls import TlsFiles, context_of, verified
from knell.config.schema import Security
from knell.errors import ChannelError
from knell.messages import Reason, Rejected, Retry, Unknown
from tests.channels.opening import LOOPBACK

PATH = "/services/T0/CANARY-token?key=CANARY-query"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ENOUGH = 5.0
"""Seconds in which everything here is long done."""

SOON = 0.25
"""Seconds after which a test's deadline may strike."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    return head + await reader.readexactly(length)


def cut_off(writer: asyncio.StreamWriter) -> None:
    """End the connection with a reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def server(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Run a raw server; its handlers end when the test does."""
    tasks: set[asyncio.Task[None]] = set()

    async def treat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            await handler(reader, writer)
        writer.close()

    running = await asyncio.start_server(treat, "127.0.0.1", 0, ssl=tls)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def client(security: Security = LOOPBACK) -> AsyncGenerator[Http]:
    """Run a client."""
    http = Http(security)
    try:
        yield http
    finally:
        await http.close()


Result = Answer | Retry | Rejected | Unknown


def post_to(handler: Handler, scheme: str = "http", **parts: Any) -> Result:
    """Send one POST to a raw server, and look for secrets in what comes back."""

    async def run() -> Result:
        async with server(handler) as port, client() as http:
            request: Any = {"body": b"{}", "timeout": ENOUGH} | parts
            return await http.post(f"{scheme}://127.0.0.1:{port}{PATH}", **request)

    result = asyncio.run(run())
    assert "CANARY" not in repr(result)
    return result


def test_answer_holds_status_headers_and_body(serve: Any) -> None:
    """An answer is returned whole, its headers found in any case."""

    async def run() -> Result:
        async with serve((201, {"a": 1}, {"X-Thing": "7"})) as (base, _), client() as http:
            return await http.request("GET", base, timeout=ENOUGH)

    answer = asyncio.run(run())
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers["x-thing"], answer.json()) == (201, "7", {"a": 1})
    assert answer.ok


@pytest.mark.parametrize(
    ("parts", "body", "kind"),
    [
        ({"json": {"a": "ü"}}, '{"a":"ü"}'.encode(), "application/json"),
        ({"form": {"To": "+81 3", "b": "ü"}}, b"To=%2B81+3&b=%C3%BC", "application/x-www-form-urlencoded"),
        ({"body": b"\x00\xff", "headers": {"content-type": "x/y"}}, b"\x00\xff", "x/y"),
        ({"json": [], "headers": {"Content-Type": "a/b"}}, b"[]", "a/b"),
        ({}, b"", "application/octet-stream"),
    ],
)
def test_body_is_encoded_as_named(serve: Any, parts: dict[str, Any], body: bytes, kind: str) -> None:
    """JSON, a form and bytes reach the server with the content type that belongs to them."""

    async def run() -> list[dict[str, Any]]:
        async with serve((200, "ok")) as (base, requests), client() as http:
            assert isinstance(await http.post(URL(base), timeout=ENOUGH, **parts), Answer)
            return list(requests)

    (request,) = asyncio.run(run())
    assert (request["method"], request["body"], request["headers"]["Content-Type"]) == ("POST", body, kind)
    assert request["headers"]["Content-Length"] == str(len(body))
    assert request["headers"]["Accept-Encoding"] == "identity"


def test_basic_authentication(serve: Any) -> None:
    """`auth` becomes the header of RFC 7617, in UTF-8."""

    async def run() -> str:
        async with serve((200, "ok")) as (base, requests), client() as http:
            await http.post(base, auth=("Aladdin", "open sesame"), timeout=ENOUGH)
            return str(requests[0]["headers"]["Authorization"])

    assert asyncio.run(run()) == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_connections_are_kept() -> None:
    """A second request to the same place goes over the first one's connection."""
    connections: list[int] = []

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        for _ in range(2):
            await read_request(reader)
            writer.write(OK)

    async def run() -> list[Result]:
        async with server(twice) as port, client() as http:
            return [
                await http.post(f"http://127.0.0.1:{port}/", body=b"{}", timeout=ENOUGH) for _ in range(2)
            ]

    assert [answer.body for answer in asyncio.run(run()) if isinstance(answer, Answer)] == [b"ok", b"ok"]
    assert len(connections) == 1


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """Resolve every name to 127.0.0.1; those that begin with "hung", which are counted, only at the end."""
    release, hung = threading.Event(), threading.Semaphore(0)
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *more: Any) -> Any:
        if host.startswith("hung"):
            hung.release()
            release.wait(ENOUGH)
        return real("127.0.0.1", *more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield hung
    release.set()


@pytest.mark.usefixtures("names")
def test_no_cookie_is_kept(serve: Any) -> None:
    """A cookie that a service sets does not come back to it."""

    async def run() -> list[dict[str, Any]]:
        async with serve((200, "", {"Set-Cookie": "a=b"}), (200, "")) as (base, requests), client() as http:
            for _ in range(2):
                # Only a name can have cookies: aiohttp keeps none for addresses.
                await http.post(base.replace("127.0.0.1", "service.example.com"), timeout=ENOUGH)
            return list(requests)

    requests = asyncio.run(run())
    assert len(requests) == 2
    assert all("Cookie" not in request["headers"] for request in requests)


def test_environment_is_not_trusted(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used: it would see every secret."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def run() -> Result:
        async with serve((200, "ok")) as (base, _), client() as http:
            return await http.post(base, timeout=ENOUGH)

    assert isinstance(asyncio.run(run()), Answer)


def test_refused_connection_is_not_sent() -> None:
    """Nobody listens: nothing was sent, so a retry cannot duplicate."""

    async def run() -> Result:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        async with client() as http:
            return await http.post(f"http://127.0.0.1:{port}{PATH}", body=b"{}", timeout=ENOUGH)

    result = asyncio.run(run())
    assert isinstance(result, Retry)
    assert result.reason is Reason.CONNECTION_ERROR
    assert "CANARY" not in repr(result)
    assert "nothing was sent (Connection refused)" in result.detail


@pytest.mark.parametrize(
    ("connect", "cause"), [(SOON, "(the connection took too long)"), (ENOUGH, "(the deadline passed)")]
)
def test_connect_that_hangs_is_not_sent(monkeypatch: pytest.MonkeyPatch, connect: float, cause: str) -> None:
    """A full backlog answers no SYN: one of the deadlines strikes before anything is sent."""
    monkeypatch.setattr(http_module, "CONNECT_SECONDS", connect)
    total = ENOUGH + 1 if connect == SOON else SOON + 0.01

    async def run() -> Result:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            try:
                async with client() as http:
                    return await http.post(f"http://127.0.0.1:{port}{PATH}", body=b"{}", timeout=total)
            finally:
                for one in waiting:
                    one.close()

    result = asyncio.run(run())
    assert isinstance(result, Retry)
    assert result.reason is Reason.TIMEOUT
    assert cause in result.detail


def test_nothing_logs_the_address(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever goes wrong, no library below writes the path of a webhook anywhere."""
    caplog.set_level(logging.DEBUG)

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        cut_off(writer)

    async def run(handler: Handler) -> None:
        asyncio.get_running_loop().set_debug(True)
        async with server(handler) as port, client() as http:
            for url in (f"http://127.0.0.1:{port}{PATH}", f"https://127.0.0.1:{port}{PATH}"):
                await http.post(url, body=b"CANARY", timeout=SOON, headers={"X-A": "CANARY"})

    for handler in (swallow, lose, trickle(b"HTTP/1.1 200 OK\r\nX: ")):
        asyncio.run(run(handler))
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_connection_lost_after_the_request_is_unknown(method: str, *, reset: bool) -> None:
    """The server had it all and may have processed it; nothing is sent a second time by the client itself."""
    seen: list[bytes] = []

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        if reset:
            cut_off(writer)

    async def run() -> Result:
        async with server(lose) as port, client() as http:
            return await http.request(method, f"http://127.0.0.1:{port}{PATH}", body=b"{}", timeout=ENOUGH)

    result = asyncio.run(run())
    assert isinstance(result, Unknown)
    assert result.reason is Reason.CONNECTION_ERROR
    assert "CANARY" not in repr(result)
    assert len(seen) == 1


def test_kept_connection_found_closed_is_not_sent() -> None:
    """The body does not count as written when the connection was closed before the write."""

    async def run() -> Body:
        loop = asyncio.get_running_loop()
        async with server(lambda reader, _: reader.read()) as port:  # type: ignore[arg-type, return-value]  # reads to the end
            transport, protocol = await loop.create_connection(
                lambda: ResponseHandler(loop), "127.0.0.1", port
            )
            transport.close()
            body = Body(b"{}")
            with pytest.raises(ClientConnectionResetError):
                await body.write_with_length(StreamWriter(protocol, loop), None)
            return body

    body = asyncio.run(run())
    assert not body.written
    assert not body.consumed


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read for ever and say nothing."""
    while await reader.read(65536):
        pass
    writer.close()


def test_blackhole_is_unknown() -> None:
    """The request was taken and no answer came in time."""
    result = post_to(swallow, timeout=SOON)
    assert isinstance(result, Unknown)
    assert result.reason is Reason.TIMEOUT


def trickle(data: bytes) -> Handler:
    """Return a server that sends a byte now and then, for ever."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(data)
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    return handle


def test_slow_header_meets_the_total_deadline() -> None:
    """The deadline is for everything together: a byte every 10 ms does not push it back."""
    result = post_to(trickle(b"HTTP/1.1 200 OK\r\nX-Slow: "), timeout=SOON)
    assert isinstance(result, Unknown)
    assert result.reason is Reason.TIMEOUT


def test_slow_body_does_not_hide_the_status() -> None:
    """Once a status is seen the request is answered, whatever becomes of the body."""
    result = post_to(trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"), timeout=SOON)
    assert isinstance(result, Answer)
    assert result.status == 200
    assert set(result.body) <= {ord("x")}


def test_reset_in_the_body_does_not_hide_the_status() -> None:
    """A connection lost in the body leaves what was read of it."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()

    result = post_to(half)
    assert isinstance(result, Answer)
    assert (result.status, result.body) == (201, b"half")


def test_endless_body_is_cut_off() -> None:
    """64 KiB are read, then the connection is closed: the server sees it end."""
    ended = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        ended.set()

    async def run() -> Result:
        async with server(endless) as port, client() as http:
            answer = await http.post(f"http://127.0.0.1:{port}/", body=b"{}", timeout=ENOUGH)
            await ended.wait()
            return answer

    answer = asyncio.run(run())
    assert isinstance(answer, Answer)
    assert answer.body == b"x" * MAX_BODY


def compressed(data: bytes, encoding: bytes = b"gzip") -> Handler:
    """Return a server that answers with a compressed body."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        length = str(len(data)).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: " + length
        writer.write(head + b"\r\n\r\n" + data)

    return handle


@pytest.mark.parametrize(
    ("data", "encoding", "body"),
    [
        (gzip.compress(b'{"a":1}'), b"gzip", b'{"a":1}'),
        (gzip.compress(b"\0" * 50_000_000), b"gzip", b"\0" * MAX_BODY),
        (b"no gzip at all", b"gzip", b""),
        (b"left as it is", b"br", b"left as it is"),
    ],
    ids=["plain", "bomb", "broken", "unknown"],
)
def test_compressed_body_is_unpacked_up_to_the_cap(data: bytes, encoding: bytes, body: bytes) -> None:
    """A proxy may compress without being asked; 50 MB of zeros become 64 KiB."""
    answer = post_to(compressed(data, encoding))
    assert isinstance(answer, Answer)
    assert answer.body == body


def test_redirect_is_not_followed(serve: Any) -> None:
    """A redirect is an answer: the request and its credentials go nowhere else."""

    async def run() -> tuple[Result, int]:
        async with (
            serve((307, "", {"Location": "/elsewhere"}), (200, "ok")) as (base, requests),
            client() as http,
        ):
            return await http.post(base, body=b"{}", timeout=ENOUGH), len(requests)

    answer, requests = asyncio.run(run())
    assert isinstance(answer, Answer)
    assert (answer.status, requests) == (307, 1)
    assert by_status(answer, service="it") == Rejected(
        Reason.CONFIGURATION, "it answered 307: redirects are never followed, give the final address"
    )


@pytest.mark.parametrize(
    "reply", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2OO\r\n\r\n", b"HTTP/1.1 200 OK\r\nA" * 9999]
)
def test_garbage_after_the_request_is_unknown(reply: bytes) -> None:
    """What is no HTTP answer says nothing about the request."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply)
        await writer.drain()

    assert isinstance(post_to(babble), Unknown)


def test_cancellation_passes_through() -> None:
    """A cancelled request ends as CancelledError, and its connection is closed."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await reader.read()
        gone.set()

    async def run() -> None:
        async with server(wait) as port, client() as http:
            task = asyncio.create_task(http.post(f"http://127.0.0.1:{port}/", body=b"{}", timeout=ENOUGH))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await gone.wait()

    asyncio.run(run())


def test_closing_ends_what_is_on_the_wire() -> None:
    """A request that was sent when the client is closed is unknown; afterwards nothing can be sent."""
    arrived = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.set()
        await reader.read()

    async def run() -> Result:
        async with server(wait) as port:
            http = Http(LOOPBACK)
            task = asyncio.create_task(http.post(f"http://127.0.0.1:{port}/", body=b"{}", timeout=ENOUGH))
            await arrived.wait()
            await http.close()
            with pytest.raises(ChannelError, match="closed"):
                await http.post(f"http://127.0.0.1:{port}/", timeout=ENOUGH)
            return await task

    assert isinstance(asyncio.run(run()), Unknown)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no url",
        "https://",
        "http://[::1",
        "ftp://h/CANARY",
        "//h/CANARY",
        "https://CANARY:CANARY@h/",
        "http://u@h",
    ],
)
def test_bad_address_is_a_matter_of_the_configuration(url: str) -> None:
    """What is no address of ours is refused before anything else, and not repeated in the outcome."""

    async def run() -> Result:
        async with client() as http:
            return await http.post(url, timeout=ENOUGH)

    result = asyncio.run(run())
    assert isinstance(result, Rejected)
    assert result.reason is Reason.CONFIGURATION
    assert "CANARY" not in repr(result)


def test_plain_http_needs_leave() -> None:
    """With `require_tls` plain http is refused, and nothing falls back on it."""

    async def run() -> Result:
        async with client(Security()) as http:
            return await http.post("http://hooks.example.com/CANARY", timeout=ENOUGH)

    problem = "only https is allowed (security.require_tls)"
    assert asyncio.run(run()) == Rejected(Reason.CONFIGURATION, problem)


@pytest.mark.parametrize("content", [{"a": object()}, "half \ud800", {(1, 2): 3}])
def test_content_that_is_no_json_is_the_messages_fault(content: object) -> None:
    """An encoding error is an outcome, not a crash of the channel."""
    result = post_to(swallow, body=None, json=content)
    assert isinstance(result, Rejected)
    assert result.reason is Reason.INVALID_MESSAGE


def test_header_with_a_line_break_is_refused() -> None:
    """The library raises on CR and LF in a header: an outcome, and no second header."""
    result = post_to(swallow, headers={"X-A": "CANARY\r\nX-B: 1"})
    assert isinstance(result, Rejected)
    assert result.reason is Reason.CONFIGURATION


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a private certificate authority."""
    return trustme.CA()


def tls_server(authority: trustme.CA, name: str, **more: Any) -> ssl.SSLContext:
    """Return the context of a server with a certificate for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **more).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # takes pyOpenSSL's too
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return the context of a client that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]  # see above
    return context


def post_by_tls(context: ssl.SSLContext, tls: ssl.SSLContext | None) -> tuple[Result, int]:
    """Send a POST over TLS, and count what arrives after the handshake."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await read_request(reader))
        writer.write(OK)
        await writer.drain()

    async def run() -> Result:
        async with server(answer, context) as port, client() as http:
            return await http.post(f"https://127.0.0.1:{port}{PATH}", body=b"{}", timeout=ENOUGH, tls=tls)

    result = asyncio.run(run())
    assert "CANARY" not in repr(result)
    return result, len(requests)


def test_tls_with_a_private_authority(authority: trustme.CA) -> None:
    """A context that trusts the authority reaches a server it vouches for."""
    result, requests = post_by_tls(tls_server(authority, "127.0.0.1"), trusting(authority))
    assert isinstance(result, Answer)
    assert requests == 1


@pytest.mark.parametrize(
    ("name", "more", "trusts", "cause"),
    [
        (
            "127.0.0.1",
            {"not_after": datetime.now(UTC) - timedelta(days=1)},
            True,
            "expired): the service must",
        ),
        ("other.example.com", {}, True, "not valid for '127.0.0.1'.): use the name"),
        ("127.0.0.1", {}, False, "local issuer certificate): its authority is not trusted here"),
    ],
    ids=["expired", "wrong host", "unknown authority"],
)
def test_tls_failure_sends_nothing(
    authority: trustme.CA, name: str, more: dict[str, Any], cause: str, *, trusts: bool
) -> None:
    """A certificate that does not hold is a matter of the channel, and no byte of the request goes out."""
    if "not_after" in more:
        more = more | {"not_before": more["not_after"] - timedelta(days=9)}
    context = tls_server(authority, name, **more)
    result, requests = post_by_tls(context, trusting(authority) if trusts else None)
    assert isinstance(result, Rejected)
    assert result.reason is Reason.TLS
    assert cause in result.detail
    assert requests == 0


def test_self_signed_certificate_sends_nothing(tmp_path: Path) -> None:
    """A certificate that vouches for itself is believed by nobody."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = tmp_path / "server.pem"
    path.write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    result, requests = post_by_tls(context, None)
    assert isinstance(result, Rejected)
    assert result.reason is Reason.TLS
    assert "self-signed certificate" in result.detail
    assert requests == 0


def old_tls(context: ssl.SSLContext, newest: ssl.TLSVersion) -> ssl.SSLContext:
    """Let a context speak what RFC 8996 forbids; OpenSSL has it at its lowest level of security only."""
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
    return context


@pytest.mark.parametrize("files", [False, True], ids=["system's authorities", "ca_file"])
def test_tls_1_1_is_refused(authority: trustme.CA, tmp_path: Path, *, files: bool) -> None:
    """A server that speaks nothing newer gets not a byte of the request, though another client reaches it.

    Also where the system's OpenSSL would allow it.
    """
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    made = context_of(TlsFiles(tmp_path / "ca.pem")) if files else verified()
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    server_side = old_tls(tls_server(authority, "127.0.0.1"), ssl.TLSVersion.TLSv1_1)
    try:
        result, requests = post_by_tls(server_side, made)
        reached, seen = post_by_tls(server_side, old_tls(trusting(authority), ssl.TLSVersion.TLSv1_1))
    finally:
        verified.cache_clear()
    if not isinstance(reached, Answer):
        pytest.skip("this OpenSSL cannot speak TLS 1.1 at all")
    assert seen == 1
    assert requests == 0
    # asyncio's servers reset the connection where others say that they know no such version.
    assert isinstance(result, Rejected | Retry)
    assert "nothing was sent" in result.detail


def test_plain_server_behind_https_is_a_tls_failure() -> None:
    """Whoever answers a handshake with something else is not talked to in plain."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    result = post_to(plain, scheme="https")
    assert isinstance(result, Rejected)
    assert result.reason is Reason.TLS


def test_reset_in_the_handshake_is_not_sent() -> None:
    """A connection lost before the request could be written is no duplicate risk."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        cut_off(writer)

    result = post_to(reset, scheme="https")
    assert isinstance(result, Retry)
    assert result.reason is Reason.CONNECTION_ERROR


HOST = "https://hooks.example.com"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (
            socket.EAI_AGAIN,
            Retry(
                Reason.CONNECTION_ERROR,
                None,
                f"{HOST}: no connection, nothing was sent (the name cannot be resolved: as the system says)",
            ),
        ),
        *(
            (
                code,
                Rejected(
                    Reason.CONFIGURATION,
                    f"{HOST}: there is no such host (as the system says): "
                    "check the name, and this machine's DNS",
                ),
            )
            for code in (socket.EAI_NONAME, socket.EAI_NODATA)
        ),
    ],
    ids=["name servers do not answer", "no such name", "no address"],
)
def test_name_that_cannot_be_resolved(
    monkeypatch: pytest.MonkeyPatch, code: int, expected: Retry | Rejected
) -> None:
    """Trouble of the moment is tried again; a name that does not exist is the channel's, with an alert."""

    def fail(*_: object) -> Any:
        raise socket.gaierror(code, "as the system says")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    async def run() -> Result:
        async with client() as http:
            return await http.post(f"{HOST}{PATH}", body=b"{}", timeout=ENOUGH)

    assert asyncio.run(run()) == expected


def test_name_that_is_no_name_is_a_matter_of_the_configuration() -> None:
    """A label of more than 63 characters breaks the encoding of names, not the channel."""

    async def run() -> Result:
        async with client() as http:
            return await http.post(f"https://{'a' * 70}.example.com{PATH}", body=b"{}", timeout=ENOUGH)

    result = asyncio.run(run())
    assert isinstance(result, Rejected)
    assert result.reason is Reason.CONFIGURATION
    assert "CANARY" not in repr(result)


@pytest.mark.usefixtures("names")
def test_look_up_has_a_deadline_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hung name server is named as the cause, and is no failure to connect."""
    monkeypatch.setattr(resolver_module, "LOOKUP_SECONDS", 0.05)

    async def run() -> Result:
        async with client() as http:
            return await http.post(f"https://hung.example.com{PATH}", body=b"{}", timeout=ENOUGH)

    where = "https://hung.example.com: no connection, nothing was sent"
    detail = f"{where} (the name cannot be resolved: no answer in 0.05 s)"
    assert asyncio.run(run()) == Retry(Reason.CONNECTION_ERROR, None, detail)


@pytest.mark.usefixtures("names")
def test_name_that_hangs_holds_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a dead name is asked for, its one look-up is waited for; its thread delays no exit."""
    monkeypatch.setattr(resolver_module, "LOOKUP_SECONDS", 0.01)

    async def run() -> None:
        before = lookups()
        async with client() as http:
            for _ in range(5):
                result = await http.post("https://hung.example.com/", timeout=ENOUGH)
                assert isinstance(result, Retry)
                (hung,) = lookups() - before
                assert hung.daemon

    asyncio.run(run())


@pytest.mark.usefixtures("names")
def test_hung_lookup_holds_up_no_other_name(serve: Any) -> None:
    """A name server that never answers costs its own request only."""

    async def run() -> tuple[Result, Result]:
        async with serve((200, "ok")) as (base, _), client() as http:
            hung = asyncio.create_task(http.post("https://hung.example.com/", timeout=SOON))
            other = await http.post(base.replace("127.0.0.1", "fine.example.com"), timeout=ENOUGH)
            return await hung, other

    hung, other = asyncio.run(run())
    assert isinstance(hung, Retry)
    assert hung.reason is Reason.TIMEOUT
    assert isinstance(other, Answer)


def lookups() -> set[threading.Thread]:
    """Return the threads that look names up."""
    return {thread for thread in threading.enumerate() if thread.name == "knell-dns"}


def test_hung_lookups_hold_up_nobody(serve: Any, names: threading.Semaphore) -> None:
    """However many names hang, the next one is looked up, and the loop's own threads are free."""

    def wait_hung(count: int) -> None:
        assert all(names.acquire(timeout=ENOUGH) for _ in range(count))

    async def run() -> Result:
        async with serve((200, "ok")) as (base, _), client() as http:
            urls = [f"https://hung{number}.example.com/" for number in range(40)]
            hung = [asyncio.create_task(http.post(url, timeout=60)) for url in urls]
            await asyncio.to_thread(wait_hung, len(hung))
            answer = await http.post(base.replace("127.0.0.1", "fine.example.com"), timeout=60)
            for task in hung:
                task.cancel()
            await asyncio.gather(*hung, return_exceptions=True)
            return answer

    assert isinstance(asyncio.run(run()), Answer)


def test_channel_that_hangs_fills_its_own_share_only(serve: Any) -> None:
    """Three requests of a channel with two connections: two hang, one is not sent, and others go on."""
    arrived = asyncio.Semaphore(0)

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        arrived.release()
        await reader.read()

    async def run() -> tuple[Result, Result, list[Result]]:
        async with server(hang) as port, serve((200, "ok")) as (base, _), client() as http:
            slow, other, url = http.limited(2), http.limited(2), f"http://127.0.0.1:{port}{PATH}"
            hung = [asyncio.create_task(slow.post(url, body=b"{}", timeout=ENOUGH)) for _ in range(2)]
            for _ in hung:
                await arrived.acquire()
            third = await slow.post(url, body=b"{}", timeout=SOON)
            answer = await other.post(base, body=b"{}", timeout=ENOUGH)
            await http.close()
            return third, answer, await asyncio.gather(*hung)

    third, answer, hung = asyncio.run(run())
    assert isinstance(third, Retry)
    assert third.reason is Reason.TIMEOUT
    assert "nothing was sent, all 2 connections of the channel were busy" in third.detail
    assert "CANARY" not in repr(third)
    assert isinstance(answer, Answer)
    assert {type(result) for result in hung} == {Unknown}


def test_a_deadline_that_passed_during_the_wait_still_ends_the_request() -> None:
    """Zero seconds left are no time, though to aiohttp they are all the time in the world."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.read()

    async def run() -> Result:
        async with server(hang) as port, client() as http:
            request = http.post(f"http://127.0.0.1:{port}", body=b"{}", timeout=0.0)
            return await asyncio.wait_for(request, ENOUGH)

    result = asyncio.run(run())
    assert isinstance(result, Retry | Unknown)
    assert result.reason is Reason.TIMEOUT


def test_connection_is_given_back_however_a_request_ends() -> None:
    """A failure and a cancellation leave the channel its one connection, as an answer does."""
    arrived = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"wait" in await read_request(reader):
            arrived.set()
            await reader.read()
        writer.write(OK)
        await writer.drain()

    async def run() -> Result:
        async with server(hang) as port, client() as http:
            one, base = http.limited(1), f"http://127.0.0.1:{port}"
            await one.post("http://127.0.0.1:1/", body=b"{}", timeout=ENOUGH)
            task = asyncio.create_task(one.post(f"{base}/wait", body=b"{}", timeout=ENOUGH))
            await arrived.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return await one.post(base, body=b"{}", timeout=ENOUGH)

    assert isinstance(asyncio.run(run()), Answer)


class Section(BaseModel):
    """A section with both types of web addresses."""

    secret: SecretUrl | None = None
    shown: WebUrl = "https://example.com"


@pytest.mark.parametrize("key", ["secret", "shown"])
@pytest.mark.parametrize("value", ["", "CANARY", "ftp://h/", "https:///x", "https://u:p@h/", "http://[::1"])
def test_web_address_is_checked_when_it_is_read(key: str, value: str) -> None:
    """An address that could never be sent to is an error of the configuration."""
    with pytest.raises(ValidationError, match="expected an http or https URL"):
        Section.model_validate({key: value})


def test_secret_address_masks_itself() -> None:
    """The address of a webhook is its password: it does not show."""
    section = Section.model_validate(
        {"secret": "https://hooks.example.com/CANARY", "shown": "http://h:8080/a"}
    )
    assert "CANARY" not in repr(section)
    assert section.shown == "http://h:8080/a"
