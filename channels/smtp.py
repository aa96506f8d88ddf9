"""One connection to a mail server: opened and logged in, then one mail transaction after the other.

The commands are given one by one instead of by aiosmtplib's `sendmail`, which hides two things a delivery
depends on: what became of each recipient, and whether the mail had left when the connection broke.
"""

import asyncio
from typing import cast

import aiosmtplib
from aiohappyeyeballs import start_connection  # pyright: ignore[reportUnknownVariableType]

from knell.messages import Reason, Rejected

from .resolver import Names
from .smtp_advice import NO_LOGIN_IN_CLEAR, NO_LOGIN_OFFERED, NO_STARTTLS
from .smtp_server import Encryption, Server
from .smtp_verdicts import (
    SERVICE_CLOSING,
    Failed,
    Reply,
    Stage,
    lost,
    refused,
    unanswered,
)
from .tally import Tally

LOGIN_METHODS = ("plain", "login", "cram-md5")
"""In the order of preference. Only the first that the server offers is tried: every further one would be a
further wrong password in the eyes of a server that locks accounts."""

NEXT_ADDRESS_SECONDS = 0.25
"""After this the next address is tried beside one that does not answer (RFC 8305, section 8)."""

GO_AHEAD = 354
"""The server waits for the mail (RFC 5321, section 4.1.1.4)."""


class Stale(Failed):
    """A kept connection turned out to be closed: the mail goes over another one, as if this had not been."""


class Connection:
    """A session with a server, ready for a transaction.

    Attributes:
        reused: whether it has carried a transaction before.
        dirty: whether the server may still hold an envelope of ours.
        idle_since: when it was last given back, on the loop's clock.
    """

    def __init__(self, smtp: aiosmtplib.SMTP) -> None:
        self._smtp = smtp
        self._greeted = False
        self._waiting = False
        self.reused = False
        self.dirty = False
        self.idle_since = 0.0

    @classmethod
    async def open(cls, server: Server, names: Names) -> "Connection":
        """Connect, encrypt, log in.

        Raises:
            Failed: it did not work; nothing of any mail was sent.
        """
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            timeout=None,  # the attempt as a whole has a deadline
            use_tls=server.encryption is Encryption.IMPLICIT,
            start_tls=False,  # the default encrypts only if nobody in between removes the offer
            tls_context=server.context,
            local_hostname="localhost",  # the default asks the DNS for our own name; see _introduce
        )
        connection = cls(smtp)
        deadline = asyncio.timeout(server.patience)
        try:
            async with deadline:
                await connection._connect(server, names)
        except BaseException as error:
            connection.drop()
            if isinstance(error, TimeoutError) and deadline.expired():
                raise unanswered(repr(server), server.patience, greeted=connection._greeted) from None
            raise
        return connection

    async def _connect(self, server: Server, names: Names) -> None:
        try:
            # By itself the library would look the name up where a hung name server holds up everybody.
            addresses = await names.addresses(server.host, server.port)
            socket = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS)
            await self._smtp.connect(sock=socket)
            self._greeted = True
            await self._introduce(server.helo)
            if server.encryption is Encryption.STARTTLS:
                await self._encrypt()
                await self._introduce(server.helo)
        except (aiosmtplib.SMTPConnectResponseError, aiosmtplib.SMTPHeloError) as error:
            raise refused(Stage.GREETING, Reply(error.code, error.message)) from None
        except (OSError, aiosmtplib.SMTPException) as error:
            raise _lost(error) from None
        if server.username:
            await self._log_in(server)

    async def _introduce(self, name: str) -> None:
        """Say EHLO, without a name with our address: as valid, and at hand (RFC 5321, section 4.1.4)."""
        address = self._smtp.get_transport_info("sockname")[0]
        self._smtp.local_hostname = name or (f"[IPv6:{address}]" if ":" in address else f"[{address}]")
        await self._smtp.ehlo()

    async def _encrypt(self) -> None:
        if not self._smtp.supports_extension("starttls"):
            raise Failed(Rejected(Reason.TLS, NO_STARTTLS))
        try:
            await self._smtp.starttls()
        except aiosmtplib.SMTPResponseException as error:
            raise refused(Stage.TLS, Reply(error.code, error.message)) from None

    async def _log_in(self, server: Server) -> None:
        offered = [method for method in LOGIN_METHODS if method in self._smtp.server_auth_methods]
        if not offered:
            why = NO_LOGIN_IN_CLEAR if server.encryption is Encryption.NONE else NO_LOGIN_OFFERED
            raise Failed(Rejected(Reason.AUTHENTICATION, why))
        smtp = self._smtp
        login = {"plain": smtp.auth_plain, "login": smtp.auth_login, "cram-md5": smtp.auth_crammd5}[
            offered[0]
        ]
        try:
            await login(server.username, server.password)
        except aiosmtplib.SMTPAuthenticationError as error:
            raise refused(Stage.AUTH, Reply(error.code, error.message)) from None
        except (OSError, aiosmtplib.SMTPException) as error:
            raise _lost(error) from None

    @property
    def usable(self) -> bool:
        """Whether another transaction can run on it: connected, and no answer is owed."""
        return self._smtp.is_connected and not self._waiting

    async def reset(self) -> bool:
        """Drop any envelope at the server; also the proof that the server is still there."""
        try:
            self.dirty = not (await self._ask(b"RSET")).positive
        except Failed:
            return False
        return self.usable and not self.dirty

    async def transact(self, sender: str, mail: bytes, tally: Tally) -> None:
        """Hand in one mail for the recipients left, and settle each of them.

        Recipients beyond the number the server takes at once stay in `tally.left`, for the next transaction.

        Raises:
            Stale: the server had closed the connection before; nothing was sent.
            Failed: the transaction ended without a decision about the recipients left.
        """
        await self._begin(sender, len(mail))
        taken: list[str] = []
        for recipient in tuple(tally.left):
            reply = await self._ask(b"RCPT", f"TO:<{recipient}>".encode("ascii"))
            if reply.positive:
                taken.append(recipient)
            elif reply.blames_us:
                raise refused(Stage.RCPT, reply)
            # With nobody taken before it, "too many recipients" is said of a full mailbox.
            elif not (taken and reply.too_many_recipients):
                (tally.defer if reply.temporary else tally.refuse)(recipient, reply.words)
        if taken:
            reply = await self._data(mail, tally)
            for recipient in taken:
                tally.accept(recipient, reply.words)

    async def _begin(self, sender: str, size: int) -> None:
        limit = self._smtp.esmtp_extensions.get("size", "")
        if limit.isdecimal() and 0 < int(limit) < size:
            raise Failed(Rejected(Reason.TOO_LARGE, f"{size} octets; the mail server takes {limit}"))
        options = [f"SIZE={size}".encode("ascii")] if self._smtp.supports_extension("size") else []
        self.dirty = True
        try:
            reply = await self._ask(b"MAIL", f"FROM:<{sender}>".encode("ascii"), *options)
            if not reply.positive:
                raise refused(Stage.MAIL, reply)
        except Failed as failure:
            if self.reused and not self._smtp.is_connected:
                raise Stale(failure.outcome) from None
            raise

    async def _data(self, mail: bytes, tally: Tally) -> Reply:
        reply = await self._ask(b"DATA")
        if reply.code != GO_AHEAD:
            raise refused(Stage.DATA, reply)
        reply = await self._write(_framed(mail), tally)
        self.dirty = False
        if reply.code == SERVICE_CLOSING:
            self.drop()  # as aiosmtplib does after every other command
        if not reply.positive:
            raise refused(Stage.DATA, reply)
        return reply

    async def _write(self, octets: bytes, tally: Tally) -> Reply:
        """Send the mail itself. aiosmtplib's `data` would not tell a break before from one after it."""
        protocol = self._smtp.protocol
        if protocol is None:
            raise lost(None, in_doubt=False)
        self._waiting = True
        try:
            protocol.write(octets)
            tally.in_doubt = True
            reply = Reply(*await protocol.read_response())
        except (OSError, aiosmtplib.SMTPException) as error:
            raise _lost(error, in_doubt=tally.in_doubt) from None
        self._waiting = tally.in_doubt = False
        return reply

    async def _ask(self, *words: bytes) -> Reply:
        self._waiting = True
        try:
            reply = Reply(*await self._smtp.execute_command(*words))
        except (OSError, aiosmtplib.SMTPException) as error:
            raise _lost(error) from None
        self._waiting = False
        return reply

    async def quit(self) -> None:
        """Say goodbye and close."""
        try:
            if self.usable:
                await self._ask(b"QUIT")
        except Failed:
            return  # gone already: that was the wish
        finally:
            self.drop()

    def drop(self) -> None:
        """Close at once; what is still in the buffers is not sent."""
        # Not by isinstance: uvloop's transports are none of asyncio's classes.
        transport = cast("asyncio.WriteTransport | None", self._smtp.transport)
        self._smtp.close()
        if transport is not None:
            transport.abort()


def _framed(mail: bytes) -> bytes:
    """Return the mail with its dots stuffed and its end marked (RFC 5321, section 4.5.2)."""
    end = b".\r\n" if mail.endswith(b"\r\n") else b"\r\n.\r\n"
    return mail.replace(b"\r\n.", b"\r\n..") + end


def _lost(error: BaseException, *, in_doubt: bool = False) -> Failed:
    """Look through the wrappings of aiosmtplib for what broke the connection."""
    return lost(error.__cause__ or error, in_doubt=in_doubt)
