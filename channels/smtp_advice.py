"""What to do about a mail server that does not do what it should, in words for whoever set it up."""

import socket
import ssl
from enum import Enum

from aiosmtplib import SMTPResponseException


class Stage(Enum):
    """Where in a conversation the client is."""

    GREETING = "greeting"
    TLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"


NO_STARTTLS = (
    "the mail server offers no STARTTLS, and nothing is sent in clear text: port 587 usually does; where TLS"
    " comes from the start (465) set implicit_tls: true; only for a relay in your own network use_tls: false"
)
NO_LOGIN_OFFERED = (
    "the mail server offers no login that knell knows (PLAIN, LOGIN, CRAM-MD5): check smtp_port, usually 587"
)
NO_LOGIN_IN_CLEAR = (
    "the mail server offers no login here: many servers do so only after TLS, set use_tls: true"
)
NO_GREETING = (
    "check smtp_server and smtp_port, and whether a firewall is between (most clouds close port 25); a port"
    " that begins with TLS says nothing to whom does not: then implicit_tls: true"
)
NO_SMTP = "what answers there does not speak SMTP: check smtp_server and smtp_port"
NOT_THERE = "check smtp_server and smtp_port, and whether a firewall is between"

_TLS_FIRST = "it wants TLS before the login: set use_tls: true"
_NOT_YOUR_ADDRESS = "it does not send for this address: set from to one that the login may use"
_REPLIES = {
    (Stage.GREETING, 550): "it does not talk to this machine: ask whoever runs it, or set helo",
    (Stage.GREETING, 554): "it does not talk to this machine: ask whoever runs it, or hand in at port 587",
    (Stage.AUTH, 530): _TLS_FIRST,
    (Stage.AUTH, 534): "this login is too weak for it; most such providers want an app password",
    (Stage.AUTH, 535): "check username and password; with two-step sign-in it is often an app password",
    (Stage.AUTH, 538): _TLS_FIRST,
    (Stage.MAIL, 530): "it wants a login, or TLS, first: check username, password and use_tls",
    (Stage.MAIL, 538): "it wants TLS first: set use_tls: true",
    (Stage.MAIL, 550): _NOT_YOUR_ADDRESS,
    (Stage.MAIL, 553): _NOT_YOUR_ADDRESS,
    (Stage.RCPT, 553): _NOT_YOUR_ADDRESS,
}

_CERTIFICATES = {
    10: "whoever runs the mail server has to renew it",
    18: "for a certificate of your own name its PEM file in ca_file",
    19: "for an authority of your own name its PEM file in ca_file",
    20: "for an authority of your own name its PEM file in ca_file",
    21: "for an authority of your own name its PEM file in ca_file",
    62: "smtp_server must be a name that stands in the certificate",
    64: "smtp_server must be an address or name that stands in the certificate",
}
"""By OpenSSL's verification error (`X509_V_ERR_*`, x509_vfy.h)."""

_HANDSHAKES = {
    "WRONG_VERSION_NUMBER": "the port does not begin with TLS: use 465, or implicit_tls: false for STARTTLS",
    "RECORD_LAYER_FAILURE": "the port does not begin with TLS: use 465, or implicit_tls: false for STARTTLS",
    "UNSUPPORTED_PROTOCOL": "the mail server is too old: knell speaks TLS 1.2 and newer",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the mail server and knell have no version of TLS in common",
}
"""By OpenSSL's reason."""


def on_reply(stage: Stage, code: int) -> str:
    """Return what to do about a negative answer; nothing where there is nothing to do but wait."""
    return _REPLIES.get((stage, code), "")


def on_break(error: BaseException | None) -> str:
    """Return what to do about a connection that did not come to be."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATES.get(error.verify_code, "")
    if isinstance(error, ssl.SSLError):
        return _HANDSHAKES.get(str(getattr(error, "reason", "")), "")
    if isinstance(error, SMTPResponseException):  # the library's for an answer without a code
        return NO_SMTP
    if isinstance(error, socket.gaierror):
        return "check smtp_server, and whether this machine can look up names"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens there: {NOT_THERE}"
    return NOT_THERE if isinstance(error, OSError) and not isinstance(error, ConnectionError) else ""


def joined(detail: str, advice: str) -> str:
    """Put what happened and what to do about it together."""
    return f"{detail}: {advice}" if advice else detail
