"""What the SMTP stand-in says to whom, and what it holds against a client's mail (RFC 5321, 3463)."""

import re
from email.message import EmailMessage

SENDERS = {"blocked": "550 5.7.1 Sender refused"}
"""Replies to MAIL, by the local part of the sender."""

RECIPIENTS = {
    "defer": "450 4.2.0 Mailbox busy, try again later",
    "busy": "451 4.3.0 Local error in processing",
    "full": "552 5.2.2 Mailbox full",
    "gone": "550 5.1.1 No such user",
    "denied": "554 5.7.1 Relay access denied",
    "closing": "421 4.3.2 Service closing transmission channel",
}
"""Replies to RCPT, by the local part of the recipient; every other mailbox exists."""

GREYLISTED = "450 4.7.1 Greylisted, try again later"
"""What `greylist@` says the first time; the second time its mail is taken."""

SPAM_TRAP = "spam"
"""Mail for this mailbox is refused after its data."""

REFUSED_AS_SPAM = "554 5.7.1 Message refused by policy"
TOO_MANY = "452 4.5.3 Too many recipients"
BARE_LF = "500 5.6.0 Bare line feed"
LONG_LINE = "500 5.6.0 Line too long"
AUTH_FIRST = "530 5.7.0 Authentication required"
TLS_FIRST = "530 5.7.0 Must issue a STARTTLS command first"

_BARE_LF = re.compile(rb"(?<!\r)\n")
_LONG_LINE = re.compile(rb"[^\r\n]{999}")


def local_part(address: str) -> str:
    """Return what is before the @, without a `+tag`, in lower case."""
    return address.rpartition("@")[0].partition("+")[0].lower()


def has_bare_lf(content: bytes) -> bool:
    """Whether a line ends without its carriage return."""
    return _BARE_LF.search(content) is not None


def has_long_line(content: bytes) -> bool:
    """Whether a line has more than 998 octets (RFC 5322, 2.1.1); aiosmtpd allows one more for a dot."""
    return _LONG_LINE.search(content) is not None


def faults_of(mail: EmailMessage) -> list[str]:
    """Return what a good client would have done otherwise in the head of a mail."""
    faults = [f"no {name} header" for name in ("Date", "Message-ID", "From") if mail[name] is None]
    return [*faults, "a Bcc header tells the secret recipients"] if mail["Bcc"] is not None else faults
