"""A mail as bytes, ready for the wire: ASCII, CRLF, no line beyond 998 octets.

Built by hand: `email.message.EmailMessage` takes more than 10 times as long (docs/decisions/0012). The tests
read every mail back with the standard library's parser.
"""

import os
import re
from binascii import b2a_base64, b2a_hex, b2a_qp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any, cast
from urllib.parse import quote

from knell.messages import Attachment, FormattedMessage, MessageFormat

from ..templates.html_text import as_text
from .mail_css import inlined
from .mail_headers import Mailbox, one_line, unstructured
from .mail_unsubscribe import Unsubscribe

MAX_LINE = 998
"""Octets of a line without its CRLF (RFC 5322, section 2.1.1)."""

MAX_SUBJECT = 250
"""Characters of a subject; ours: mail programs show less than 100, and some servers cut at 255."""

MAX_FILENAME = 255
"""Octets of an attachment's name in UTF-8: what file systems take, and fits a line when encoded."""

_BASE64_LINE = 76
"""Characters in a line of base64 (RFC 2045, section 6.8)."""

_MOSTLY_ASCII = 1.1
"""Octets per character up to which quoted-printable is shorter than base64, and readable."""

_DOT_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")
_CONTENT_ID = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,200}")
_PLAIN_FILENAME = re.compile(r"[A-Za-z0-9_.() -]{1,60}")


@dataclass(frozen=True)
class Letterhead:
    """What all mails of one channel have in common. Blind copies are no part of a mail."""

    sender: Mailbox
    to: tuple[Mailbox, ...] = ()
    cc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject_prefix: str = ""
    unsubscribe: Unsubscribe | None = None

    @cached_property
    def fields(self) -> str:
        """The header fields that never change."""
        return "".join(
            [
                f"From: {self.sender.header}\r\n",
                # RFC 5322 lets a mail have no To; filters of spam do not.
                f"To: {_listed(self.to) or 'undisclosed-recipients:;'}\r\n",
                f"Cc: {_listed(self.cc)}\r\n" if self.cc else "",
                f"Reply-To: {_listed(self.reply_to)}\r\n" if self.reply_to else "",
                self.unsubscribe.fields if self.unsubscribe else "",
                # Out-of-office replies to an alert help nobody (RFC 3834).
                "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n",
            ]
        )

    def message_id(self, name: str) -> str:
        """Return the Message-ID that stands for a name; the same on every attempt."""
        return f"<{name if _DOT_ATOM.fullmatch(name) else _hashed(name)}@{self.sender.domain}>"


def compose(
    letterhead: Letterhead, message: FormattedMessage, message_id: str, now: datetime | None = None
) -> bytes:
    """Return the mail that carries a message.

    HTML content is a mapping with `subject`, `html` and `text`; text content is the text itself. HTML without
    a text gets one that says the same.

    Args:
        letterhead: the fields all mails of the channel have.
        message: what to say.
        message_id: from `Letterhead.message_id`.
        now: value of `Date`; the present when absent.
    """
    subject = unstructured(f"{letterhead.subject_prefix} {subject_of(message)}")
    fields = [
        letterhead.fields,
        f"Subject: {subject}\r\n",
        f"Date: {format_datetime(now or datetime.now(UTC))}\r\n",
        f"Message-ID: {message_id}\r\n",
        *_event_fields(letterhead, message),
    ]
    return "".join(fields).encode("ascii") + _body(message)


def subject_of(message: FormattedMessage) -> str:
    """Return the subject on one line: the template's, else the title of the first event."""
    given = message.content.get("subject") if isinstance(message.content, dict) else None
    titles = (str(event.get("title", "")) for event in _events(message))
    subject = one_line(str(given or message.metadata.get("subject") or next(titles, "")))
    return subject if len(subject) <= MAX_SUBJECT else subject[: MAX_SUBJECT - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _event_fields(letterhead: Letterhead, message: FormattedMessage) -> Iterable[str]:
    """Return what mail rules and threads go by."""
    events = _events(message)
    if types := dict.fromkeys(str(event.get("event_type", "")) for event in events):
        listed = ",\r\n ".join(map(unstructured, types))
        yield f"X-NecroCode-Event: {listed}\r\n"
    jobs = {job for event in events if (job := _job(event))}
    if len(jobs) == 1:
        # Nobody ever sent the root: programs group mails that name the same ancestor all the same.
        root = letterhead.message_id(f"job-{_hashed(jobs.pop())}")
        yield f"In-Reply-To: {root}\r\nReferences: {root}\r\n"


def _events(message: FormattedMessage) -> list[Mapping[str, Any]]:
    if message.events:
        return [
            {"event_type": event.event_type, "title": event.title, "metadata": event.metadata}
            for event in message.events
        ]
    found = message.metadata.get("events") or [message.metadata.get("event")]
    return [event for event in found if isinstance(event, Mapping)]


def _job(event: Mapping[str, Any]) -> str:
    metadata: Any = event.get("metadata")
    return str(cast("dict[str, Any]", metadata).get("job_id") or "") if isinstance(metadata, dict) else ""


def _body(message: FormattedMessage) -> bytes:
    html, text = _contents(message)
    pictures: list[bytes] = []
    files: list[bytes] = []
    for file in message.attachments:
        inside = bool(html) and _CONTENT_ID.fullmatch(file.content_id) is not None
        (pictures if inside else files).append(_file(file, inside=inside))
    body = _related(_text("html", inlined(html)), pictures) if html else _text("plain", text)
    if html and (text := text or as_text(html)):
        body = _multipart(
            "alternative", [_text("plain", text), body]
        )  # last is best (RFC 2046, section 5.1.4)
    return _multipart("mixed", [body, *files]) if files else body


def _contents(message: FormattedMessage) -> tuple[str, str]:
    """Return the HTML and the text."""
    if isinstance(message.content, dict):
        return str(message.content.get("html", "")), str(message.content.get("text", ""))
    return (message.content, "") if message.format is MessageFormat.HTML else ("", message.content)


def _related(html: bytes, pictures: Sequence[bytes]) -> bytes:
    """Put HTML and the pictures it shows together (RFC 2387)."""
    return _multipart("related", [html, *pictures], '; type="text/html"') if pictures else html


def _text(subtype: str, text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    glyphs = lines.replace("\n", "").replace("\t", "")
    if glyphs.isascii() and glyphs.isprintable() and max(map(len, lines.split("\n"))) <= MAX_LINE:
        encoding, octets = "7bit", lines.replace("\n", "\r\n").encode("ascii")
    elif len(octets := lines.encode("utf-8", "replace")) <= len(lines) * _MOSTLY_ASCII:
        # Only with LF input are the soft breaks of b2a_qp like the hard ones.
        encoding, octets = "quoted-printable", b2a_qp(octets).replace(b"\n", b"\r\n")
    else:
        encoding, octets = "base64", _base64(octets.replace(b"\n", b"\r\n"))
    fields = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return fields.encode("ascii") + octets


def _file(attachment: Attachment, *, inside: bool) -> bytes:
    kind = (
        attachment.content_type
        if _MEDIA_TYPE.fullmatch(attachment.content_type)
        else "application/octet-stream"
    )
    name = f"Content-ID: <{attachment.content_id}>\r\n" if inside else ""
    fields = (
        f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n{name}"
        f"Content-Disposition: {'inline' if inside else 'attachment'};\r\n"
        f" {_filename(attachment.filename)}\r\n\r\n"
    )
    return fields.encode("ascii") + _base64(attachment.content)


def _filename(name: str) -> str:
    if _PLAIN_FILENAME.fullmatch(name):
        return f'filename="{name}"'
    octets = one_line(name).encode("utf-8", "replace")[:MAX_FILENAME]
    # RFC 2231, section 4; a character cut in half at the end goes with it.
    return f"filename*=utf-8''{quote(octets.decode('utf-8', 'ignore'), safe='')}"


def _multipart(subtype: str, parts: Sequence[bytes], more: str = "") -> bytes:
    # Drawn at random, or an event that guesses it could add parts of its own to the mail.
    boundary = b"=_" + b2a_hex(os.urandom(12))
    pieces = [b"\r\n--%b\r\n%b" % (boundary, part) for part in parts]
    return b'Content-Type: multipart/%b%b; boundary="%b"\r\n%b\r\n--%b--\r\n' % (
        subtype.encode("ascii"),
        more.encode("ascii"),
        boundary,
        b"".join(pieces),
        boundary,
    )


def _base64(octets: bytes) -> bytes:
    line = b2a_base64(octets, newline=False)
    return b"\r\n".join([line[start : start + _BASE64_LINE] for start in range(0, len(line), _BASE64_LINE)])


def _listed(mailboxes: tuple[Mailbox, ...]) -> str:
    return ",\r\n ".join(mailbox.header for mailbox in mailboxes)


def _hashed(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()
