"""E-mail over SMTP: one mail to several recipients, each with a result of its own."""

import asyncio
import ssl
from typing import Annotated, ClassVar, Self

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from knell.events import EventType
from knell.ids import uuid7
from knell.messages import Delivered, FormattedMessage, HealthStatus, Outcome, Reason, Rejected, Retry

from ..config.schema import ChannelConfig
from ..config.values import Flag
from .base import Channel
from .mail import Letterhead, compose
from .mail_headers import Mailbox
from .mail_limits import fit_mail
from .smtp import Connection, Encryption, Server, Stale
from .smtp_pool import Pool
from .smtp_verdicts import GREYLISTED, Failed, timed_out
from .tally import Tally, listed

IMPLICIT_TLS_PORT = 465
"""Where TLS comes before SMTP (RFC 8314, section 3.3)."""

HOST = r"^[\w.\-]+$|^[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*$"
"""A name, an IPv4 or an IPv6 address, and no port."""

GREYLIST_SECONDS = 300.0
"""Wait after a 450 or 451 for a recipient: servers that greylist want some minutes (Postgrey's default)."""


def _is_mailbox(text: str) -> str:
    Mailbox.parse(text)
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(_is_mailbox)]
Addresses = Annotated[list[Address], BeforeValidator(_listed, json_schema_input_type=Address | list[Address])]


class EmailConfig(ChannelConfig):
    """The section of an e-mail channel (specification, "EmailChannel")."""

    smtp_server: str = Field(pattern=HOST, description="host name or address of the mail server")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="465 means TLS from the start")
    use_tls: Flag = Field(default=True, description="STARTTLS, or on port 465 TLS from the start; never less")
    ca_file: str = Field(default="", description="PEM file of the authorities to trust, not the system's")
    sender: Address = Field(alias="from", description="who the mails come from: a@b.c or Name <a@b.c>")
    username: SecretStr = Field(
        default=SecretStr(""), description="login at the mail server; none when absent"
    )
    password: SecretStr = Field(default=SecretStr(""), description="password of the login")
    to: Addresses = Field(default=[], description="receivers")
    cc: Addresses = Field(default=[], description="receivers of a copy")
    bcc: Addresses = Field(default=[], description="receivers of a copy whom the others do not see")
    subject_prefix: str = Field(default="", max_length=50, description="put before every subject")
    concurrency: int = Field(default=4, ge=1, le=100, description="most connections to the mail server")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not (self.to or self.cc or self.bcc):
            raise ValueError("name at least one recipient in to, cc or bcc")
        if bool(self.username.get_secret_value()) != bool(self.password.get_secret_value()):
            raise ValueError("username and password belong together")
        return self


class EmailChannel(Channel):
    """Hands mails to one SMTP server over kept connections."""

    Config = EmailConfig
    default_events: ClassVar[frozenset[str]] = frozenset(
        {
            EventType.JOB_COMPLETED,
            EventType.JOB_FAILED,
            EventType.TASK_FAILED,
            EventType.PR_MERGED,
            EventType.AGENT_ERROR,
            EventType.SYSTEM_ALERT,
        }
    )
    config: EmailConfig

    def __init__(self, config: EmailConfig) -> None:
        super().__init__(config)
        to, cc, bcc = (tuple(map(Mailbox.parse, boxes)) for boxes in (config.to, config.cc, config.bcc))
        self._letterhead = Letterhead(Mailbox.parse(config.sender), to, cc, config.subject_prefix)
        self._recipients = list(dict.fromkeys(box.address for box in (*to, *cc, *bcc)))
        self._context: ssl.SSLContext | None = None
        self._pool = Pool(self._connect, config.concurrency)

    def fit(self, message: FormattedMessage) -> FormattedMessage:
        """Cut the subject to its limit; a mail holds everything else."""
        return fit_mail(message)

    async def send(self, message: FormattedMessage) -> Outcome:
        """Hand the mail in for every recipient that does not have it yet."""
        tally = Tally.resume(self._recipients, message.progress)
        message_id = self._letterhead.message_id(message.id or uuid7())
        outcome: Outcome
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                mail = await self._written(message, message_id)
                await self._hand_in(mail, tally)
        except TimeoutError:
            outcome = timed_out(in_doubt=tally.in_doubt)
        except Failed as failure:
            outcome = failure.outcome
        else:
            outcome = _verdict(tally, message_id)
        if isinstance(outcome, Delivered):
            return outcome
        progress = tally.progress and tally.progress | {"accepted": list(tally.accepted)}
        return msgspec.structs.replace(outcome, progress=progress)

    async def _written(self, message: FormattedMessage, message_id: str) -> bytes:
        if not message.attachments:
            return compose(self._letterhead, message, message_id)
        # Megabytes of base64 would hold up every other channel on this thread.
        return await asyncio.to_thread(compose, self._letterhead, message, message_id)

    async def _hand_in(self, mail: bytes, tally: Tally) -> None:
        sender = self._letterhead.sender.address
        while tally.left:
            try:
                async with self._pool.connection() as connection:
                    while tally.left:
                        await connection.transact(sender, mail, tally)
            except Stale:
                continue  # the pool has one dead connection less; a new one is never stale

    @property
    def encryption(self) -> Encryption:
        """How the connections are protected."""
        if not self.config.use_tls:
            return Encryption.NONE
        implicit = self.config.smtp_port == IMPLICIT_TLS_PORT
        return Encryption.IMPLICIT if implicit else Encryption.STARTTLS

    async def _connect(self) -> Connection:
        config = self.config
        username, password = config.username.get_secret_value(), config.password.get_secret_value()
        if username and not config.use_tls and self.http.security.require_tls:
            detail = "a login without TLS: set use_tls: true, or security.require_tls: false"
            raise Failed(Rejected(Reason.CONFIGURATION, detail))
        if config.use_tls and self._context is None:
            self._context = await asyncio.to_thread(_trust, config.ca_file)
        host, port = config.smtp_server, config.smtp_port
        server = Server(host, port, self.encryption, self._context, username, password)
        return await Connection.open(server)

    def validate_config(self) -> list[str]:
        """Return what is wrong with the section beyond its schema."""
        try:
            _trust(self.config.ca_file)
        except Failed as failure:
            return [failure.outcome.detail]
        return []

    async def health_check(self) -> HealthStatus:
        """Log in and go no further: no mail is sent."""
        try:
            async with asyncio.timeout(self.config.timeout_seconds), self._pool.connection() as connection:
                if await connection.reset():
                    return HealthStatus(healthy=True)
            return HealthStatus(healthy=False, detail="the mail server closed the connection")
        except Failed as failure:
            return HealthStatus(healthy=False, detail=failure.outcome.detail)
        except TimeoutError:
            return HealthStatus(healthy=False, detail=timed_out(in_doubt=False).detail)

    async def close(self) -> None:
        """Say goodbye to the server."""
        await self._pool.close()


def _verdict(tally: Tally, message_id: str) -> Outcome:
    """Say how it ended once every recipient has had its turn."""
    if tally.deferred:
        greylisted = any(why.startswith(GREYLISTED) for why in tally.deferred.values())
        return Retry(Reason.SERVER_ERROR, GREYLIST_SECONDS if greylisted else None, listed(tally.deferred))
    if tally.refused:
        return Rejected(Reason.RECIPIENT, listed(tally.refused))
    replies = list(dict.fromkeys(filter(None, tally.accepted.values())))
    return Delivered({"message_id": message_id, "accepted": list(tally.accepted), "replies": replies})


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        why = "holds no certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise Failed(Rejected(Reason.CONFIGURATION, f"ca_file: {why}")) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
