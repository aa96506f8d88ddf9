"""The mail server without TLS: replies by name, faults at every point, and what it holds against a client."""

import asyncio
import smtplib
import socket
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any, Self

import aiosmtplib
import pytest

from knell.lab import Drop, Endless, Gate, Half, Hold, Lab, Redirect, Reset, Respond

SENDER, TEAM = "necrocode@example.com", "team@example.com"
HEAD = b"From: a@example.com\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n"


def mail(**headers: str) -> EmailMessage:
    """A good mail."""
    message = EmailMessage()
    message["From"], message["To"] = SENDER, TEAM
    message["Date"] = "Thu, 01 Jan 2026 00:00:00 +0000"
    message["Message-ID"] = headers.pop("message_id", "<1@example.com>")
    message["Subject"] = headers.pop("subject", "job failed")
    for name, value in headers.items():
        message[name] = value
    message.set_content("It failed.\nSee the log.")
    return message


@pytest.fixture
def client(lab: Lab) -> Iterator[smtplib.SMTP]:
    """A client that has logged in."""
    session = smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10)
    session.login(lab.smtp.username, lab.smtp.password)
    yield session
    session.close()


def commands(lab: Lab) -> list[tuple[str, int]]:
    """What was said, and the code of each reply; 0 where there was none."""
    return [(request.method, request.answer.status if request.answer else 0) for request in lab.smtp.requests]


def test_a_mail_arrives(lab: Lab, client: smtplib.SMTP) -> None:
    """Subject and text are decoded; HTML, files and thread are there; every command is in the log."""
    message = mail(subject="失敗: nightly", **{"In-Reply-To": "<job-1@example.com>"})
    message.add_alternative("<p>It failed.</p>", subtype="html")
    message.add_attachment(b"\x00\x01", maintype="application", subtype="gzip", filename="log.gz")
    assert client.send_message(message, to_addrs=[TEAM, "ops@example.com"]) == {}
    (got,) = lab.smtp.messages
    assert got.title == "失敗: nightly"
    assert got.text == "失敗: nightly\nIt failed.\nSee the log."
    assert got.html.strip() == "<p>It failed.</p>"
    assert got.to == (TEAM, "ops@example.com")
    assert got.id == "<1@example.com>"
    assert got.thread == "<job-1@example.com>"
    assert [(file.name, file.content, file.content_type) for file in got.files] == [
        ("log.gz", b"\x00\x01", "application/gzip")
    ]
    assert lab.smtp.inbox("ops@example.com") == (got,)
    assert lab.smtp.inbox("nobody@example.com") == ()
    client.quit()
    lab.smtp.wait(lambda smtp: smtp.requests[-1].method == "QUIT")
    steps = ["CONNECT", "EHLO", "AUTH", "MAIL", "RCPT", "RCPT", "DATA", ".", "QUIT"]
    assert [verb for verb, _ in commands(lab)] == steps
    assert lab.smtp.violations == ()


def test_the_log_holds_no_credentials(lab: Lab, client: smtplib.SMTP) -> None:
    """Of AUTH the log keeps the mechanism."""
    client.noop()
    (auth,) = [request for request in lab.smtp.requests if request.method == "AUTH"]
    assert auth.path == "PLAIN"
    assert lab.smtp.password not in repr(lab.smtp.requests)


def test_a_wrong_password(lab: Lab) -> None:
    """Wrong credentials are 535 5.7.8."""
    with (
        smtplib.SMTP(lab.smtp.host, lab.smtp.port) as session,
        pytest.raises(smtplib.SMTPAuthenticationError) as caught,
    ):
        session.login(lab.smtp.username, "wrong")
    assert caught.value.args[0] == 535
    assert "5.7.8" in str(caught.value)


def test_a_temporary_failure_of_auth(lab: Lab) -> None:
    """A script can let AUTH fail for now."""
    lab.smtp.script(Respond(454, "4.7.0 Temporary authentication failure", at="AUTH"))
    with smtplib.SMTP(lab.smtp.host, lab.smtp.port) as session:
        session.ehlo()
        assert session.docmd("AUTH", "PLAIN AGEAYg==")[0] == 454
        session.login(lab.smtp.username, lab.smtp.password)


def test_mail_needs_auth(lab: Lab) -> None:
    """Without AUTH it is 530, unless the server asks for none."""
    with smtplib.SMTP(lab.smtp.host, lab.smtp.port) as session:
        session.ehlo()
        assert session.mail(SENDER)[0] == 530
        lab.smtp.auth_required = False
        assert session.mail(SENDER)[0] == 250


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("defer", (450, b"4.2.0")),
        ("busy", (451, b"4.3.0")),
        ("full", (552, b"5.2.2")),
        ("gone", (550, b"5.1.1")),
        ("denied", (554, b"5.7.1")),
        ("greylist", (450, b"4.7.1")),
        ("Gone+tag", (550, b"5.1.1")),
    ],
)
def test_recipients_are_refused_by_name(
    lab: Lab, client: smtplib.SMTP, name: str, reply: tuple[int, bytes]
) -> None:
    """A refused recipient is refused alone; the mail goes to the others."""
    refused = client.send_message(mail(), to_addrs=[f"{name}@example.com", TEAM])
    ((code, text),) = refused.values()
    assert (code, text[:5]) == reply
    assert lab.smtp.messages[0].to == (TEAM,)


def test_greylisting_ends(lab: Lab, client: smtplib.SMTP) -> None:
    """The second time a greylisted recipient is taken."""
    address = "greylist@example.com"
    assert client.send_message(mail(), to_addrs=[address, TEAM])
    assert client.send_message(mail(), to_addrs=[address]) == {}
    assert [message.to for message in lab.smtp.messages] == [(TEAM,), (address,)]
    # The same Message-ID for another recipient is no repeat.
    assert (lab.smtp.violations, lab.smtp.duplicates) == ((), ())


def test_replies_of_ones_own(lab: Lab, client: smtplib.SMTP) -> None:
    """A test may add names."""
    lab.smtp.replies["slow"] = "452 4.2.2 Over quota"
    assert client.send_message(mail(), to_addrs=["slow@example.com", TEAM])["slow@example.com"][0] == 452


def test_too_many_recipients(lab: Lab, client: smtplib.SMTP) -> None:
    """After so many recipients the next ones are 452; the mail goes to the first ones."""
    lab.smtp.max_recipients = 2
    everyone = [f"u{number}@example.com" for number in range(4)]
    refused = client.send_message(mail(), to_addrs=everyone)
    assert {address: reply[0] for address, reply in refused.items()} == dict.fromkeys(everyone[2:], 452)
    assert lab.smtp.messages[0].to == ("u0@example.com", "u1@example.com")


def test_a_refused_sender(client: smtplib.SMTP) -> None:
    """A blocked sender is 550 at MAIL."""
    with pytest.raises(smtplib.SMTPSenderRefused) as caught:
        client.sendmail("blocked@example.com", [TEAM], mail().as_bytes())
    assert caught.value.smtp_code == 550


def test_closing_in_the_middle(lab: Lab, client: smtplib.SMTP) -> None:
    """421 in the middle of a transaction closes the connection; nothing was taken."""
    client.mail(SENDER)
    assert client.rcpt(TEAM)[0] == 250
    assert client.rcpt("closing@example.com")[0] == 421
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.data(mail().as_bytes())
    assert lab.smtp.messages == ()


def test_the_size_of_a_mail(lab: Lab) -> None:
    """Above SIZE it is 552 5.3.4: at MAIL for who announces it, else after the data."""
    lab.smtp.size = 1_000
    with smtplib.SMTP(lab.smtp.host, lab.smtp.port) as session:
        session.login(lab.smtp.username, lab.smtp.password)
        assert session.esmtp_features["size"] == "1000"
        assert session.mail(SENDER, ["SIZE=2000"])[0] == 552
        session.mail(SENDER)
        session.rcpt(TEAM)
        code, text = session.data(HEAD + b"\r\n" + b"x" * 100 + b"\r\n" + (b"y" * 100 + b"\r\n") * 20)
        assert (code, text[:5]) == (552, b"5.3.4")
    assert lab.smtp.messages == ()


def test_the_spam_trap(lab: Lab, client: smtplib.SMTP) -> None:
    """Mail that goes to the trap as well is refused after its data, for all."""
    with pytest.raises(smtplib.SMTPDataError) as caught:
        client.send_message(mail(), to_addrs=["spam@example.com", TEAM])
    assert caught.value.args[0] == 554
    assert "5.7.1" in str(caught.value)
    assert lab.smtp.messages == ()


def test_a_scripted_reply_to_the_data(lab: Lab, client: smtplib.SMTP) -> None:
    """Without a place a reply strikes the end of the data, once."""
    lab.smtp.script(Respond(452, "4.3.1 Insufficient storage"))
    with pytest.raises(smtplib.SMTPDataError) as caught:
        client.send_message(mail())
    assert caught.value.smtp_code == 452
    assert lab.smtp.messages == ()
    client.send_message(mail())
    assert len(lab.smtp.messages) == 1


def test_a_scripted_reply_to_a_command(lab: Lab, client: smtplib.SMTP) -> None:
    """A reply with a place strikes that command."""
    lab.smtp.script(Respond(451, "4.3.0 Try later", at="MAIL"))
    assert client.mail(SENDER)[0] == 451
    assert client.mail(SENDER)[0] == 250


@pytest.mark.parametrize("fault", [Drop(), Reset()])
def test_a_connection_lost_before_the_data(lab: Lab, client: smtplib.SMTP, fault: Drop | Reset) -> None:
    """The connection is lost at DATA: nothing was taken, and the retry is no repeat."""
    lab.smtp.script(fault)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.send_message(mail())
    lab.smtp.wait(lambda smtp: smtp.requests[-1].answer is None)
    assert (lab.smtp.messages, commands(lab)[-1]) == ((), ("DATA", 0))


@pytest.mark.parametrize(
    "fault", [Drop(stored=True), Reset(stored=True), Half(), Respond(451, "4.3.0 Oops", stored=True)]
)
def test_a_confirmation_lost_after_the_data(
    lab: Lab, client: smtplib.SMTP, fault: Drop | Reset | Half | Respond
) -> None:
    """The mail was taken though its 250 never came: the retry is a duplicate, and no violation."""
    lab.smtp.script(fault)
    with pytest.raises((smtplib.SMTPServerDisconnected, smtplib.SMTPDataError)):
        client.send_message(mail())
    assert len(lab.smtp.messages) == 1
    with smtplib.SMTP(lab.smtp.host, lab.smtp.port) as again:
        again.login(lab.smtp.username, lab.smtp.password)
        again.send_message(mail())
    assert (len(lab.smtp.messages), len(lab.smtp.duplicates)) == (2, 1)
    assert lab.smtp.violations == ()


def test_sending_again_after_the_confirmation_is_a_violation(lab: Lab, client: smtplib.SMTP) -> None:
    """The same Message-ID to the same recipient after a 250."""
    client.send_message(mail())
    client.send_message(mail(), to_addrs=[TEAM, "ops@example.com"])
    assert lab.smtp.violations == (f"sent again after it was confirmed: <1@example.com> {TEAM}",)
    assert len(lab.smtp.duplicates) == 1


def test_a_greeting_that_never_comes(lab: Lab) -> None:
    """At CONNECT a reply takes the greeting's place and the connection ends; so does a drop."""
    lab.smtp.script(Respond(554, "5.3.2 No service here", at="CONNECT"), Drop(at="CONNECT"))
    with pytest.raises(smtplib.SMTPConnectError) as caught:
        smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10)
    assert caught.value.smtp_code == 554
    with pytest.raises(smtplib.SMTPServerDisconnected):
        smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10)


def test_down_means_421_at_the_door(lab: Lab) -> None:
    """An outage without a fault of one's own greets with 421."""
    lab.smtp.down()
    with pytest.raises(smtplib.SMTPConnectError) as caught:
        smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10)
    assert caught.value.smtp_code == 421
    lab.smtp.up()
    smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10).quit()


@pytest.mark.parametrize("at", ["", "MAIL"])
def test_a_held_reply(lab: Lab, client: smtplib.SMTP, at: str) -> None:
    """At a gate the server says nothing and has taken nothing; then all goes its way."""
    done = threading.Event()

    def deliver() -> None:
        client.send_message(mail())
        done.set()

    with Gate() as gate:
        lab.smtp.script(Hold(gate, at=at))
        thread = threading.Thread(target=deliver)
        thread.start()
        gate.wait_arrived()
        assert not done.is_set()
        assert lab.smtp.messages == ()
    thread.join()
    assert done.is_set()
    assert len(lab.smtp.messages) == 1


def test_a_held_confirmation(lab: Lab, client: smtplib.SMTP) -> None:
    """With `stored` the mail is taken while the client waits; sending it again is no violation."""
    gate = Gate()
    lab.smtp.script(Hold(gate, stored=True))
    thread = threading.Thread(target=client.send_message, args=(mail(),))
    thread.start()
    gate.wait_arrived()
    assert len(lab.smtp.messages) == 1
    gate.open()
    thread.join()
    client.send_message(mail())
    assert (len(lab.smtp.duplicates), lab.smtp.violations) == (1, ())


@pytest.mark.parametrize("fault", [Redirect(), Endless()])
def test_faults_smtp_does_not_know(lab: Lab, fault: Redirect | Endless) -> None:
    """What only HTTP has is refused where it is scripted."""
    with pytest.raises(TypeError, match="SMTP knows no"):
        lab.smtp.script(fault)


@pytest.mark.parametrize(
    ("content", "violation"),
    [
        (
            HEAD + b"Bcc: boss@example.com\r\n\r\nx\r\n",
            "mail <1@example.com>: a Bcc header tells the secret recipients",
        ),
        (HEAD.replace(b"Date", b"X-Date") + b"\r\nx\r\n", "mail <1@example.com>: no Date header"),
        (HEAD.replace(b"Message-ID", b"X-ID") + b"\r\nx\r\n", "mail None: no Message-ID header"),
        (HEAD.replace(b"From", b"X-From") + b"\r\nx\r\n", "mail <1@example.com>: no From header"),
    ],
)
def test_heads_that_are_taken_against_the_client(
    lab: Lab, client: smtplib.SMTP, content: bytes, violation: str
) -> None:
    """A mail with a faulty head is taken, and a violation."""
    client.sendmail(SENDER, [TEAM], content)
    assert len(lab.smtp.messages) == 1
    assert lab.smtp.violations == (violation,)


class Raw:
    """A client that sends bytes as they are."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        self.reply()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def say(self, line: bytes) -> int:
        """Send a line as it is and return the code of the reply."""
        self._socket.sendall(line)
        return self.reply()

    def reply(self) -> int:
        """Read a reply."""
        while (line := self._file.readline())[3:4] == b"-":
            pass
        return int(line[:3])


@pytest.mark.parametrize(
    ("body", "code", "violations"),
    [
        (b"x" * 998 + b"\r\n", 250, 0),
        (b"x" * 999 + b"\r\n", 500, 1),
        (b"x" * 1_001 + b"\r\n", 500, 0),
        (b"bare\nline feed\r\n", 500, 1),
        (b"..dot at the start\r\n", 250, 0),
    ],
)
def test_lines(lab: Lab, body: bytes, code: int, violations: int) -> None:
    """Lines that are too long or end without a carriage return are refused."""
    lab.smtp.auth_required = False
    with Raw(lab.smtp.port) as raw:
        raw.say(b"EHLO x\r\n")
        raw.say(b"MAIL FROM:<a@example.com>\r\n")
        raw.say(b"RCPT TO:<team@example.com>\r\n")
        assert raw.say(b"DATA\r\n") == 354
        assert raw.say(HEAD + b"\r\n" + body + b".\r\n") == code
    assert len(lab.smtp.violations) == violations
    assert len(lab.smtp.messages) == (code == 250)


def test_a_mail_without_any_text(lab: Lab, client: smtplib.SMTP) -> None:
    """HTML alone has no text part; the subject still reads."""
    client.sendmail(SENDER, [TEAM], HEAD + b"Subject: s\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n")
    assert (lab.smtp.messages[0].text, lab.smtp.messages[0].html) == ("s\n", "<p>x</p>")


def test_a_client_that_hangs_up_in_the_data(lab: Lab, client: smtplib.SMTP) -> None:
    """Half a mail is no mail, and the server goes on."""
    with Raw(lab.smtp.port) as raw:
        lab.smtp.auth_required = False
        for line in (
            b"EHLO x\r\n",
            b"MAIL FROM:<a@example.com>\r\n",
            b"RCPT TO:<b@example.com>\r\n",
            b"DATA\r\n",
        ):
            raw.say(line)
    client.send_message(mail())
    assert len(lab.smtp.messages) == 1


def test_many_clients_at_once(lab: Lab) -> None:
    """Parallel sessions of aiosmtplib are all served."""

    async def flood() -> list[Any]:
        options: dict[str, Any] = {
            "hostname": lab.smtp.host,
            "port": lab.smtp.port,
            "username": lab.smtp.username,
            "password": lab.smtp.password,
            "start_tls": False,
        }
        mails = (mail(message_id=f"<{number}@example.com>") for number in range(20))
        return await asyncio.gather(*(aiosmtplib.send(message, **options) for message in mails))

    results = asyncio.run(flood())
    assert [errors for errors, _ in results] == [{}] * 20
    assert {message.id for message in lab.smtp.messages} == {
        f"<{number}@example.com>" for number in range(20)
    }


def test_a_bug_of_the_server_is_reported(
    lab: Lab, client: smtplib.SMTP, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of the stand-in itself is a 500 and stands in the log."""

    def explode(address: str) -> str:
        raise LookupError(f"a bug with {address}")

    lab.smtp.reply_to_sender = explode  # type: ignore[method-assign] # a bug cannot be had otherwise
    assert client.mail(SENDER)[0] == 500
    assert "a bug" in caplog.text


def test_a_down_server_may_play_any_fault(lab: Lab, client: smtplib.SMTP) -> None:
    """An outage can be any fault, at any place."""
    lab.smtp.down(Respond(451, "4.3.0 Local error", at="RCPT"))
    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.send_message(mail())
