"""E-mail over SMTP: one mail to several recipients, each with a result of its own."""

import asyncio
import ssl
from typing import ClassVar

import msgspec

from knell.events import EventType
from knell.ids import uuid7
from knell.messages import (
    Delivered,
    FormattedMessage,
    HealthStatus,
    Outcome,
    Reason,
    Rejected,
    Retry,
    Unknown,
)

from .base import Channel
from .email_config import Dkim, EmailConfig
from .mail import Letterhead, compose
from .mail_dkim import Signer
from .mail_headers import Mailbox
from .mail_limits import fit_mail
from .resolver import Names
from .smtp import Connection, Stale
from .smtp_pool import Pool
from .smtp_server import Server
from .smtp_verdicts import GREYLISTED, Failed, timed_out
from .tally import Tally, listed

CONNECT_SECONDS = 15.0
"""Most time until a server has let us in; ours. A server that is there answers within seconds, and the rest
of an attempt's time is for the mail."""

GREYLIST_SECONDS = 300.0
"""Wait after a 450 or 451 for a recipient: servers that greylist want some minutes (Postgrey's default)."""

HELD = "it may have arrived, and on_unknown: hold leaves it to you to replay it"

__all__ = ["EmailChannel", "EmailConfig"]


class EmailChannel(Channel):
    """Hands mails to one SMTP server over kept connections.

    Raises:
        ChannelError: the section's `dkim` cannot be used.
    """

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
        to, cc, bcc, reply_to = (
            tuple(map(Mailbox.parse, boxes)) for boxes in (config.to, config.cc, config.bcc, config.reply_to)
        )
        self._letterhead = Letterhead(
            Mailbox.parse(config.sender), to, cc, reply_to, config.subject_prefix, config.list_unsubscribe
        )
        self._signer = _signer(config.dkim)
        self._recipients = list(dict.fromkeys(box.address for box in (*to, *cc, *bcc)))
        self._context: ssl.SSLContext | None = None
        self._names = Names()
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
        if isinstance(outcome, Unknown) and self.config.on_unknown == "hold":
            outcome = Rejected(outcome.reason, f"{outcome.detail}; {HELD}")
        progress = tally.progress and tally.progress | {"accepted": list(tally.accepted)}
        return msgspec.structs.replace(outcome, progress=progress)

    async def _written(self, message: FormattedMessage, message_id: str) -> bytes:
        if not message.attachments:
            return self._mail(message, message_id)
        # Megabytes of base64 would hold up every other channel on this thread.
        return await asyncio.to_thread(self._mail, message, message_id)

    def _mail(self, message: FormattedMessage, message_id: str) -> bytes:
        mail = compose(self._letterhead, message, message_id)
        return self._signer.signed(mail) if self._signer else mail

    async def _hand_in(self, mail: bytes, tally: Tally) -> None:
        sender = self._letterhead.sender.address
        while tally.left:
            try:
                async with self._pool.connection() as connection:
                    while tally.left:
                        await connection.transact(sender, mail, tally)
            except Stale:
                continue  # the pool has one dead connection less; a new one is never stale

    async def _connect(self) -> Connection:
        config = self.config
        username, password = config.username.get_secret_value(), config.password.get_secret_value()
        if username and not config.use_tls and self.http.security.require_tls:
            detail = "a login without TLS: set use_tls: true, or security.require_tls: false"
            raise Failed(Rejected(Reason.CONFIGURATION, detail))
        if config.use_tls and self._context is None:
            self._context = await asyncio.to_thread(_trust, config.ca_file)
        server = Server(
            config.smtp_server,
            config.smtp_port,
            config.encryption,
            self._context,
            username,
            password,
            helo=config.helo,
            patience=min(CONNECT_SECONDS, config.timeout_seconds / 2),
        )
        return await Connection.open(server, self._names)

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
        self._names.forget()


def _verdict(tally: Tally, message_id: str) -> Outcome:
    """Say how it ended once every recipient has had its turn."""
    if tally.deferred:
        greylisted = any(why.startswith(GREYLISTED) for why in tally.deferred.values())
        return Retry(Reason.SERVER_ERROR, GREYLIST_SECONDS if greylisted else None, listed(tally.deferred))
    if tally.refused:
        return Rejected(Reason.RECIPIENT, listed(tally.refused))
    replies = list(dict.fromkeys(filter(None, tally.accepted.values())))
    return Delivered({"message_id": message_id, "accepted": list(tally.accepted), "replies": replies})


def _signer(dkim: Dkim | None) -> Signer | None:
    return Signer(dkim.domain, dkim.selector, dkim.private_key.get_secret_value()) if dkim else None


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        why = "holds no certificates in PEM form" if isinstance(error, ssl.SSLError) else error.strerror
        raise Failed(Rejected(Reason.CONFIGURATION, f"ca_file: {why}")) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
