"""What an answer of an SMTP server means, by the stage of the conversation (RFC 5321, section 4.3.2)."""

import re
import socket
import ssl
from typing import NamedTuple

from knell.messages import Reason, Rejected, Retry, Unknown

from .smtp_advice import NO_GREETING, Stage, joined, on_break, on_reply

__all__ = [
    "GREYLISTED",
    "NO_LOGIN",
    "SERVICE_CLOSING",
    "Failed",
    "Reply",
    "Stage",
    "lost",
    "refused",
    "timed_out",
    "unanswered",
]

MAX_WORDS = 200
"""Characters kept of a server's words; ours."""

SERVICE_CLOSING = 421
"""The server ends the connection, whatever was asked (RFC 5321, section 3.8)."""

NO_LOGIN = frozenset({530, 534, 535, 538})
"""The login is missing, too weak, wrong, or wants TLS first (RFC 4954, section 6)."""

SENDER_REFUSED = frozenset({550, 553})
"""At MAIL these are about the sender, which the configuration fixes."""

TOO_MUCH_MAIL = 552
"""Over the size or the quota; before RFC 5321 also: too many recipients."""

_TOO_MANY_RECIPIENTS = re.compile(r"(?:452|552) |[45]\d\d [45]\.5\.3(?!\d)")
"""RFC 5321, section 4.5.3.1.10; and whatever the code, X.5.3 says so (RFC 3463, section 3.6)."""

_BLAMES_US = re.compile(r"5\.1\.[78](?!\d)|(?:Sender address|Client host|Helo command) rejected")
"""At RCPT about the sender or this machine, not about the recipient: the codes of RFC 3463 (section 3.2), and
the words of Postfix, which says at RCPT whatever it has against a mail (`smtpd_delay_reject`)."""

GREYLISTED = ("450", "451")

NO_SUCH_HOST_AFTER = 300.0
"""Seconds before a name that does not exist is looked up again; ours: a human has to act."""


class Reply(NamedTuple):
    """An answer of the server. `text` may be hostile: use `words` for people."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        """Whether the server did what it was asked."""
        return self.code // 100 == 2  # noqa: PLR2004 - RFC 5321, section 4.2.1

    @property
    def temporary(self) -> bool:
        """Whether the same may work later. An answer that is no SMTP at all says nothing for good."""
        return self.code // 100 != 5  # noqa: PLR2004 - RFC 5321, section 4.2.1

    @property
    def too_many_recipients(self) -> bool:
        """Whether, at RCPT, the mail is full, and the address not to blame."""
        return _TOO_MANY_RECIPIENTS.match(f"{self.code} {self.text}") is not None

    @property
    def blames_us(self) -> bool:
        """Whether, at RCPT, the configuration is to blame or the connection ends, and no address."""
        if self.code == SERVICE_CLOSING or self.code in NO_LOGIN:
            return True
        return not self.temporary and _BLAMES_US.search(self.text[: 2 * MAX_WORDS]) is not None

    @property
    def words(self) -> str:
        """The answer on one line of printable characters and bounded length."""
        text = "".join(char if char.isprintable() else " " for char in self.text[: 2 * MAX_WORDS])
        return " ".join([str(self.code), *text.split()])[:MAX_WORDS]


class Failed(Exception):  # noqa: N818 - an outcome on its way up, not an error of the program
    """The attempt is over; `outcome` says how."""

    def __init__(self, outcome: Retry | Rejected | Unknown) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


def refused(stage: Stage, reply: Reply) -> Failed:
    """Return what a negative answer means for the message as a whole."""
    # At AUTH some servers repeat the command, and with it the password.
    said = str(reply.code) if stage is Stage.AUTH else reply.words
    detail = f"the mail server answered {said} to {stage.value}"
    if stage is Stage.GREETING:
        detail = f"the mail server greeted with {said}"
    detail = joined(detail, on_reply(stage, reply.code))
    if reply.temporary:
        return Failed(Retry(Reason.SERVER_ERROR, detail=detail))
    return Failed(Rejected(_permanent(stage, reply.code), detail))


def _permanent(stage: Stage, code: int) -> Reason:
    if stage is Stage.AUTH or code in NO_LOGIN:
        return Reason.AUTHENTICATION
    if stage is Stage.TLS:
        return Reason.TLS
    # At RCPT only what is not about the recipient comes here.
    if stage in {Stage.GREETING, Stage.RCPT} or (stage is Stage.MAIL and code in SENDER_REFUSED):
        return Reason.CONFIGURATION
    return Reason.TOO_LARGE if code == TOO_MUCH_MAIL else Reason.REFUSED


def lost(error: BaseException | None, *, in_doubt: bool) -> Failed:
    """Return what a broken connection means.

    Args:
        error: what broke it, the cause behind the exception where there is one.
        in_doubt: the mail was written as a whole and not answered: the server may have taken it.
    """
    if in_doubt:
        detail = "the connection broke after the mail was sent and before it was answered"
        return Failed(Unknown(Reason.CONNECTION_ERROR, detail))
    # An end in the middle of the handshake may be a server that is overloaded or about to restart.
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        detail = f"TLS with the mail server failed ({_tls_problem(error)})"
        return Failed(Rejected(Reason.TLS, joined(detail, on_break(error))))
    if isinstance(error, socket.gaierror):
        return Failed(_unnamed(error))
    detail = f"the connection to the mail server failed ({type(error).__name__ if error else 'closed'})"
    return Failed(Retry(Reason.CONNECTION_ERROR, detail=joined(detail, on_break(error))))


def _unnamed(error: socket.gaierror) -> Retry:
    if error.errno == socket.EAI_AGAIN:
        return Retry(Reason.CONNECTION_ERROR, detail="the name of the mail server cannot be looked up now")
    detail = joined("there is no mail server of this name", on_break(error))
    return Retry(Reason.CONNECTION_ERROR, NO_SUCH_HOST_AFTER, detail)


def timed_out(*, in_doubt: bool) -> Retry | Unknown:
    """Return what the end of an attempt's time means."""
    if in_doubt:
        return Unknown(Reason.TIMEOUT, "no answer in time after the mail was sent")
    return Retry(Reason.TIMEOUT, detail="the mail server did not answer in time")


def unanswered(place: str, seconds: float, *, greeted: bool) -> Failed:
    """Return what it means that a server has not let us in in time."""
    if greeted:
        detail = f"{place} greeted, and has not let us in within {seconds:g} s"
    else:
        detail = joined(f"{place} has not greeted within {seconds:g} s", NO_GREETING)
    return Failed(Retry(Reason.TIMEOUT, detail=detail))


def _tls_problem(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "reason", None) or type(error).__name__
