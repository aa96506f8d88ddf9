"""A webhook against a real TLS server that asks who is calling."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from knell.channels.webhook import WebhookChannel, WebhookConfig
from knell.config.schema import Security
from knell.messages import Delivered, FormattedMessage, MessageFormat, Outcome, Reason, Rejected
from tests.channels.opening import examined, running

LOOPBACK = Security.model_validate({"allowed_networks": ["127.0.0.0/8"]})
MESSAGE = FormattedMessage(format=MessageFormat.JSON, content={"a": 1}, id="msg_1")
PASSWORD = "CANARY of a key"
ENOUGH = 5.0
"""Seconds in which everything here is long done."""

Files = dict[str, str]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return the authority of the receiver and of its callers."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    """Return the section's keys with files that the receiver accepts."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issue(authority, tmp_path, "knell.example.com")
    return {
        "ca_file": str(tmp_path / "ca.pem"),
        "client_cert": str(tmp_path / "cert.pem"),
        "client_key": str(tmp_path / "key.pem"),
    }


def issue(authority: trustme.CA, folder: Path, name: str) -> None:
    """Write a certificate and its key."""
    made = authority.issue_cert(name)
    made.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextmanager
def receiver(
    authority: trustme.CA, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Generator[tuple[str, list[str]]]:
    """Run a server that demands a certificate; it notes the name in each.

    On blocking sockets: asyncio's TLS resets the connection where OpenSSL tells the client what is wrong.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    authority.issue_cert("127.0.0.1").configure_cert(context)  # pyright: ignore[reportUnknownMemberType]  # takes pyOpenSSL's too
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]  # see above
    context.verify_mode = ssl.CERT_REQUIRED
    callers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):  # the listener was closed
                while True:
                    connection, _ = listener.accept()
                    connection.settimeout(ENOUGH)
                    with wrapped(connection) as secured, suppress(OSError):
                        talk(secured)

        def wrapped(connection: socket.socket) -> ssl.SSLSocket:
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

        def talk(secured: ssl.SSLSocket) -> None:
            try:
                secured.do_handshake()
            except ssl.SSLError:
                secured.shutdown(socket.SHUT_WR)
                while secured.recv(65536):
                    pass  # to close with unread data would reset the connection
                return
            shown: Any = secured.getpeercert()
            callers.extend(value for kind, value in shown["subjectAltName"] if kind == "DNS")
            secured.recv(65536)
            secured.sendall(ANSWER)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/CANARY", callers
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def channel(url: str, section: dict[str, Any]) -> WebhookChannel:
    """Make a channel."""
    return WebhookChannel(WebhookConfig.model_validate({"url": url, **section}))


def deliver(
    authority: trustme.CA, section: dict[str, Any], newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> tuple[Outcome, list[str]]:
    """Send one message, and return who the server saw."""

    async def run() -> tuple[Outcome, list[str]]:
        with receiver(authority, newest) as (url, callers):
            outcome = await sent(channel(url, section))
            return outcome, callers

    outcome, callers = asyncio.run(run())
    assert "CANARY" not in repr(outcome)
    return outcome, callers


async def sent(made: WebhookChannel, *between: Callable[[], object]) -> Outcome:
    """Send a message, and once more after each step."""
    async with running(made, LOOPBACK):
        outcome = await made.send(MESSAGE)
        for step in between:
            step()
            outcome = await made.send(MESSAGE)
    return outcome


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_receiver_sees_the_certificate(authority: trustme.CA, files: Files, newest: ssl.TLSVersion) -> None:
    """The receiver is believed by `ca_file`, and knell by `client_cert`."""
    outcome, callers = deliver(authority, files, newest)
    assert (outcome, callers) == (Delivered({"status": 200}), ["knell.example.com"])


def test_key_in_the_certificates_file(authority: trustme.CA, files: Files) -> None:
    """Certificate and key may be one file."""
    both = Path(files["client_cert"])
    both.write_bytes(both.read_bytes() + Path(files["client_key"]).read_bytes())
    section = {key: path for key, path in files.items() if key != "client_key"}
    assert deliver(authority, section)[0] == Delivered({"status": 200})


def encrypt(path: Path) -> None:
    """Put a password on a key."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(PASSWORD.encode()),
        )
    )


def test_encrypted_key(authority: trustme.CA, files: Files) -> None:
    """Its password is a key of the section; without it nobody is asked at a terminal."""
    encrypt(Path(files["client_key"]))
    opened = {**files, "client_key_password": PASSWORD}
    assert deliver(authority, opened) == (Delivered({"status": 200}), ["knell.example.com"])
    outcome, callers = deliver(authority, files)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TLS
    assert outcome.detail.endswith("key.pem does not open, or does not fit its certificate")
    assert callers == []


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["none", "of another authority"])
def test_certificate_that_is_not_accepted(
    authority: trustme.CA, files: Files, tmp_path: Path, newest: ssl.TLSVersion, shown: str
) -> None:
    """The handshake fails at the receiver: the channel is to blame, nothing was taken.

    By TLS 1.3 the refusal comes only after the request has left.
    """
    if shown == "none":
        section = {"ca_file": files["ca_file"]}
    else:
        issue(trustme.CA(), tmp_path, "stranger.example.com")
        section = files
    outcome, callers = deliver(authority, section, newest)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TLS
    assert "check client_cert" in outcome.detail
    assert callers == []


def test_unknown_receiver_gets_nothing(authority: trustme.CA, files: Files) -> None:
    """Without `ca_file` a private authority is not believed, and the text says what helps."""
    section = {key: path for key, path in files.items() if key != "ca_file"}
    outcome, callers = deliver(authority, section)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TLS
    assert "ca_file" in outcome.detail
    assert callers == []


def test_renewed_certificate_is_used_without_a_restart(
    authority: trustme.CA, files: Files, tmp_path: Path
) -> None:
    """Short-lived certificates are replaced on disk by somebody else."""

    async def run() -> list[str]:
        with receiver(authority) as (url, callers):
            await sent(
                channel(url, files),
                lambda: None,
                lambda: issue(authority, tmp_path, "renewed.example.com"),
            )
            return callers

    assert asyncio.run(run()) == ["knell.example.com", "knell.example.com", "renewed.example.com"]


def test_file_that_is_gone_and_comes_back(authority: trustme.CA, files: Files) -> None:
    """A file that cannot be read is the channel's fault, until it is there again."""
    path = Path(files["client_cert"])
    content = path.read_bytes()
    path.unlink()

    async def run() -> tuple[Outcome, Outcome]:
        with receiver(authority) as (url, _):
            made = channel(url, files)
            return await sent(made), await sent(made, lambda: path.write_bytes(content))

    first, second = asyncio.run(run())
    assert isinstance(first, Rejected)
    assert first.reason is Reason.TLS
    assert first.detail == f"nothing was sent: {path} cannot be read: No such file or directory"
    assert second == Delivered({"status": 200})


@pytest.mark.parametrize(
    ("key", "content", "problem"),
    [
        ("ca_file", None, "cannot be read: No such file or directory"),
        ("client_cert", None, "cannot be read: No such file or directory"),
        ("client_key", None, "cannot be read: No such file or directory"),
        ("ca_file", "CANARY", "holds no certificate"),
        ("client_cert", "CANARY", "does not open, or does not fit its certificate"),
        ("client_key", "CANARY", "does not open, or does not fit its certificate"),
    ],
)
def test_health_names_the_file(files: Files, key: str, content: str | None, problem: str) -> None:
    """The check reads the files, says which is wrong, and shows nothing of it."""
    path = Path(files[key])
    path.unlink() if content is None else path.write_text(content, encoding="utf-8")
    found = asyncio.run(examined(channel("https://h", files), LOOPBACK))
    assert not found.healthy
    assert problem in found.detail
    assert "CANARY" not in found.detail
    if content is None or key == "ca_file":
        assert str(path) in found.detail


def test_healthy_with_good_files(files: Files) -> None:
    """What can be known without sending is fine."""
    found = asyncio.run(examined(channel("https://h", files), LOOPBACK))
    assert (found.healthy, found.detail) == (True, "only sending can tell whether the receiver takes events")


def test_plain_http_needs_no_files(files: Files) -> None:
    """Files for TLS and an address without it do not go together."""
    assert channel("http://h", files).validate_config() == [
        "url: ca_file and client_cert are of no use without https"
    ]


def test_password_and_key_alone_are_a_mistake(files: Files) -> None:
    """They belong to a certificate."""
    for section in ({"client_key": files["client_key"]}, {"client_key_password": PASSWORD}):
        with pytest.raises(ValueError, match="need client_cert") as caught:
            channel("https://h", section)
        assert "CANARY" not in str(caught.value)
    assert "CANARY" not in repr(channel("https://h", {**files, "client_key_password": PASSWORD}).config)
