"""DKIM signatures, verified by dkimpy: another implementation, with the DNS played by the test."""

import re
import sys
from base64 import b64encode
from datetime import UTC, datetime

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from knell.channels.mail import Letterhead, compose
from knell.channels.mail_dkim import SEALED, Signer
from knell.channels.mail_headers import Mailbox
from knell.channels.mail_unsubscribe import Unsubscribe
from knell.errors import ChannelError
from knell.events import NotificationEvent
from knell.messages import Attachment, FormattedMessage, MessageFormat

RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
NOW = 1772368215
LETTERHEAD = Letterhead(
    Mailbox("knell@example.com", "Knell"),
    to=(Mailbox("team@example.com"), Mailbox("ops@example.com", "運用")),
    unsubscribe=Unsubscribe(url="https://example.com/leave", mailto="leave@example.com"),
)
ANY_TEXT = st.text(st.sampled_from("a \té漢.=-\r\n") | st.characters(), max_size=400)


def pem(key: PrivateKeyTypes, encryption: KeySerializationEncryption | None = None) -> str:
    """Return a private key as a file holds it."""
    octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return octets.decode()


def record(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """Return the TXT record of a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b"v=DKIM1; k=rsa; p=" + _base64(public)
    return b"v=DKIM1; k=ed25519; p=" + _base64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def _base64(octets: bytes) -> bytes:
    return b64encode(octets)


def verified(mail: bytes, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey = RSA) -> bool:
    """Verify a mail as a receiver does, who asks the DNS for the key."""
    asked: list[bytes] = []

    def dns(name: bytes, timeout: int = 5) -> bytes:
        assert timeout
        asked.append(name)
        return record(key)

    result = dkim.verify(mail, dnsfunc=dns)  # pyright: ignore[reportUnknownMemberType]
    assert asked == [b"k1._domainkey.example.com."]
    return bool(result)


def message(
    text: str = "it failed", markup: str = "<p>it failed ✅</p>", title: str = "x"
) -> FormattedMessage:
    """Return a message in a job's thread."""
    event = NotificationEvent(event_type="job_failed", source="t", title=title, metadata={"job_id": "j"})
    content = {"subject": title, "html": markup, "text": text}
    return FormattedMessage(format=MessageFormat.HTML, content=content, id="m", events=(event,))


def signed(message: FormattedMessage, key: PrivateKeyTypes = RSA) -> bytes:
    """Return a signed mail."""
    mail = compose(LETTERHEAD, message, LETTERHEAD.message_id(message.id), datetime.fromtimestamp(NOW, UTC))
    return Signer("example.com", "k1", pem(key)).signed(mail, NOW)


def names(mail: bytes) -> list[str]:
    """Return the fields a signature covers, as often as it names them."""
    head = re.sub(rb"\r\n[ \t]", b"", mail.partition(b"\r\n\r\n")[0])
    found = re.search(rb"\bh=([^;]*);", head)
    assert found
    return found[1].decode().replace(" ", "").split(":")


@pytest.mark.parametrize("key", [RSA, ED25519])
def test_a_receiver_verifies_the_signature(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """By either kind of key, relaxed in head and body, with the selector and domain of the section."""
    mail = signed(message(), key)
    assert verified(mail, key)
    head = mail.partition(b"\r\nFrom:")[0].decode()
    assert "c=relaxed/relaxed" in head
    assert f"t={NOW};" in head
    assert max(map(len, head.split("\r\n"))) <= 78


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_any_mail_verifies(text: str, markup: str, title: str) -> None:
    """Whatever blanks, empty lines and scripts an event has in it."""
    assert verified(signed(message(text, markup, title), ED25519), ED25519)


@pytest.mark.parametrize("text", ["", "\n", " \n \n", "a\n\n\n", "a \t \n  b\t\n\n", ".\n..", "a" * 2000])
def test_blanks_at_ends_verify(text: str) -> None:
    """The relaxed form drops blanks at the end of a line, and empty lines at the end of a mail."""
    plain = FormattedMessage(format=MessageFormat.TEXT, content=text, id="m")
    assert verified(signed(plain, ED25519), ED25519)


def test_a_mail_that_relays_have_touched_verifies() -> None:
    """What relays do on the way: a trace in front, another fold, an empty line at the end."""
    mail = signed(message())
    touched = b"Received: from a by b\r\n" + mail.replace(b"Subject: x", b"SUBJECT:\r\n  x") + b"\r\n\r\n"
    assert touched != mail
    assert verified(touched)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"it failed", b"it worked"),
        (b"Subject: x", b"Subject: y"),
        (b"To: team@", b"To: meat@"),
        (b"Message-ID: <m@", b"Message-ID: <n@"),
        (b"leave@example.com", b"leave@examples.com"),
        (b"List-Unsubscribe-Post: List", b"List-Unsubscribe-Post: Lost"),
        (b"In-Reply-To: <", b"In-Reply-To: <x"),
        (b"\r\nSubject:", b"\r\nSubject: another\r\nSubject:"),
        (b"\r\nFrom:", b"\r\nFrom: evil@example.org\r\nFrom:"),
        (b"\r\nTo:", b"\r\nCc: evil@example.org\r\nTo:"),
        (b"\r\nTo:", b"\r\nReply-To: evil@example.org\r\nTo:"),
    ],
)
def test_what_somebody_changed_does_not_verify(old: bytes, new: bytes) -> None:
    """Neither another word, nor a field that was added to those a reader sees."""
    mail = signed(message())
    assert mail.count(old) >= 1
    assert not verified(mail.replace(old, new, 1))


def test_what_is_covered() -> None:
    """What people see, the identity of the mail, its thread, the way out; some against additions."""
    covered = names(signed(message()))
    expected = "from to subject date message-id in-reply-to references auto-submitted list-unsubscribe"
    expected += " list-unsubscribe-post mime-version content-type"
    assert covered == [*expected.split(), *SEALED]


def test_attachments_are_covered() -> None:
    """A signature reaches to the end of the mail."""
    file = Attachment("a.bin", bytes(range(256)) * 50)
    mail = signed(FormattedMessage(format=MessageFormat.TEXT, content="x", id="m", attachments=(file,)))
    assert verified(mail)
    assert not verified(mail.replace(b"AAECAwQF", b"BAECAwQF", 1))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("no key", "PEM"),
        ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "PEM"),
        (pem(RSA, BestAvailableEncryption(b"secret")), "passphrase"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "RSA or Ed25519"),
    ],
)
def test_a_key_that_cannot_sign(key: str, words: str) -> None:
    """It is found when the configuration is read; the message says why, and holds nothing of the key."""
    with pytest.raises(ChannelError, match=words) as error:
        Signer("example.com", "k1", key)
    assert "c2VjcmV0" not in str(error.value)
    assert str(error.value).startswith("dkim.private_key")


def test_a_key_from_a_variable_with_escaped_line_ends() -> None:
    r"""Environment variables often hold `\n` for a line end."""
    mail = b"From: a@example.com\r\n\r\nx\r\n"
    assert verified(Signer("example.com", "k1", pem(RSA).replace("\n", "\\n")).signed(mail))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain install says what to install."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(ChannelError, match=r"pip install 'knell\[dkim\]'"):
        Signer("example.com", "k1", pem(RSA))
