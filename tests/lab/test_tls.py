"""The lab with certificates: STARTTLS, implicit TLS, HTTPS, and certificates nobody should trust."""

import smtplib
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
import trustme

from knell.lab import Lab


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts our authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType] # trustme knows pyOpenSSL too
    return context


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] # as above
    return context


@pytest.fixture
def lab(authority: trustme.CA) -> Iterator[Lab]:
    """A lab that speaks TLS."""
    with Lab(certificates=context_of(authority.issue_cert("127.0.0.1"))) as running:
        yield running


def mail() -> EmailMessage:
    """A good mail."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "hello"
    message["Date"], message["Message-ID"] = "Thu, 01 Jan 2026 00:00:00 +0000", "<1@example.com>"
    message.set_content("text")
    return message


def verbs(lab: Lab) -> list[str]:
    """The commands the mail server got."""
    return [request.method for request in lab.smtp.requests]


def test_starttls(lab: Lab, trusting: ssl.SSLContext) -> None:
    """After STARTTLS login and mail pass, and AUTH was not offered before."""
    with smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10) as session:
        session.ehlo()
        assert (session.has_extn("starttls"), session.has_extn("auth")) == (True, False)
        session.starttls(context=trusting)
        session.login(lab.smtp.username, lab.smtp.password)
        session.send_message(mail())
    assert len(lab.smtp.messages) == 1
    assert lab.smtp.violations == ()
    assert lab.smtp.section()["use_tls"] is True


def test_implicit_tls(lab: Lab, trusting: ssl.SSLContext) -> None:
    """On the other port TLS comes first."""
    with smtplib.SMTP_SSL(lab.smtp.host, lab.smtp.tls_port, context=trusting, timeout=10) as session:
        session.login(lab.smtp.username, lab.smtp.password)
        session.send_message(mail())
    assert len(lab.smtp.messages) == 1
    assert lab.smtp.violations == ()


def test_auth_in_clear_text_is_a_violation(lab: Lab) -> None:
    """Credentials before TLS are refused with 538, and seen."""
    with smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10) as session:
        session.ehlo()
        assert session.docmd("AUTH", "PLAIN AGEAYg==")[0] == 538
        assert session.mail("a@example.com")[0] == 530
    assert lab.smtp.violations == ("AUTH PLAIN in clear text",)


def test_an_attacker_who_hides_starttls(lab: Lab) -> None:
    """AUTH is offered and even taken in clear text: a client that uses it has been robbed."""
    lab.smtp.hide_starttls = True
    with smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10) as session:
        session.ehlo()
        assert (session.has_extn("starttls"), session.has_extn("auth")) == (False, True)
        session.login(lab.smtp.username, lab.smtp.password)
        session.send_message(mail())
    assert lab.smtp.violations == ("AUTH PLAIN in clear text",)


@pytest.mark.parametrize("bad", ["expired", "wrong host", "self-signed"])
def test_certificates_nobody_should_trust(
    authority: trustme.CA, trusting: ssl.SSLContext, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client ends the handshake; the server has seen no MAIL, and makes no fuss."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificates = {
        "expired": lambda: authority.issue_cert(
            "127.0.0.1", not_before=yesterday - timedelta(days=1), not_after=yesterday
        ),
        "wrong host": lambda: authority.issue_cert("elsewhere.example.com"),
        "self-signed": lambda: trustme.CA().issue_cert("127.0.0.1"),
    }
    with Lab(certificates=context_of(certificates[bad]())) as lab:
        with smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10) as session:
            session.ehlo()
            with pytest.raises(ssl.SSLCertVerificationError):
                session.starttls(context=trusting)
            session.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            smtplib.SMTP_SSL(lab.smtp.host, lab.smtp.tls_port, context=trusting, timeout=10)
        assert set(verbs(lab)) <= {"CONNECT", "EHLO", "STARTTLS"}
    assert caplog.records == [] or max(record.levelname for record in caplog.records) != "ERROR"


def test_web_stand_ins_speak_tls(lab: Lab, trusting: ssl.SSLContext) -> None:
    """With certificates the addresses are https, and the configuration requires TLS."""
    assert lab.slack.url.startswith("https://127.0.0.1:")
    assert lab.config()["security"]["require_tls"] is True
    with (
        socket.create_connection((lab.smtp.host, lab.slack.port), timeout=10) as plain,
        trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert secure.recv(100).startswith(b"HTTP/1.1 404")


def test_stop_cuts_encrypted_sessions(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    """A session that went on over TLS is closed with the lab."""
    with Lab(certificates=context_of(authority.issue_cert("127.0.0.1"))) as lab:
        session = smtplib.SMTP(lab.smtp.host, lab.smtp.port, timeout=10)
        session.starttls(context=trusting)
        session.ehlo()
    with pytest.raises(smtplib.SMTPServerDisconnected):
        session.noop()
    session.close()


def test_callbacks_go_over_tls_as_well(lab: Lab, authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    """A callback address may be https; the certificate is not asked for on this machine."""
    statuses: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            statuses.append(dict(parse_qsl(body))["MessageStatus"])
            self.send_response(204)
            self.end_headers()

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Say nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context_of(authority.issue_cert("127.0.0.1")).wrap_socket(
            server.socket, server_side=True
        )
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        sid = post_sms(lab, trusting, f"https://127.0.0.1:{server.server_port}/")
        assert lab.twilio.call_back(sid, ["sent"]) == [204]
        thread.join()
    assert statuses == ["sent"]


def post_sms(lab: Lab, trusting: ssl.SSLContext, callback: str) -> str:
    """Post a text message over TLS, and return its SID."""
    form = {"To": "+819012345678", "From": "+15005550006", "Body": "x", "StatusCallback": callback}
    token = b64encode(f"{lab.twilio.account_sid}:{lab.twilio.auth_token}".encode()).decode()
    head = {"Authorization": f"Basic {token}", "Content-Type": "application/x-www-form-urlencoded"}
    connection = HTTPSConnection("127.0.0.1", lab.twilio.port, context=trusting, timeout=10)
    connection.request("POST", urlsplit(lab.twilio.url).path, urlencode(form), head)
    sid = str(msgspec.json.decode(connection.getresponse().read())["sid"])
    connection.close()
    return sid
