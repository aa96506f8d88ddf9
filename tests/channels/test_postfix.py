"""The e-mail channel against a real Postfix: TLS, logins, every refusal, and copies counted in mailboxes."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import uuid4

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from knell.channels.email import EmailChannel, EmailConfig
from knell.config.schema import Security
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
from tests.channels.opening import running
from tests.channels.postfix import PASSWORD, USERNAME, Postfix, installed

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(400)]

TEAM, OPS, BUSY, SLOW, FULL, GONE = (
    f"{name}@example.com" for name in ("team", "ops", "busy", "slow", "full", "gone")
)


@pytest.fixture(scope="module")
def postfix() -> Iterator[Postfix]:
    """Run a Postfix for the tests of this module."""
    installed()
    server = Postfix()
    yield server
    server.stop()


def opened(postfix: Postfix, service: str, **changes: Any) -> AbstractAsyncContextManager[EmailChannel]:
    """Run a channel that talks to one of its ports, with knell's own security defaults."""
    section: dict[str, Any] = {
        "smtp_server": "127.0.0.1",
        "smtp_port": postfix.ports.get(service, 0),
        "from": "knell@example.com",
        "to": [TEAM],
    }
    if service in {"submission", "smtps", "login", "cram"}:
        section |= {"ca_file": postfix.ca_file, "username": f"{USERNAME}@example.com", "password": PASSWORD}
        section |= {"implicit_tls": service == "smtps"}
    else:
        section |= {"use_tls": False}
    return running(EmailChannel(EmailConfig.model_validate({**section, **changes})), Security())


def message(**changes: Any) -> FormattedMessage:
    """Return a message nobody has sent before."""
    content = {"subject": "失敗: nightly", "html": "<p>it failed ✅</p>", "text": ".\nit failed ✅\n.\n"}
    values: dict[str, Any] = {"format": MessageFormat.HTML, "content": content, "id": uuid4().hex, **changes}
    return FormattedMessage(**values)


def sent(postfix: Postfix, service: str, what: FormattedMessage, **changes: Any) -> Outcome:
    """Make one attempt, over a connection of its own."""

    async def run() -> Outcome:
        async with opened(postfix, service, **changes) as channel:
            return await channel.send(what)

    outcome = asyncio.run(run())
    assert PASSWORD not in repr(outcome)
    return outcome


def again(what: FormattedMessage, outcome: Outcome) -> FormattedMessage:
    """Return the message as the next attempt gets it."""
    assert not isinstance(outcome, Delivered)
    return message(id=what.id, progress=dict(outcome.progress))


def copies(postfix: Postfix, address: str, what: FormattedMessage) -> int:
    """Return how many copies of a message a mailbox has got."""
    return postfix.copies(address)[f"<{what.id}@example.com>"]


@pytest.mark.parametrize("service", ["submission", "smtps", "login", "cram"])
def test_a_mail_over_tls_with_a_login(postfix: Postfix, service: str) -> None:
    """STARTTLS and TLS from the start, each way to log in: one copy, as it was said."""
    what = message()
    assert isinstance(sent(postfix, service, what), Delivered)
    [mail] = [mail for mail in postfix.mails(TEAM) if mail["Message-ID"] == f"<{what.id}@example.com>"]
    assert mail["Subject"] == "失敗: nightly"
    body = mail.get_body(["plain"])
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == ".\nit failed ✅\n.\n"
    assert "with ESMTPSA" in str(mail["Received"])


@pytest.mark.parametrize("service", ["submission", "smtps", "cram"])
def test_a_wrong_password(postfix: Postfix, service: str) -> None:
    """535 blames the channel after one try, and the check of it says what to do."""

    async def run() -> tuple[Outcome, str]:
        async with opened(postfix, service, password="wr0ng") as channel:
            return await channel.send(message()), (await channel.health_check()).detail

    outcome, detail = asyncio.run(run())
    assert isinstance(outcome, Rejected)
    assert outcome.reason is Reason.AUTHENTICATION
    assert "535" in detail
    assert "check username and password" in detail


def test_health_is_a_login(postfix: Postfix) -> None:
    """The check goes in and sends nothing."""

    async def run() -> bool:
        async with opened(postfix, "submission") as channel:
            return (await channel.health_check()).healthy

    before = sum(postfix.copies(TEAM).values())
    assert asyncio.run(run())
    assert sum(postfix.copies(TEAM).values()) == before


@pytest.mark.parametrize(
    ("service", "change", "reason", "words"),
    [
        ("submission", {"ca_file": ""}, Reason.TLS, "ca_file"),
        ("submission", {"smtp_server": "localhost"}, Reason.TLS, "smtp_server must be"),
        ("smtps", {"ca_file": ""}, Reason.TLS, "ca_file"),
        ("relay", {"use_tls": True}, Reason.TLS, "offers no STARTTLS"),
        ("relay", {"use_tls": True, "implicit_tls": True}, Reason.TLS, "does not begin with TLS"),
        ("submission", {"from": "boss@example.com"}, Reason.CONFIGURATION, "set from to one"),
        ("submission", {"username": "", "password": ""}, Reason.CONFIGURATION, "not logged in"),
    ],
)
def test_a_section_that_does_not_fit_the_server(
    postfix: Postfix, service: str, change: dict[str, Any], reason: Reason, words: str
) -> None:
    """The channel is to blame, the words name the key, and no mail has gone out."""
    what = message()
    outcome = sent(postfix, service, what, **change)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason
    assert words in outcome.detail
    assert copies(postfix, TEAM, what) == 0


def test_a_port_that_waits_for_tls(postfix: Postfix) -> None:
    """STARTTLS at a port that begins with TLS: it never greets, and the words say what that means."""
    outcome = sent(postfix, "smtps", message(), implicit_tls=False, timeout_seconds=1)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TIMEOUT
    assert "implicit_tls: true" in outcome.detail


def test_every_mailbox_gets_its_own_result_and_one_copy(postfix: Postfix) -> None:
    """450, 451, 452, 550 and 554 beside a good one, over three attempts: each is tried while it has to be."""
    postfix.access(
        busy="450 4.2.0 Greylisted", slow="451 4.3.0 Later", full="452 4.2.2 Full", ops="554 5.7.1 No"
    )
    everybody = [TEAM, GONE, BUSY, OPS, SLOW, FULL]
    what = message()
    first = sent(postfix, "relay", what, to=everybody)
    assert isinstance(first, Retry)
    assert first.after == 300.0
    assert first.progress["accepted"] == [TEAM]
    assert sorted(first.progress["refused"]) == [GONE, OPS]
    assert "550 5.1.1" in first.progress["refused"][GONE]
    postfix.access(slow="451 4.3.0 Later")
    second = sent(postfix, "relay", again(what, first), to=everybody)
    assert isinstance(second, Retry)
    assert second.progress["accepted"] == [TEAM, BUSY, FULL]
    postfix.access()
    third = sent(postfix, "relay", again(what, second), to=everybody)
    assert isinstance(third, Rejected)
    assert third.reason is Reason.RECIPIENT
    assert {address: copies(postfix, address, what) for address in everybody} == {
        TEAM: 1,
        GONE: 0,
        BUSY: 1,
        OPS: 0,
        SLOW: 1,
        FULL: 1,
    }


def test_more_recipients_than_a_mail_may_have(postfix: Postfix) -> None:
    """452 4.5.3 after two of them: the others follow at once, in mails with the same identity."""
    everybody = [f"team+{number}@example.com" for number in range(5)]
    what = message()
    outcome = sent(postfix, "few", what, to=everybody)
    assert isinstance(outcome, Delivered)
    assert len(outcome.receipt["replies"]) == 3
    assert [copies(postfix, address, what) for address in everybody] == [1] * 5


def test_too_many_mails_in_a_minute(postfix: Postfix) -> None:
    """The 450 of anvil at MAIL is a reason to wait, and nothing is sent of the mail it is said to."""

    async def run() -> list[Outcome]:
        async with opened(postfix, "rated") as channel:
            return [await channel.send(one) for one in several]

    several = [message() for _ in range(3)]
    outcomes = asyncio.run(run())
    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered, Retry]
    assert "450 4.7.1" in outcomes[2].detail
    assert [copies(postfix, TEAM, one) for one in several] == [1, 1, 0]


def test_too_many_connections_in_a_minute(postfix: Postfix) -> None:
    """The 421 of anvil instead of a greeting."""
    first, second = message(), message()
    assert isinstance(sent(postfix, "crowded", first), Delivered)
    outcome = sent(postfix, "crowded", second)
    assert isinstance(outcome, Retry)
    assert "421" in outcome.detail
    assert [copies(postfix, TEAM, one) for one in (first, second)] == [1, 0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content": {"subject": "forbidden", "text": "x"}}, Reason.REFUSED),
        ({"attachments": (Attachment("a.bin", bytes(80_000)),)}, Reason.TOO_LARGE),
    ],
)
def test_a_mail_the_server_never_takes(postfix: Postfix, changes: dict[str, Any], reason: Reason) -> None:
    """By its policy after the data, by its size before them: the message is to blame."""
    what = message(**changes)
    outcome = sent(postfix, "relay", what)
    assert isinstance(outcome, Rejected)
    assert outcome.reason is reason
    assert copies(postfix, TEAM, what) == 0


def test_many_at_once_arrive_once(postfix: Postfix) -> None:
    """Sixty mails over four kept connections: every mailbox has each of them exactly once."""

    async def run() -> list[Outcome]:
        async with opened(postfix, "submission", cc=[OPS], bcc=["team+blind@example.com"]) as channel:
            return await asyncio.gather(*(channel.send(one) for one in many))

    many = [message() for _ in range(60)]
    assert all(isinstance(outcome, Delivered) for outcome in asyncio.run(run()))
    for address in (TEAM, OPS, "team+blind@example.com"):
        found = postfix.copies(address)
        assert [found[f"<{one.id}@example.com>"] for one in many] == [1] * 60
    assert all(mail["Bcc"] is None for mail in postfix.mails("team+blind@example.com"))


@asynccontextmanager
async def cutting(port: int, times: int) -> AsyncGenerator[int, None]:
    """Stand before a server; so many times, break the connection when it has answered to a mail."""
    left = [times]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        ended = False

        async def forth() -> None:
            nonlocal ended
            while octets := await reader.read(65536):
                ended = ended or octets.endswith(b"\r\n.\r\n")
                up_writer.write(octets)
            up_writer.close()

        async def back() -> None:
            while octets := await up_reader.read(65536):
                if ended and left[0]:
                    left[0] -= 1
                    writer.transport.abort()
                    up_writer.transport.abort()
                    return
                writer.write(octets)
            writer.close()

        await asyncio.gather(forth(), back(), return_exceptions=True)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()


@pytest.mark.parametrize(("on_unknown", "number"), [("retry", 2), ("hold", 1)])
def test_an_answer_that_was_lost(postfix: Postfix, on_unknown: str, number: int) -> None:
    """Postfix has the mail, we do not know: a second copy with the same identity, or a person's decision."""
    changes: dict[str, Any] = {"to": [TEAM, GONE], "on_unknown": on_unknown}

    async def run() -> list[Outcome]:
        async with cutting(postfix.ports["relay"], times=1) as port:
            outcomes: list[Outcome] = []
            one = what
            async with opened(postfix, "relay", smtp_port=port, **changes) as channel:
                while not outcomes or isinstance(outcomes[-1], Unknown):
                    outcomes.append(await channel.send(one))
                    one = again(what, outcomes[-1])
        return outcomes

    what = message()
    outcomes = asyncio.run(run())
    assert [type(outcome) for outcome in outcomes] == [*[Unknown] * (number - 1), Rejected]
    assert ("on_unknown: hold" in outcomes[-1].detail) == (on_unknown == "hold")
    assert copies(postfix, TEAM, what) == number


def test_a_signature_survives_the_server(postfix: Postfix) -> None:
    """What lies in the mailbox verifies, with what Postfix has written in front of it."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    what = message(attachments=(Attachment("a.log", b".\n..\n" * 99),))
    section = {"domain": "example.com", "selector": "k1", "private_key": pem}
    assert isinstance(sent(postfix, "submission", what, dkim=section), Delivered)
    [octets] = [octets for octets in postfix.octets(TEAM) if what.id.encode() in octets]

    def dns(name: bytes, timeout: int = 5) -> bytes:
        assert (name, bool(timeout)) == (b"k1._domainkey.example.com.", True)
        return b"v=DKIM1; k=rsa; p=" + public

    mail = octets.replace(b"\n", b"\r\n")
    assert dkim.verify(mail, dnsfunc=dns)  # pyright: ignore[reportUnknownMemberType]
    forged = mail.replace(b"To: team@", b"To: ops@")
    assert not dkim.verify(forged, dnsfunc=dns)  # pyright: ignore[reportUnknownMemberType]
