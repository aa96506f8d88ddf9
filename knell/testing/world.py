"""What surrounds a channel in a check: certificates, names, and what a process holds open."""

import gc
import logging
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

import pytest
from yarl import URL

from knell.channels.base import Channel, Http
from knell.channels.http import Answer, Request
from knell.lab.standin import LOOPBACK
from knell.messages import Rejected, Retry, Unknown

SomeChannel = TypeVar("SomeChannel", bound=Channel)

NAME = "provider.invalid"
"""Resolved by nobody (RFC 2606)."""

CERTIFICATES = ("expired", "wrong host", "self-signed")

LAB_THREAD = "knell-lab"
"""Where the stand-ins run (`knell.lab`)."""

ENDS_WITHIN = 10.0
"""Seconds for a thread to end; reached only by a check that fails."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server shows, and what a client has to trust to accept it."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    ca_file: Path


def certificate(kind: str, folder: Path) -> Certificate:
    """Return a certificate for 127.0.0.1: a `good` one, or one of `CERTIFICATES`."""
    trustme = pytest.importorskip("trustme", reason='needs pip install "knell[testing]"')
    authority = trustme.CA()
    now = datetime.now(UTC)
    if kind == "expired":
        past = now - timedelta(days=1)
        leaf = authority.issue_cert(LOOPBACK, not_before=past - timedelta(days=1), not_after=past)
    elif kind == "wrong host":
        leaf = authority.issue_cert("elsewhere.example.com")
    else:
        leaf = (trustme.CA() if kind == "self-signed" else authority).issue_cert(LOOPBACK)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return Certificate(server, client, ca_file)


class TrustingHttp(Http):
    """The client of all channels, which trusts an authority of the test's."""

    trusted: ssl.SSLContext | None = None

    def limited(self, connections: int) -> Self:
        """Return a client that trusts as this one does; see `Http.limited`."""
        client = super().limited(connections)
        client.trusted = self.trusted
        return client

    async def request(
        self, method: str, url: str | URL, **parts: Unpack[Request]
    ) -> Answer | Retry | Rejected | Unknown:
        """Send a request; see `Http.request`."""
        if parts.get("tls") is None:
            parts["tls"] = self.trusted
        return await super().request(method, url, **parts)


@asynccontextmanager
async def running(channel: SomeChannel, http: Http) -> AsyncGenerator[SomeChannel]:
    """Run a channel as its actor does: opened, and in the end closed with its connections."""
    try:
        await channel.open(http)
        yield channel
    finally:
        await channel.close()
        await http.close()


@contextmanager
def unresolvable(monkeypatch: pytest.MonkeyPatch, error: int) -> Generator[None]:
    """Let `NAME` fail to be looked up, in the way of this error number."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **named: Any) -> Any:
        if NAME in str(host):
            raise socket.gaierror(error, "scripted by knell.testing")
        return real(host, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


def connections(port: int) -> int:
    """Return how many sockets of this process are connected to a port of 127.0.0.1."""
    found = 0
    for item in gc.get_objects():
        # By its type: some libraries' proxies act when they are asked for their class.
        if not issubclass(type(item), socket.socket) or item.fileno() < 0:
            continue
        try:
            found += item.getpeername()[:2] == (LOOPBACK, port)
        except OSError:
            continue
    return found


@contextmanager
def no_thread_left() -> Generator[None]:
    """Check that every thread that began in this context ends with it.

    Raises:
        AssertionError: one is still there.
    """
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(ENDS_WITHIN)
        assert not thread.is_alive(), f"the thread {thread.name!r} outlives the channel"


class Heard(logging.Handler):
    """Every log line of every logger, however unimportant, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line, and whatever else its record carries; what a stand-in says is not the channel's."""
        if record.threadName == LAB_THREAD:
            return
        self.lines.append(f"{self.format(record)} {vars(record)}")

    @contextmanager
    def listening(self) -> Generator[None]:
        """Listen to the root logger, which everything reaches by default."""
        root = logging.getLogger()
        level = root.level
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            root.setLevel(level)
            root.removeHandler(self)
