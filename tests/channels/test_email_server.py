"""The e-mail channel against the lab's mail server (aiosmtpd): TLS, login, mails as a receiver sees them."""

import asyncio
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dkim
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from knell.channels import resolver as resolver_module
from knell.channels.email import EmailChannel, EmailConfig
from knell.channels.resolver import Names
from knell.channels.smtp import Connection
from knell.channels.smtp_server import Encryption, Server
from knell.channels.smtp_verdicts import Failed
from knell.channels.tally import Tally
from knell.config.schema import Security
from knell.events import NotificationEvent
from knell.lab import Drop, Lab, Respond
from knell.messages import (
    Attachment,
    Delivered,
    FormattedMessage,
    MessageFormat,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)
from tests.channels.opening import attempted, running

LabOf = Callable[[trustme.LeafCert], Lab]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority the channels of this module trust."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Its certificate, as `ca_file` of the section wants it."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def lab_of() -> Iterator[LabOf]:
    """Start a lab that shows a certificate."""
    labs: list[Lab] = []

    def start(leaf: trustme.LeafCert) -> Lab:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - half of trustme is typed
        labs.append(Lab(certificates=context).start())
        return labs[-1]

    yield start
    for lab in labs:
        lab.stop()


@pytest.fixture
def lab(lab_of: LabOf, authority: trustme.CA) -> Lab:
    """Return a lab with a good certificate."""
    return lab_of(authority.issue_cert("127.0.0.1"))


def opened(lab: Lab, **changes: Any) -> AbstractAsyncContextManager[EmailChannel]:
    """Run a channel that talks to the lab's mail server, with knell's own security defaults."""
    section = {key: value for key, value in lab.smtp.section().items() if key != "type"}
    return running(EmailChannel(EmailConfig.model_validate({**section, **changes})), Security())


def message(**changes: Any) -> FormattedMessage:
    """Return a message as the templates make it."""
    event = NotificationEvent(
        event_type="job_failed", source="test", title="nightly", metadata={"job_id": "job-1"}
    )
    content = {"subject": "失敗: nightly", "html": "<p>it failed ✅</p>", "text": "it failed ✅"}
    values: dict[str, Any] = {
        "format": MessageFormat.HTML,
        "content": content,
        "id": "msg_1",
        "events": (event,),
        **changes,
    }
    return FormattedMessage(**values)


def sent(lab: Lab, attempts: int = 1, **changes: Any) -> list[Outcome]:
    """Make attempts at one message, each with the progress of the one before."""

    async def run() -> list[Outcome]:
        async with opened(lab, **changes) as channel:
            return await attempted(channel, message(), attempts)

    return asyncio.run(run())


def test_a_mail_over_starttls_with_a_login(lab: Lab, ca_file: str) -> None:
    """The whole way with a section's defaults: what arrives is what was said, and nothing was in clear."""
    [outcome] = sent(lab, ca_file=ca_file)
    assert isinstance(outcome, Delivered)
    [mail] = lab.smtp.messages
    assert (mail.id, mail.title, mail.to) == ("<msg_1@example.com>", "失敗: nightly", ("team@example.com",))
    assert mail.html == "<p>it failed ✅</p>"
    assert "it failed ✅" in mail.text
    assert mail.thread.startswith("<job-")
    assert lab.violations == ()


def test_attachments_arrive(lab: Lab, ca_file: str) -> None:
    """Files of any bytes and any name."""
    file = Attachment("ビルド.log", bytes(range(256)) * 100, "text/x-log")

    async def run() -> None:
        async with opened(lab, ca_file=ca_file) as channel:
            assert isinstance(await channel.send(message(attachments=(file,))), Delivered)

    asyncio.run(run())
    [found] = lab.smtp.messages[0].files
    assert (found.name, found.content, found.content_type) == (file.filename, file.content, file.content_type)
    assert lab.violations == ()


def test_every_mailbox_gets_its_own_result(lab: Lab, ca_file: str) -> None:
    """Refused, greylisted and good mailboxes in one mail: each is settled once, nobody gets a second copy."""
    to = [f"{name}@example.com" for name in ("ops", "gone", "greylist", "denied", "team")]
    first, second = sent(lab, attempts=2, ca_file=ca_file, to=to)
    assert isinstance(first, Retry)
    assert first.after == 300.0
    assert first.progress["accepted"] == ["ops@example.com", "team@example.com"]
    assert isinstance(second, Rejected)
    assert second.reason is Reason.RECIPIENT
    assert second.progress["accepted"] == ["ops@example.com", "team@example.com", "greylist@example.com"]
    assert sorted(second.progress["refused"]) == ["denied@example.com", "gone@example.com"]
    assert [len(lab.smtp.inbox(address)) for address in to] == [1, 0, 1, 0, 1]
    assert lab.violations == ()


def test_a_limit_of_recipients_splits_the_mail(lab: Lab, ca_file: str) -> None:
    """452 after two recipients: the others follow at once, in further transactions."""
    lab.smtp.max_recipients = 2
    to = [f"team+{number}@example.com" for number in range(5)]
    [outcome] = sent(lab, ca_file=ca_file, to=to)
    assert isinstance(outcome, Delivered)
    assert [mail.to for mail in lab.smtp.messages] == [tuple(to[:2]), tuple(to[2:4]), tuple(to[4:])]
    assert lab.violations == ()


@pytest.mark.parametrize("stored", [True, False])
def test_a_connection_dropped_around_the_data(lab: Lab, ca_file: str, stored: bool) -> None:  # noqa: FBT001
    """After the mail it may have arrived; before it, it cannot have."""
    lab.smtp.script(Drop(stored=stored))
    first, second = sent(lab, attempts=2, ca_file=ca_file)
    assert isinstance(first, Unknown if stored else Retry)
    assert isinstance(second, Delivered)
    assert {mail.id for mail in lab.smtp.messages} == {"<msg_1@example.com>"}
    assert len(lab.smtp.messages) == 1 + stored
    assert lab.violations == ()


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (Respond(421, "4.3.2 closing", at="CONNECT"), Retry, Reason.SERVER_ERROR),
        (Respond(454, "4.7.0 TLS not available", at="STARTTLS"), Retry, Reason.SERVER_ERROR),
        (Respond(502, "5.5.1 no", at="STARTTLS"), Rejected, Reason.TLS),
        (Respond(454, "4.7.0 temporary", at="AUTH"), Retry, Reason.SERVER_ERROR),
        (Respond(535, "5.7.8 wrong", at="AUTH"), Rejected, Reason.AUTHENTICATION),
        (Respond(421, "4.3.2 closing", at="RCPT"), Retry, Reason.SERVER_ERROR),
        (Drop(at="STARTTLS"), Retry, Reason.CONNECTION_ERROR),
        (Respond(554, "5.7.1 spam"), Rejected, Reason.REFUSED),
    ],
)
def test_faults_of_the_server(
    lab: Lab, ca_file: str, fault: Respond | Drop, kind: type[Outcome], reason: Reason
) -> None:
    """Each is judged by where it struck, and the next attempt succeeds."""
    lab.smtp.script(fault)
    first, second = sent(lab, attempts=2, ca_file=ca_file)
    assert isinstance(first, kind)
    assert not isinstance(first, Delivered)
    assert first.reason is reason
    assert isinstance(second, Delivered)


def test_a_wrong_password_blames_the_channel(lab: Lab, ca_file: str) -> None:
    """535 after one try; the password is in no text."""
    [outcome] = sent(lab, ca_file=ca_file, password="wr0ng-pass")
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.AUTHENTICATION
    assert "535" in outcome.detail
    assert "wr0ng" not in repr(outcome)
    assert [request.method for request in lab.smtp.requests].count("AUTH") == 1


def test_a_stripped_starttls_ends_the_conversation(lab: Lab, ca_file: str) -> None:
    """Somebody in between hides STARTTLS and offers AUTH: neither password nor mail goes out."""
    lab.smtp.hide_starttls = True
    [outcome] = sent(lab, ca_file=ca_file)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TLS
    assert lab.violations == ()
    assert {request.method for request in lab.smtp.requests} <= {"CONNECT", "EHLO", "QUIT"}


def _expired(authority: trustme.CA) -> trustme.LeafCert:
    past = datetime.now(UTC) - timedelta(days=9)
    return authority.issue_cert("127.0.0.1", not_before=past, not_after=past + timedelta(days=1))


def _of_another_host(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("mail.example.com")


def _of_another_authority(_: trustme.CA) -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


@pytest.mark.parametrize(
    ("leaf", "words", "fix"),
    [
        (_expired, "expired", "renew"),
        (_of_another_host, "match", "smtp_server must be"),
        (_of_another_authority, "issuer", "ca_file"),
    ],
)
def test_a_certificate_that_proves_nothing(
    lab_of: LabOf,
    authority: trustme.CA,
    ca_file: str,
    leaf: Callable[[trustme.CA], trustme.LeafCert],
    words: str,
    fix: str,
) -> None:
    """The handshake fails, the channel is to blame, the server sees no MAIL; plain text is no way out."""
    lab = lab_of(leaf(authority))
    [outcome] = sent(lab, ca_file=ca_file)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TLS
    assert words in outcome.detail
    assert fix in outcome.detail
    assert "MAIL" not in {request.method for request in lab.smtp.requests}


def test_without_a_ca_file_a_private_authority_is_unknown(lab: Lab) -> None:
    """The system's authorities decide by default."""
    [outcome] = sent(lab)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TLS


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used(lab: Lab, tmp_path: Path, content: str | None) -> None:
    """It is found by the check of the configuration, and pauses the channel instead of crashing it."""
    path = tmp_path / "broken.pem"
    if content:
        path.write_text(content)
    [outcome] = sent(lab, ca_file=str(path))
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.CONFIGURATION
    section = {"smtp_server": "mail.example.com", "from": "a@b.c", "to": "a@b.c", "ca_file": str(path)}
    [problem] = EmailChannel(EmailConfig.model_validate(section)).validate_config()
    assert problem == outcome.detail
    assert problem.startswith("ca_file: ")


def test_port_465_begins_with_tls(lab: Lab, ca_file: str) -> None:
    """`use_tls` means STARTTLS on every other port; a mail goes out either way."""
    section = {"smtp_server": "mail.example.com", "from": "a@b.c", "to": "a@b.c"}
    encryptions = {
        port: EmailConfig.model_validate({**section, "smtp_port": port}).encryption
        for port in (25, 465, 587, 2525)
    }
    assert encryptions == {465: Encryption.IMPLICIT} | dict.fromkeys((25, 587, 2525), Encryption.STARTTLS)
    assert lab.smtp.tls_port

    async def run() -> Tally:
        context = ssl.create_default_context(cafile=ca_file)
        server = Server(
            "127.0.0.1",
            lab.smtp.tls_port,
            Encryption.IMPLICIT,
            context,
            lab.smtp.username,
            lab.smtp.password,
        )
        connection = await Connection.open(server, Names())
        tally = Tally(["team@example.com"])
        mail = b"From: knell@example.com\r\nDate: now\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n"
        await connection.transact("knell@example.com", mail, tally)
        await connection.quit()
        return tally

    assert list(asyncio.run(run()).accepted) == ["team@example.com"]
    assert lab.violations == ()


def test_another_port_may_begin_with_tls(lab: Lab, ca_file: str) -> None:
    """`implicit_tls: true`, for providers that have such a port besides 465."""
    [outcome] = sent(lab, ca_file=ca_file, smtp_port=lab.smtp.tls_port, implicit_tls=True)
    assert isinstance(outcome, Delivered)
    assert lab.violations == ()


@pytest.mark.parametrize("bcc", [[], ["team+1@example.com", "team+2@example.com", "team+3@example.com"]])
def test_a_signed_mail_arrives_signed(lab: Lab, ca_file: str, bcc: list[str]) -> None:
    """What the server got verifies, in every transaction of it, with the files and the way out."""
    lab.smtp.max_recipients = 2
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    changes: dict[str, Any] = {
        "dkim": {"domain": "example.com", "selector": "k1", "private_key": pem},
        "list_unsubscribe": {"url": "https://example.com/leave"},
    }

    async def run() -> Outcome:
        async with opened(lab, ca_file=ca_file, bcc=bcc, **changes) as channel:
            file = Attachment("a.log", b".\r\n..\r\n" * 50)
            return await channel.send(message(attachments=(file,)))

    assert isinstance(asyncio.run(run()), Delivered)
    mails = [request.body for request in lab.smtp.requests if request.method == "."]
    assert len(mails) == 1 + len(bcc) // 2

    def dns(name: bytes, timeout: int = 5) -> bytes:
        assert (name, bool(timeout)) == (b"k1._domainkey.example.com.", True)
        return b"v=DKIM1; k=ed25519; p=" + public

    for mail in mails:
        assert dkim.verify(mail, dnsfunc=dns)  # pyright: ignore[reportUnknownMemberType]
    assert all(b"list-unsubscribe:list-unsubscribe-post:" in mail.replace(b"\r\n ", b"") for mail in mails)


def test_tls_on_a_port_that_speaks_plainly(lab: Lab, ca_file: str) -> None:
    """A wrong port number is a mistake of the configuration, said in words."""

    async def run() -> Failed:
        context = ssl.create_default_context(cafile=ca_file)
        with pytest.raises(Failed) as failure:
            await Connection.open(Server("127.0.0.1", lab.smtp.port, Encryption.IMPLICIT, context), Names())
        return failure.value

    outcome = asyncio.run(run()).outcome
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.TLS


def test_a_hung_name_server_holds_up_its_own_mails_only(
    lab: Lab, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look-up has a deadline, and a thread of its own: those of the loop are everybody's."""
    answered = threading.Event()

    def hang(*_: object) -> list[object]:
        answered.wait()
        return []

    monkeypatch.setattr(resolver_module, "LOOKUP_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        outcomes = sent(lab, attempts=3, ca_file=ca_file)
        hung = [thread for thread in threading.enumerate() if thread.name == "knell-dns"]
    finally:
        answered.set()
    detail = "the name of the mail server cannot be looked up now"
    assert [(outcome.reason, outcome.detail) for outcome in outcomes if isinstance(outcome, Retry)] == [
        (Reason.CONNECTION_ERROR, detail)
    ] * 3
    assert [thread.daemon for thread in hung] == [True]


def test_a_server_shows_no_password() -> None:
    """Where to connect can be logged; with what cannot."""
    server = Server("mail.example.com", 587, Encryption.STARTTLS, None, "me", "s3cret")
    assert repr(server) == "mail.example.com:587 (STARTTLS)"


def test_health_needs_no_mail(lab: Lab, ca_file: str) -> None:
    """The check logs in and sends nothing."""

    async def run() -> tuple[bool, bool]:
        async with opened(lab, ca_file=ca_file) as channel:
            good = await channel.health_check()
        async with opened(lab, ca_file=ca_file, password="wrong") as channel:
            bad = await channel.health_check()
        return good.healthy, bad.healthy

    assert asyncio.run(run()) == (True, False)
    assert lab.smtp.messages == ()
