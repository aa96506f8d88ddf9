"""A mail server: mailboxes that refuse by name, TLS, authentication, and dropped connections at any point."""

import asyncio
import email
import email.policy
import secrets
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from typing import Any

from knell.lab import smtp_rules
from knell.lab.faults import Endless, Fault, Redirect, Respond, Slow
from knell.lab.record import File, Message
from knell.lab.smtp_connection import DATA, Connection
from knell.lab.standin import LOOPBACK, Setting, StandIn, settled

SIZE = 10 * 1024 * 1024
RECIPIENTS_MOST = 100
"""Recipients of one transaction that every server must take (RFC 5321, 4.5.3.1.8)."""


class Smtp(StandIn):
    """A mail server that relays nothing: what it takes is in `messages`.

    Faults strike by command (`at="RCPT"`; `at="CONNECT"` is the greeting). Without `at` they strike the
    answer to the data; a `Reset` or `Drop` that is not `stored` strikes the DATA command itself.

    Attributes:
        username, password: the one account.
        auth_required: whether MAIL needs AUTH before it.
        hide_starttls: play the attacker who strips STARTTLS and offers AUTH in clear text.
        size: the most bytes of a mail.
        max_recipients: recipients of one transaction, then 452.
        replies: answers to RCPT by local part; change it freely.
    """

    name = "smtp"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.username = "necrocode"
        self.password = secrets.token_urlsafe(12)
        self.auth_required = True
        self.hide_starttls = False
        self.size = SIZE
        self.max_recipients = RECIPIENTS_MOST
        self.replies = dict(smtp_rules.RECIPIENTS)
        self.tls_port = 0
        self._connections: set[Connection] = set()
        self._greylisted: set[str] = set()
        self._confirmed: set[str] = set()

    @property
    def host(self) -> str:
        """The server's address."""
        return LOOPBACK

    @property
    def requires_tls(self) -> bool:
        """Whether AUTH and MAIL need TLS: when the lab has certificates."""
        return self.setting.certificates is not None

    def section(self) -> dict[str, Any]:
        """Return a channel section."""
        return {
            "type": "email",
            "smtp_server": self.host,
            "smtp_port": self._listening(),
            "use_tls": self.requires_tls,
            "from": "necrocode@example.com",
            "username": self.username,
            "password": self.password,
            "to": ["team@example.com"],
        }

    def inbox(self, address: str) -> tuple[Message, ...]:
        """Return the messages one mailbox got."""
        return tuple(message for message in self.messages if address in message.to)

    async def start(self) -> None:
        """Listen on a free port; with certificates also on `tls_port`, where TLS comes first."""
        loop = asyncio.get_running_loop()
        self.port = await self._listen(lambda: Connection(self, loop), None)
        if self.setting.certificates is not None:
            implicit = partial(Connection, self, loop, implicit_tls=True)
            self.tls_port = await self._listen(implicit, self.setting.certificates)

    async def stop(self) -> None:
        """Close the ports and every connection."""
        self.tls_port = 0
        await self._close_ports()
        for connection in list(self._connections):
            connection.abort()
        await settled()

    def take_fault(self, place: str) -> Fault | None:
        """Return the fault that strikes at this command."""
        return self._script.take(place)

    def opened(self, connection: Connection) -> None:
        """Remember a connection, to close it with the lab."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def login(self, username: bytes, password: bytes) -> bool:
        """Whether these are the credentials."""
        return (username, password) == (self.username.encode(), self.password.encode())

    def reply_to_sender(self, address: str) -> str:
        """Return the refusal of a sender, or nothing."""
        return smtp_rules.SENDERS.get(smtp_rules.local_part(address), "")

    def reply_to_recipient(self, address: str, taken: int) -> str:
        """Return the refusal of a recipient, or nothing, when so many were taken before it."""
        if taken >= self.max_recipients:
            return smtp_rules.TOO_MANY
        name = smtp_rules.local_part(address)
        if name == "greylist" and address not in self._greylisted:
            self._greylisted.add(address)
            return smtp_rules.GREYLISTED
        return self.replies.get(name, "")

    def reply_to_data(self, content: bytes, recipients: list[str]) -> str:
        """Return the refusal of a mail, or nothing."""
        if smtp_rules.has_bare_lf(content):
            self.violate("a line of the mail ends without its carriage return")
            return smtp_rules.BARE_LF
        if smtp_rules.has_long_line(content):
            self.violate("a line of the mail has more than 998 octets")
            return smtp_rules.LONG_LINE
        if any(smtp_rules.local_part(address) == smtp_rules.SPAM_TRAP for address in recipients):
            return smtp_rules.REFUSED_AS_SPAM
        return ""

    def deliver(self, content: bytes, recipients: list[str], *, confirmed: bool) -> None:
        """Put a mail into mailboxes; `confirmed` says that the client gets its 250."""
        mail = email.message_from_bytes(content, policy=email.policy.default)
        for fault in smtp_rules.faults_of(mail):
            self.violate(f"mail {mail['Message-ID']}: {fault}")
        message_id = str(mail["Message-ID"] or "").strip()
        keys = tuple(f"{message_id} {address}" for address in recipients) if message_id else ()
        for key in self._confirmed.intersection(keys):
            self.violate(f"sent again after it was confirmed: {key}")
        if confirmed:
            self._confirmed.update(keys)
        self.accept(self._message(mail, message_id, keys, recipients))

    def _message(self, mail: EmailMessage, message_id: str, keys: tuple[str, ...], to: list[str]) -> Message:
        subject = str(mail["Subject"] or "")
        plain, html = (_content(mail.get_body((kind,))) for kind in ("plain", "html"))
        files = tuple(
            File(part.get_filename() or "", _bytes(part), part.get_content_type())
            for part in mail.iter_attachments()
        )
        return Message(
            provider=self.name,
            id=message_id,
            keys=keys,
            received=self.now(),
            at=self.setting.clock(),
            payload=mail,
            text=f"{subject}\n{plain}",
            title=subject,
            html=html,
            to=tuple(to),
            thread=str(mail["In-Reply-To"] or "").strip(),
            files=files,
        )

    def _outage(self) -> Fault:
        return Respond(421, "4.3.2 Service not available", at="CONNECT")

    def _prepared(self, fault: Fault) -> Fault:
        if isinstance(fault, Redirect | Slow | Endless):
            raise TypeError(f"SMTP knows no {type(fault).__name__}")
        return fault if fault.at else replace(fault, at=DATA)


def _bytes(part: EmailMessage) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _content(part: Any) -> str:
    return "" if part is None else "\n".join(str(part.get_content()).splitlines())
