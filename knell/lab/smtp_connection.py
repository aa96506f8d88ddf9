"""One SMTP session: aiosmtpd's protocol, with every command logged and every fault of the script played."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, TLSSetupException

from knell.lab import smtp_rules, wire
from knell.lab.faults import Drop, Fault, Half, Hold, Reset, Respond
from knell.lab.record import Answer, Request

if TYPE_CHECKING:
    from knell.lab.smtp import Smtp

CONNECT, DATA, END_OF_DATA = "CONNECT", "DATA", "."
_GO_ON, _REFUSED, _CLOSING = 354, 400, 421
_TAKEN = "250 2.0.0 Taken"

_log = logging.getLogger(__name__)


class _Session(Session):
    """aiosmtpd's session, whose own `login_data` writes a deprecation to the log whenever it is set."""

    login_data: Any = None


class Connection(SMTP):
    """The session of one client.

    aiosmtpd has no hook for the greeting, for every command, or for its session's class: the three private
    names that are overridden here are all that stands in for them.
    """

    def __init__(self, smtp: "Smtp", loop: asyncio.AbstractEventLoop, *, implicit_tls: bool = False) -> None:
        context = None if implicit_tls or smtp.hide_starttls else smtp.setting.certificates
        super().__init__(
            _Hooks(smtp),
            data_size_limit=smtp.size,
            enable_SMTPUTF8=True,
            # Else aiosmtpd asks the resolver for this machine's name, which may take seconds.
            hostname="lab.test",
            ident="knell lab",
            tls_context=context,
            auth_require_tls=context is not None,
            authenticator=self._authenticated,
            loop=loop,
        )
        self.fault: Fault | None = None
        # aiosmtpd forgets the envelope before it replies.
        self.content = b""
        self._smtp = smtp
        self._implicit_tls = implicit_tls
        self._at = (CONNECT, "")
        self._code = 0
        self._smtp_methods = {
            verb: partial(self._run, verb, method) for verb, method in self._smtp_methods.items()
        }

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return self._implicit_tls or (self.session is not None and self.session.ssl is not None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or go on after STARTTLS."""
        super().connection_made(transport)
        self._smtp.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        """End."""
        super().connection_lost(error)
        self._smtp.closed(self)

    def eof_received(self) -> bool:
        """Close as soon as the client has closed its side: aiosmtpd ends the session by then anyway."""
        super().eof_received()
        return False

    def cut(self, *, reset: bool) -> None:
        """Close the connection, without a word."""
        if isinstance(self.transport, asyncio.Transport):
            wire.hang_up(self.transport, reset=reset)

    def abort(self) -> None:
        """Close the connection at once, whatever the client has not read yet."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    async def break_off(self, fault: Half | Reset | Drop, reply: str = _TAKEN) -> None:
        """Cut the connection instead of replying, or in the middle of the reply, and never return."""
        if isinstance(fault, Half):
            # A line that promises another one: a client that is content with it reads sloppily.
            self._writer.write(reply.replace(" ", "-", 1).encode() + b"\r\n")
        self._note(None)
        self.cut(reset=isinstance(fault, Reset))
        # The lost connection cancels this session.
        await asyncio.get_running_loop().create_future()

    async def push(self, status: str | bytes) -> None:
        """Send a reply, and record it."""
        text = status.decode() if isinstance(status, bytes) else status
        if text.startswith("552 Error"):
            text = text.replace("552", "552 5.3.4", 1)
        self._code = int(text[:3])
        if text[3:4] != "-":
            refused = text if self._code >= _REFUSED else ""
            self._note(Answer(self._code, text[4:].encode(), refused=refused))
        if self._code == _GO_ON:
            self._at = (END_OF_DATA, "")
        await super().push(text)

    async def _handle_client(self) -> None:
        fault = self._smtp.take_fault(CONNECT)
        if fault is None or not await self._struck(fault):
            await super()._handle_client()

    async def _run(self, verb: str, method: Callable[[Any], Awaitable[None]], argument: str | None) -> None:
        """Run one command, unless a fault answers it."""
        # The log must not hold what AUTH carries.
        shown = (argument or "").partition(" ")[0] if verb == "AUTH" else argument or ""
        self._at = (verb, shown)
        if verb == "AUTH" and self._smtp.requires_tls and not self.encrypted:
            self._smtp.violate(f"AUTH {shown} in clear text")
        fault = self._smtp.take_fault(verb)
        at_the_end = verb == DATA and not (isinstance(fault, Reset | Drop) and not fault.stored)
        self.fault = fault if at_the_end else None
        if fault is None or at_the_end or not await self._struck(fault):
            await method(argument)
        if self._code == _CLOSING:
            self.cut(reset=False)

    async def _struck(self, fault: Fault) -> bool:
        """Play a fault; return whether the command is answered by it."""
        if isinstance(fault, Hold):
            await fault.gate.passed()
            return False
        if isinstance(fault, Half | Reset | Drop):
            await self.break_off(fault)
        if isinstance(fault, Respond):
            await self.push(reply_of(fault))
            if self._at[0] == CONNECT:
                self.cut(reset=False)
        return True

    def _note(self, answer: Answer | None) -> None:
        verb, argument = self._at
        at = self._smtp.setting.clock()
        body, self.content = self.content if verb == END_OF_DATA else b"", b""
        self._smtp.log(
            Request(provider=self._smtp.name, at=at, method=verb, path=argument, body=body, answer=answer)
        )

    def _create_session(self) -> Session:
        return _Session(self.loop)

    def _authenticated(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any
    ) -> AuthResult:
        good = isinstance(given, LoginPassword) and self._smtp.login(given.login, given.password)
        return AuthResult(success=good, handled=False, auth_data=given)


class _Hooks:
    """What aiosmtpd asks at each command."""

    def __init__(self, smtp: "Smtp") -> None:
        self._smtp = smtp

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: Connection, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._smtp.requires_tls and not server.encrypted and not self._smtp.hide_starttls:
            return smtp_rules.TLS_FIRST
        if self._smtp.auth_required and not session.authenticated:
            return smtp_rules.AUTH_FIRST
        if refused := self._smtp.reply_to_sender(address):
            return refused
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Connection, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refused := self._smtp.reply_to_recipient(address, len(envelope.rcpt_tos)):
            return refused
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: Connection, _session: Session, envelope: Envelope
    ) -> str:
        fault, content = server.fault, envelope.original_content or b""
        server.content = content
        if isinstance(fault, Hold) and not fault.stored:
            await fault.gate.passed()
        if isinstance(fault, Respond) and not fault.stored:
            return reply_of(fault)
        if refused := self._smtp.reply_to_data(content, envelope.rcpt_tos):
            return refused
        confirmed = fault is None or (isinstance(fault, Hold) and not fault.stored)
        self._smtp.deliver(content, envelope.rcpt_tos, confirmed=confirmed)
        if isinstance(fault, Hold) and fault.stored:
            await fault.gate.passed()
        if isinstance(fault, Half | Reset | Drop):
            await server.break_off(fault)
        return reply_of(fault) if isinstance(fault, Respond) else _TAKEN

    async def handle_exception(self, error: Exception) -> str:
        # A client that does not trust our certificate hangs up in the handshake: that is its good right.
        if not isinstance(error, TLSSetupException):
            _log.exception("the stand-in for a mail server failed", exc_info=error)
        return "500 5.3.0 Error in the stand-in"


def reply_of(fault: Respond) -> str:
    """Return the reply a fault spells out."""
    return f"{fault.status} {fault.content.decode()}"
