"""What it means that a request got no answer: by how far it came, and by what stopped it.

Details name scheme, host and port only, since the rest of an address may be its password, and never repeat an
exception's text, since aiohttp's hold the whole address.
"""

import os
import re
import socket
import ssl

from aiohttp import ClientConnectionError, ClientConnectorError, ConnectionTimeoutError

from knell.messages import Reason, Rejected, Retry, Unknown

from .guard import AddressDenied

Failure = Retry | Rejected | Unknown

_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])")

_WORDS: dict[type[Exception], str] = {
    ConnectionTimeoutError: "the connection took too long",
    TimeoutError: "the deadline passed",
    ClientConnectionError: "the connection was closed",
}
"""The first that fits: the errors of aiohttp are each other's bases."""

_NO_SUCH_NAME = {
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
}
"""The name servers have answered: there is no such name, or it has no address."""

_EXPIRED, _WRONG_NAME, _UNTRUSTED = 10, {62, 64}, {18, 19, 20, 21}
"""X509_V_ERR_... of OpenSSL's x509_vfy.h."""


_REFUSALS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED", "HANDSHAKE_FAILURE")
"""Of RFC 8446, section 6.2, in the words of OpenSSL."""


def failure_of(error: Exception, where: str, *, written: bool) -> Failure:
    """Classify a request that got no answer.

    Args:
        error: what the HTTP library raised.
        where: scheme, host and port.
        written: whether the request has begun to go out.
    """
    inner = _inner(error)
    if isinstance(inner, AddressDenied):
        return Rejected(Reason.ADDRESS_DENIED, f"{where}: {inner}")
    reason = Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.CONNECTION_ERROR
    if isinstance(inner, ssl.SSLError) and (not written or _refuses_us(inner)):
        took = "nothing was taken" if written else "nothing was sent"
        return Rejected(Reason.TLS, f"{where}: TLS failed, {took} ({_cause(inner)}){_advice(inner)}")
    if written:
        return Unknown(reason, f"{where}: sent, but no answer came ({_cause(inner)})")
    if isinstance(inner, socket.gaierror):
        return _unresolved(inner, where)
    if isinstance(error, ValueError):
        return Rejected(Reason.CONFIGURATION, f"{where}: the request cannot be built ({_cause(inner)})")
    return Retry(reason, None, f"{where}: no connection, nothing was sent ({_cause(inner)})")


def _unresolved(error: socket.gaierror, where: str) -> Failure:
    """A name that does not exist is a mistake in the section until somebody mends it: no hot retry.

    A name server that does not answer is trouble of the moment.
    """
    if error.errno in _NO_SUCH_NAME:
        text = f"{where}: there is no such host ({error.strerror}): check the name, and this machine's DNS"
        return Rejected(Reason.CONFIGURATION, text)
    text = f"{where}: no connection, nothing was sent (the name cannot be resolved: {error.strerror})"
    return Retry(Reason.CONNECTION_ERROR, None, text)


def _inner(error: Exception) -> Exception:
    """Return what is inside aiohttp's errors; that of a lost connection names no TLS error as such."""
    if isinstance(error, ClientConnectorError):
        return error.os_error
    return error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error


def _refuses_us(error: ssl.SSLError) -> bool:
    """Say whether the service ended the handshake over our certificate, or for want of one.

    By TLS 1.3 the client has finished before the service looks at its certificate: the request is on its way
    by then, and nobody reads it.
    """
    said = str(error.reason)
    return "_ALERT_" in said and any(word in said for word in _REFUSALS)


def _cause(inner: Exception) -> str:
    """Name the cause without asking the exception for its text."""
    if isinstance(inner, ssl.SSLCertVerificationError):
        return str(inner.verify_message)
    if isinstance(inner, ssl.SSLError):
        return str(inner.reason or "handshake failed").replace("_", " ").lower()
    if isinstance(inner, OSError) and inner.errno:
        return os.strerror(inner.errno)
    for kind, words in _WORDS.items():
        if isinstance(inner, kind):
            return words
    return _WORD_END.sub(" ", type(inner).__name__).lower()


def _advice(error: ssl.SSLError) -> str:
    """Say what to do about a certificate that does not hold, theirs or ours."""
    if _refuses_us(error):
        return ": it wants to know who is calling; check client_cert where there is one"
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    if code == _EXPIRED:
        return ": the service must renew its certificate; check this machine's clock too"
    if code in _WRONG_NAME:
        return ": use the name the certificate was made for in the address"
    if code in _UNTRUSTED:
        return ": its authority is not trusted here; add it to the system's, or to ca_file where there is one"
    return ""
